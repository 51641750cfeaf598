"""The sampler for any records draws what the reference draws, through records or patterns."""

import os

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm import gibbs_rows
from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.gibbs import Priors, Workers, normals
from matinee.fm.gibbs_rows import RowSampler
from tests.fm import gibbs_reference

Floats = NDArray[np.float64]
TWO_THREADS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")

# Customer, video, what the customer has seen (real-valued, several a record), two numbers of the
# record itself, one of them now and then 0, and a feature that no record holds.
FIELDS = Fields((5, 4, 6, 2, 1))
BIAS, NOISE = 0.1, 0.5


class Case:
    """Random records, parameters and priors."""

    def __init__(self, k: int, count: int = 90) -> None:
        rng = np.random.default_rng(k)
        customer, video = rng.integers(5, size=count), rng.integers(4, size=count)
        seen = (rng.random((5, 6)) < 0.6) * rng.normal(1, 0.3, (5, 6))
        numbers = rng.normal(size=(count, 2))
        numbers[::3, 1] = 0
        parts = (np.eye(5)[customer], np.eye(4)[video], seen[customer], numbers)
        self.x = np.hstack([*parts, np.zeros((count, 1))]).astype(np.float32)
        self.rows = SparseRows.of(scipy.sparse.csr_matrix(self.x))
        self.y = rng.normal(size=count).astype(np.float32)
        width = self.x.shape[1]
        self.parameters = rng.normal(0, 0.3, (width, k + 1)).astype(np.float32)
        self.priors = Priors(
            rng.normal(0, 0.2, (5, k + 1)).astype(np.float32),
            rng.gamma(4, 1, (5, k + 1)).astype(np.float32),
        )

    def sampler(self, workers: Workers) -> RowSampler:
        linear, factors = self.parameters[:, -1], self.parameters[:, :-1]
        return RowSampler(self.rows, FIELDS, self.y, linear, factors, workers)


def numbers(k: int, field: int, feature: int) -> Floats:
    drawn = np.empty((FIELDS.widths[field], k + 1), dtype=np.float32)
    normals(5, 0)(drawn.reshape(-1), field, 0)
    of_feature: Floats = drawn[feature].astype(np.float64)
    return of_feature


def parameters_of(sampler: RowSampler) -> Floats:
    linear, factors = sampler.parameters()
    return np.column_stack([factors, linear]).astype(np.float64)


@pytest.mark.parametrize("patterns", [True, False])
@pytest.mark.parametrize("k", [1, 3, 8, 10, 15, 16, 20, 33])
def test_draws_are_those_of_the_reference(
    k: int, patterns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not patterns:
        monkeypatch.setattr(gibbs_rows, "_LARGEST_SUMS", 0)
    case = Case(k)
    with Workers(1) as workers:
        sampler = case.sampler(workers)
        residuals = sampler.sweep(BIAS, NOISE, case.priors, normals(5, 0))
        drawn = parameters_of(sampler)
        expected = gibbs_reference.sweep(
            case.x.astype(np.float64),
            case.y.astype(np.float64),
            case.parameters.astype(np.float64),
            BIAS,
            NOISE,
            case.priors,
            FIELDS,
            # Blocks with the most patterns first: the numbers, the customer's, the video's.
            (3, 0, 2, 1, 4),
            lambda field, feature: numbers(k, field, feature),
            weight_first=True,
        )
        np.testing.assert_allclose(drawn, expected, rtol=0, atol=5e-4)
        left = case.y - gibbs_reference.outputs(case.x.astype(np.float64), BIAS, drawn)
        np.testing.assert_allclose(sampler.residuals(), left, rtol=0, atol=1e-4)
        assert residuals.sum == pytest.approx(left.sum(), abs=1e-3)
        assert residuals.squares == pytest.approx(np.square(left).sum(), rel=1e-4)
        assert residuals.absolute == pytest.approx(np.abs(left).sum(), rel=1e-4)
        moments = sampler.moments()
        for field, part in enumerate(np.split(drawn, FIELDS.starts[1:-1])):
            np.testing.assert_allclose(moments.sums[field], part.sum(axis=0), rtol=0, atol=1e-4)
            squares = np.square(part).sum(axis=0)
            np.testing.assert_allclose(moments.squares[field], squares, rtol=1e-4)


def test_residuals_stay_true_over_many_sweeps_and_other_labels() -> None:
    case = Case(8)
    labels = case.y[::-1].copy()
    with Workers(1) as workers:
        sampler = case.sampler(workers)
        sampler.relabel(labels)
        for sweep in range(200):
            sampler.sweep(BIAS * sweep, NOISE, case.priors, normals(1, sweep))
        x = case.x.astype(np.float64)
        left = labels - gibbs_reference.outputs(x, BIAS * 199, parameters_of(sampler))
        np.testing.assert_allclose(sampler.residuals(), left, rtol=0, atol=2e-3)


@pytest.mark.parametrize("patterns", [True, False])
def test_improving_ends_where_residuals_are_least(
    patterns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights without factors: ordinary least squares, as NumPy solves it."""
    if not patterns:
        monkeypatch.setattr(gibbs_rows, "_LARGEST_SUMS", 0)
    case = Case(1)
    case.parameters[:] = 0
    with Workers(1) as workers:
        sampler = case.sampler(workers)
        for _ in range(300):
            sampler.improve(0.1)
        x = case.x.astype(np.float64)
        best = x @ np.linalg.lstsq(x, case.y.astype(np.float64), rcond=None)[0]
        np.testing.assert_allclose(case.y - sampler.residuals(), best, rtol=0, atol=2e-3)
        assert not sampler.parameters()[1].any()


@pytest.mark.parametrize("patterns", [True, False])
def test_an_infinite_pull_moves_nothing(patterns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not patterns:
        monkeypatch.setattr(gibbs_rows, "_LARGEST_SUMS", 0)
    case = Case(10)
    with Workers(1) as workers:
        sampler = case.sampler(workers)
        sampler.improve(1e12)
        np.testing.assert_allclose(parameters_of(sampler), case.parameters, rtol=0, atol=1e-6)


@TWO_THREADS
def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gibbs_rows, "_PART", 2)
    results = []
    for threads in (1, 2):
        case = Case(8)
        with Workers(threads) as workers:
            sampler = case.sampler(workers)
            sums = sampler.sweep(BIAS, NOISE, case.priors, normals(1, 0))
            results.append((sums, parameters_of(sampler).tobytes()))
    assert results[0] == results[1]
