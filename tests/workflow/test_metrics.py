"""What metrics.json says, figure by figure, of ratings small enough to reckon by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from matinee.workflow.baselines import fit_video_means
from matinee.workflow.metrics import error_intervals, measure
from matinee.workflow.prepare import Ratings
from tests.workflow.test_ranking import of_videos, pairs, rated, splits

TRAIN = [(0, 0, 5.0), (0, 1, 4.0), (1, 0, 3.0), (1, 1, 2.0), (2, 0, 1.0)]
VALIDATE = [(0, 2, 4.0), (1, 2, 2.0)]
TEST = [(0, 3, 5.0), (1, 3, 2.0), (2, 1, 1.0), (2, 2, 4.0)]
RATINGS = splits(TRAIN, VALIDATE, TEST)
PREDICTED = np.array([4.0, 3.0, 1.0, 4.0])


def test_all_parts_are_there_and_are_json() -> None:
    measured = measure(PREDICTED, RATINGS, of_videos([1, 2, 3, 4], 3), pairs(3, 4), seed=1)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert measured["rows"] == 4
    assert measured["model"] == {"rmse": math.sqrt(0.5), "mse": 0.5, "mae": 0.5}
    assert {"mean", "bias", "popular", "intervals", "segments", "calibration", "ranking"} < (
        measured.keys()
    )


def test_what_is_popular_is_rated_as_its_mean() -> None:
    means = fit_video_means(rated(TRAIN), 4)
    # Nobody rated videos 2 and 3 in train: the mean of all.
    np.testing.assert_allclose(means, [3, 3, 3, 3])
    means = fit_video_means(rated([(0, 0, 5), (1, 0, 2), (1, 1, 2)]), 3)
    np.testing.assert_allclose(means, [3.5, 2, 3])
    measured = measure(PREDICTED, RATINGS, of_videos([1, 2, 3, 4], 3), pairs(3, 4), seed=1)
    assert measured["popular"]["mse"] == pytest.approx((4 + 1 + 4 + 1) / 4)


def test_segments_are_those_of_the_training_ratings() -> None:
    measured = measure(PREDICTED, RATINGS, of_videos([1, 2, 3, 4], 3), pairs(3, 4), seed=1)
    rows = {
        side: [(segment["from"], segment["rows"]) for segment in measured["segments"][side]]
        for side in ("customers", "videos")
    }
    assert rows == {"customers": [(1, 4)], "videos": [(0, 3), (1, 1)]}
    stars = [(segment["stars"], segment["rows"]) for segment in measured["segments"]["stars"]]
    assert stars == [(1, 1), (2, 1), (4, 1), (5, 1)]
    assert measured["segments"]["stars"][0].keys() == {"stars", "rows", "model", "bias"}


@pytest.fixture
def test_ratings() -> Ratings:
    rng = np.random.default_rng(3)
    return Ratings(
        rng.integers(0, 200, 5_000).astype(np.int32),
        np.zeros(5_000, np.int32),
        rng.integers(1, 6, 5_000).astype(np.float32),
    )


def test_an_interval_holds_the_error(test_ratings: Ratings) -> None:
    rng = np.random.default_rng(4)
    better = test_ratings.stars + rng.normal(0, 0.5, 5_000)
    worse = test_ratings.stars + rng.normal(0, 0.6, 5_000)
    found = error_intervals({"model": better, "bias": worse}, test_ratings, 200, seed=1)
    for name, predicted in (("model", better), ("bias", worse)):
        mse = float(np.mean((predicted - test_ratings.stars) ** 2))
        assert found[name]["mse"][0] < mse < found[name]["mse"][1]
        assert found[name]["rmse"] == pytest.approx(np.sqrt(found[name]["mse"]))
    # What is better by far is so in every replicate.
    assert found["differences"]["bias"]["rmse"][1] < 0
    assert found.keys() == {
        "level", "method", "replicates", "seed", "model", "bias", "differences"
    }  # fmt: skip


def test_a_difference_is_paired(test_ratings: Ratings) -> None:
    rng = np.random.default_rng(4)
    model = test_ratings.stars + rng.normal(0, 0.5, 5_000)
    found = error_intervals({"model": model, "twin": model}, test_ratings, 200, seed=1)
    assert found["differences"]["twin"] == {"rmse": [0, 0], "mse": [0, 0], "mae": [0, 0]}


def test_a_single_customer_has_no_interval() -> None:
    alone = rated([(0, 0, 5), (0, 1, 4)])
    found = error_intervals({"model": np.ones(2), "bias": np.ones(2)}, alone, 1, seed=1)
    assert found["model"] == {"rmse": None, "mse": None, "mae": None}
    assert found["differences"]["bias"]["rmse"] is None
