"""The sampler for pairs draws what the reference draws, whatever the number of threads."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.gibbs import Fill, Priors, Workers, normals
from matinee.fm.gibbs_pairs import PairSampler
from tests.fm import gibbs_reference

Floats = NDArray[np.float64]
TWO_THREADS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")

FIELDS = Fields((20, 3))
BIAS, NOISE = 0.3, 0.6


def make_rows(first: NDArray[np.int64], second: NDArray[np.int64]) -> SparseRows:
    keys = np.stack([first, second + FIELDS.widths[0]], axis=1).astype(np.int32).ravel()
    ends = np.arange(len(first) + 1) * 2
    return SparseRows(ends, keys, np.ones(len(keys), dtype=np.float32), (len(first), 23))


class Case:
    """Random records, parameters and priors; the last first feature has no record."""

    def __init__(self, k: int, count: int = 300) -> None:
        rng = np.random.default_rng(k)
        self.k = k
        first, second = rng.integers(19, size=count), rng.integers(3, size=count)
        self.rows = make_rows(first, second)
        self.x = np.zeros((count, 23))
        self.x[np.arange(count), first] = 1
        self.x[np.arange(count), second + 20] = 1
        self.y = rng.normal(size=count).astype(np.float32)
        self.parameters = rng.normal(0, 0.5, (23, k + 1)).astype(np.float32)
        self.priors = Priors(
            rng.normal(0, 0.3, (2, k + 1)).astype(np.float32),
            rng.gamma(4, 1, (2, k + 1)).astype(np.float32),
        )

    def sampler(self, workers: Workers) -> PairSampler:
        linear, factors = self.parameters[:, -1], self.parameters[:, :-1]
        return PairSampler(self.rows, FIELDS, self.y, linear, factors, workers)

    def drawn(self, fill: Fill) -> Floats:
        """One sweep's parameters."""
        with Workers(1) as workers:
            sampler = self.sampler(workers)
            sampler.sweep(BIAS, NOISE, self.priors, fill)
            linear, factors = sampler.parameters()
            return np.column_stack([factors, linear]).astype(np.float64)

    def expected(self, numbers: Callable[[int, int], Floats], *, weight_first: bool) -> Floats:
        return gibbs_reference.sweep(
            self.x,
            self.y.astype(np.float64),
            self.parameters.astype(np.float64),
            BIAS,
            NOISE,
            self.priors,
            FIELDS,
            (0, 1),
            numbers,
            weight_first=weight_first,
        )


def zeros(out: NDArray[np.float32], *_: int) -> None:
    out[:] = 0


@pytest.mark.parametrize("k", [1, 7, 8, 9, 14])
def test_narrow_rows_are_drawn_as_by_the_reference(k: int) -> None:
    case = Case(k)
    fill = normals(5, 0)

    def numbers(field: int, feature: int) -> Floats:
        drawn = np.empty((-(-FIELDS.widths[field] // 16), k + 1, 16), dtype=np.float32)
        fill(drawn.reshape(-1), field, 0)
        return drawn[feature // 16, :, feature % 16].astype(np.float64)

    expected = case.expected(numbers, weight_first=False)
    np.testing.assert_allclose(case.drawn(fill), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("k", [15, 16, 20])
def test_wide_rows_with_many_records_are_drawn_as_by_the_reference(k: int) -> None:
    case = Case(k, count=1200)  # about 60 records of each first feature, 400 of each second
    fill = normals(5, 0)

    def numbers(field: int, feature: int) -> Floats:
        drawn = np.empty((FIELDS.widths[field], k + 1), dtype=np.float32)
        fill(drawn.reshape(-1), field, 0)
        of_feature: Floats = drawn[feature].astype(np.float64)
        return of_feature

    expected = case.expected(numbers, weight_first=True)
    np.testing.assert_allclose(case.drawn(fill), expected, rtol=0, atol=5e-4)


def test_the_mean_of_wide_rows_with_few_records_is_that_of_the_reference() -> None:
    case = Case(40, count=200)  # about 10 records of each first feature
    expected = case.expected(lambda *_: np.zeros(41), weight_first=True)
    np.testing.assert_allclose(case.drawn(zeros), expected, rtol=0, atol=5e-4)


def test_wide_rows_with_few_records_vary_as_the_posterior_does() -> None:
    """Draws are linear in the random numbers: the coefficients give their covariance."""
    k, count = 16, 38  # 2 records of each first feature
    case = Case(k, count)
    case.rows = make_rows(np.arange(count) % 19, np.arange(count) % 3)
    mean = case.drawn(zeros)[0]
    size = k + 1 + 2
    coefficients = np.empty((size, k + 1))
    for number in range(size):

        def unit(out: NDArray[np.float32], field: int, part: int, number: int = number) -> None:
            out[:] = 0
            if (field, part) == (0, 0):
                out[number] = 1

        coefficients[number] = case.drawn(unit)[0] - mean
    z = np.column_stack([case.parameters[20 + np.array([0, 19]) % 3, :-1], np.ones(2)])
    precision = z.T @ z / NOISE + np.diag(case.priors.precisions[0])
    np.testing.assert_allclose(
        coefficients.T @ coefficients, np.linalg.inv(precision), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("k", [3, 14, 15, 16, 33])
def test_residuals_and_sums_are_those_of_the_parameters(k: int) -> None:
    case = Case(k)
    with Workers(1) as workers:
        sampler = case.sampler(workers)
        sums = sampler.sweep(BIAS, NOISE, case.priors, normals(1, 0))
        linear, factors = sampler.parameters()
        parameters = np.column_stack([factors, linear]).astype(np.float64)
        expected = case.y - gibbs_reference.outputs(case.x, BIAS, parameters)
        np.testing.assert_allclose(sampler.residuals(), expected, rtol=0, atol=1e-4)
        assert sums.sum == pytest.approx(expected.sum(), abs=1e-2)
        assert sums.squares == pytest.approx(np.square(expected).sum(), rel=1e-4)
        assert sums.absolute == pytest.approx(np.abs(expected).sum(), rel=1e-4)
        moments = sampler.moments()
        for field, part in enumerate((parameters[:20], parameters[20:])):
            assert moments.counts[field] == len(part)
            np.testing.assert_allclose(moments.sums[field], part.sum(axis=0), rtol=0, atol=1e-4)
            squares = np.square(part).sum(axis=0)
            np.testing.assert_allclose(moments.squares[field], squares, rtol=1e-4)


def test_other_labels_are_explained_next() -> None:
    case = Case(4)
    labels = case.y[::-1].copy()
    with Workers(1) as workers:
        sampler = case.sampler(workers)
        sampler.relabel(labels)
        sampler.sweep(BIAS, NOISE, case.priors, zeros)
        linear, factors = sampler.parameters()
        parameters = np.column_stack([factors, linear]).astype(np.float64)
        expected = labels - gibbs_reference.outputs(case.x, BIAS, parameters)
        np.testing.assert_allclose(sampler.residuals(), expected, rtol=0, atol=1e-4)


@TWO_THREADS
@pytest.mark.parametrize("k", [8, 20])
def test_the_number_of_threads_changes_nothing(k: int) -> None:
    count, widths = 9000, (5000, 4500)  # more than one part of each field
    rng = np.random.default_rng(0)
    keys = np.stack([rng.integers(5000, size=count), 5000 + rng.integers(4500, size=count)], axis=1)
    rows = SparseRows(
        np.arange(count + 1) * 2,
        keys.astype(np.int32).ravel(),
        np.ones(2 * count, dtype=np.float32),
        (count, 9500),
    )
    y = rng.normal(size=count).astype(np.float32)
    parameters = rng.normal(0, 0.1, (9500, k + 1)).astype(np.float32)
    shape = (2, k + 1)
    priors = Priors(np.zeros(shape, np.float32), np.ones(shape, np.float32))
    results = []
    for threads in (1, 2):
        with Workers(threads) as workers:
            given = (parameters[:, -1], parameters[:, :-1])
            sampler = PairSampler(rows, Fields(widths), y, *given, workers)
            sums = sampler.sweep(BIAS, NOISE, priors, normals(1, 0))
            results.append((sums, sampler.parameters()[1].tobytes()))
    assert results[0] == results[1]


def test_only_pairs_of_ones_from_two_fields_fit() -> None:
    pairs = make_rows(np.array([0, 19]), np.array([2, 0]))
    assert PairSampler.fits(pairs, FIELDS)
    assert not PairSampler.fits(pairs, Fields((23,)))
    assert not PairSampler.fits(pairs, Fields((19, 4)))
    doubled = SparseRows(pairs.indptr, pairs.indices, pairs.data * 2, pairs.shape)
    assert not PairSampler.fits(doubled, FIELDS)
    three = SparseRows(np.array([0, 3, 4]), pairs.indices, pairs.data, pairs.shape)
    assert not PairSampler.fits(three, FIELDS)
