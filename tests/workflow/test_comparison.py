"""The paired bootstrap, on predictions whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest

from matinee.workflow.comparison import rmse_difference

RANDOM = np.random.default_rng(1)
STARS = RANDOM.integers(1, 6, 5_000).astype("f4")
NOISE = RANDOM.normal(0, 1, 5_000)


def test_equal_predictions_differ_by_nothing() -> None:
    found = rmse_difference(STARS + NOISE, STARS + NOISE, STARS, seed=1)
    assert found == (0, 0, 0)


def test_the_interval_holds_the_true_difference_and_is_narrow_for_pairs() -> None:
    found = rmse_difference(STARS + 1.1 * NOISE, STARS + NOISE, STARS, seed=1)
    assert found.estimate == pytest.approx(0.1 * np.sqrt(np.mean(NOISE**2)))
    assert found.low < 0.1 < found.high
    # Not paired, the RMSE of 5,000 normal errors alone has an interval of plus and minus 0.02.
    assert found.high - found.low < 0.008


def test_of_two_that_are_as_good_it_does_not_tell_which_is_better() -> None:
    found = rmse_difference(STARS + NOISE[::-1], STARS + NOISE, STARS, seed=1)
    assert found.low < 0 < found.high


def test_many_ratings_in_groups_have_the_interval_of_single_ones() -> None:
    random = np.random.default_rng(2)
    stars = np.zeros(100_000, "f4")
    ours, theirs = random.normal(0, 1.05, 100_000), random.normal(0, 1, 100_000)
    found = rmse_difference(ours, theirs, stars, seed=1)
    # The standard error of an RMSE of normal errors is sigma / sqrt(2 n).
    error = np.sqrt((1.05**2 + 1) / 200_000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_same_seed_gives_the_same_interval() -> None:
    first, again, other = (
        rmse_difference(STARS + NOISE * 2, STARS + NOISE, STARS, seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_one_rating_is_enough() -> None:
    found = rmse_difference(np.array([4.0]), np.array([3.0]), np.array([3.0], "f4"), seed=1)
    assert found == (1, 1, 1)
