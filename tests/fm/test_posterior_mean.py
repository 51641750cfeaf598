"""The mean of samples is exact where it can be, bounded, and made up for where it is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.gibbs import Workers
from matinee.fm.model import Model
from matinee.fm.posterior_mean import PosteriorMean

Sample = tuple[float, NDArray[np.float32], NDArray[np.float32]]

NONE = np.zeros(0, dtype=np.float32)
# Each record holds two of five features.
KEYS = np.array([[0, 3], [1, 4], [2, 3], [0, 4]], dtype=np.int32)
ROWS = SparseRows(np.arange(5) * 2, KEYS.ravel(), np.ones(8, dtype=np.float32), (4, 5))


def samples(count: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        (
            float(rng.normal()),
            rng.normal(size=5).astype(np.float32),
            rng.normal(size=(5, 2)).astype(np.float32),
        )
        for _ in range(count)
    ]


def outputs(sample: Sample) -> NDArray[np.float32]:
    return Model(*sample, "regressor").outputs(ROWS)


@pytest.mark.parametrize("expected", [4, 7])
def test_a_segment_for_each_sample_makes_the_mean_exact(expected: int) -> None:
    """Also when there are fewer samples than were expected."""
    drawn = samples(4)
    mean = PosteriorMean(5, 2, 2 * expected, expected, 0)
    for sample in drawn:
        mean.add(*sample, NONE)
    model = mean.model()
    assert mean.count == 4
    assert model.num_factors == 8
    np.testing.assert_allclose(
        model.outputs(ROWS), np.mean([outputs(sample) for sample in drawn], axis=0), rtol=1e-5
    )


def test_a_segment_has_the_mean_of_its_factors() -> None:
    drawn = samples(4)
    mean = PosteriorMean(5, 2, 5, 4, 0)  # room for two segments and a half
    for sample in drawn:
        mean.add(*sample, NONE)
    halves = [
        Model(
            float(np.mean([bias for bias, _, _ in half])),
            np.mean([linear for _, linear, _ in half], axis=0),
            np.mean([factors for _, _, factors in half], axis=0),
            "regressor",
        )
        for half in (drawn[:2], drawn[2:])
    ]
    assert mean.model().num_factors == 4
    expected = np.mean([half.outputs(ROWS) for half in halves], axis=0)
    np.testing.assert_allclose(mean.model().outputs(ROWS), expected, rtol=1e-5)


def test_fewer_factors_than_a_sample_has_are_possible() -> None:
    mean = PosteriorMean(5, 2, 1, 1, 0)
    mean.add(*samples(1)[0], NONE)
    assert mean.model().num_factors == 1


def test_a_copy_stays_as_it_is() -> None:
    first, second = samples(2)
    mean = PosteriorMean(5, 2, 2, 2, 0)
    mean.add(*first, NONE)
    before = mean.copy()
    mean.add(*second, NONE)
    np.testing.assert_array_equal(before.model().linear, first[1])
    assert (before.count, mean.count) == (1, 2)


def test_a_fit_makes_up_for_what_factors_lose() -> None:
    drawn = samples(20)
    # Many records of each kind, so that the pull to where the mean was does not count.
    rows = SparseRows(
        np.arange(4001) * 2, np.tile(KEYS.ravel(), 1000), np.ones(8000, np.float32), (4000, 5)
    )
    mean = PosteriorMean(5, 2, 2, 20, 4000)
    for sample in drawn:
        mean.add(*sample, np.tile(outputs(sample), 1000))
    expected = np.mean([outputs(sample) for sample in drawn], axis=0)
    with Workers(1) as workers:
        fitted = mean.fitted_model(rows, Fields((3, 2)), workers)
    assert np.abs(mean.model().outputs(ROWS) - expected).max() > 0.1
    np.testing.assert_allclose(fitted.outputs(ROWS), expected, rtol=0, atol=0.01)


def test_the_variance_is_that_of_outputs() -> None:
    drawn = samples(6)
    mean = PosteriorMean(5, 2, 2, 6, 4)
    for sample in drawn:
        mean.add(*sample, outputs(sample))
    expected = np.var([outputs(sample) for sample in drawn], axis=0).mean()
    assert mean.variance() == pytest.approx(expected, rel=1e-4)
