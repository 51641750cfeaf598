"""The benchmarks' ratings are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.fm import data
from benchmarks.fm.workers import task


@pytest.fixture(scope="module")
def shape() -> tuple[data.Ratings, data.Ratings]:
    return data.reference_shape(1)


def test_the_reference_shape_is_the_published_one(
    shape: tuple[data.Ratings, data.Ratings],
) -> None:
    train, test = shape
    pairs = np.concatenate([train.pairs, test.pairs])

    assert (len(train.stars), len(test.stars)) == (1_028_559, 342_853)
    for side, (least, median, most) in enumerate([(5, 6, 2_600), (10, 16, 15_000)]):
        degrees = np.bincount(pairs[:, side])
        assert len(degrees) == (train.customers, train.videos)[side]
        assert (int(degrees.min()), int(degrees.max())) == (least, most)
        assert np.median(degrees) == median
    assert set(np.unique(train.stars)) == {1, 2, 3, 4, 5}


def test_a_seed_means_the_same_ratings(shape: tuple[data.Ratings, data.Ratings]) -> None:
    again, _ = data.reference_shape(1)
    other, _ = data.reference_shape(2)

    np.testing.assert_array_equal(again.pairs, shape[0].pairs)
    np.testing.assert_array_equal(again.stars, shape[0].stars)
    assert (other.pairs != again.pairs).any()


def test_splits_keep_every_rating() -> None:
    pairs = np.stack([np.arange(20), np.arange(20)], axis=1).astype(np.int32)
    ratings = data.Ratings(pairs, np.arange(20, dtype=np.float32), 20, 20)

    for train, test in data.random_splits(ratings, 2):
        assert len(test.stars) == 2
        assert sorted([*train.stars, *test.stars]) == list(range(20))


def test_workers_read_what_is_written(tmp_path: Path) -> None:
    train = data.Ratings(np.array([[0, 1], [2, 0]], np.int32), np.array([4, 2], np.float32), 3, 2)

    folder = str(data.write(tmp_path, train, train))

    features, stars = task.one_hot(folder, "train")
    assert features.toarray().tolist() == [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    assert stars.tolist() == [4, 2]
    assert task.widths(folder) == (3, 2)


def test_errors_are_of_predictions_within_the_stars() -> None:
    assert task.rmse(np.array([9.0, -3.0]), np.array([5, 2], np.float32)) == 0.5**0.5
