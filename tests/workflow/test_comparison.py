"""The paired bootstrap, on predictions whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest

from matinee.workflow.comparison import rmse_difference

RANDOM = np.random.default_rng(1)
STARS = RANDOM.integers(1, 6, 5_000).astype("f4")
NOISE = RANDOM.normal(0, 1, 5_000)
CUSTOMER = np.arange(5_000, dtype=np.int32) % 1_000


def test_equal_predictions_differ_by_nothing() -> None:
    found = rmse_difference(STARS + NOISE, STARS + NOISE, STARS, CUSTOMER, seed=1)
    assert found == (0, 0, 0)


def test_the_interval_holds_the_true_difference_and_is_narrow_for_pairs() -> None:
    found = rmse_difference(STARS + 1.1 * NOISE, STARS + NOISE, STARS, CUSTOMER, seed=1)
    assert found is not None
    assert found.estimate == pytest.approx(0.1 * np.sqrt(np.mean(NOISE**2)))
    assert found.low < 0.1 < found.high
    # Not paired, the RMSE of 5,000 normal errors alone has an interval of plus and minus 0.02.
    assert found.high - found.low < 0.008


def test_of_two_that_are_as_good_it_does_not_tell_which_is_better() -> None:
    found = rmse_difference(STARS + NOISE[::-1], STARS + NOISE, STARS, CUSTOMER, seed=1)
    assert found is not None
    assert found.low < 0 < found.high


def test_the_same_seed_gives_the_same_interval() -> None:
    first, again, other = (
        rmse_difference(STARS + NOISE * 2, STARS + NOISE, STARS, CUSTOMER, seed)
        for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("count", [0, 3])
def test_of_one_customer_nothing_can_be_said(count: int) -> None:
    stars, customer = np.ones(count, "f4"), np.full(count, 7, np.int32)
    assert rmse_difference(stars + 1.0, stars + 0.5, stars, customer, seed=1) is None
