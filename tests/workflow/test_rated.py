"""Ratings by customer, against the splits they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.rated import RatedVideos
from tests.workflow.splits import CUSTOMERS, VIDEOS, Put, write_parts

ROWS = {"train": [5, 3], "validate": [2], "test": [4]}
# Customers in turn: of each split's 8, 2 and 4 ratings the first customers have one more.
COUNTS = np.array([3 + 1 + 2, 3 + 1 + 1, 2 + 0 + 1])


def read(put: Put, folder: Path, counts: np.ndarray = COUNTS, videos: int = VIDEOS) -> RatedVideos:
    ratings = write_parts(put, folder, ROWS)["ratings"]
    return RatedVideos.read(Objects(), ratings, counts, videos, folder)


def test_every_customer_has_their_ratings_of_all_splits(put: Put, tmp_path: Path) -> None:
    rated = read(put, tmp_path)
    own = rated.block(1, 2)
    assert own.bounds.tolist() == [0, 5]
    # Numbers 1, 4 and 7 of train, 1 of validate, 1 of test; video is the number modulo 4.
    assert own.videos.tolist() == [1, 0, 3, 1, 1]
    assert own.stars.tolist() == [2, 5, 3, 2, 2]
    assert own.trained.tolist() == [True, True, True, False, False]


def test_a_block_is_its_customers_one_after_the_other(put: Put, tmp_path: Path) -> None:
    rated = read(put, tmp_path)
    block = rated.block(0, CUSTOMERS)
    assert block.bounds.tolist() == [0, 6, 11, 14]
    for customer in range(CUSTOMERS):
        own = rated.block(customer, customer + 1)
        begin, end = block.bounds[customer : customer + 2]
        assert block.videos[begin:end].tolist() == own.videos.tolist()
    learned = block.learned()
    assert learned.bounds.tolist() == [0, 3, 6, 8]
    assert learned.videos.tolist() == [0, 3, 2, 1, 0, 3, 2, 1]
    assert learned.trained.all()


def test_popularity_counts_training_ratings_alone(put: Put, tmp_path: Path) -> None:
    rated = read(put, tmp_path, videos=5)
    assert rated.counts.tolist() == [2, 2, 2, 2, 0]
    # Numbers 0 and 4 rate video 0, with 1 and 5 stars.
    assert rated.means[0] == 3
    assert np.isnan(rated.means[4])
    assert rated.popular().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("counts", "videos", "problem"),
    [
        (
            np.subtract(COUNTS, [0, 1, 0]),
            VIDEOS,
            "has more ratings of a customer than the table of customers",
        ),
        (
            np.add(COUNTS, [0, 1, 0]),
            VIDEOS,
            "the parts hold 14 ratings, but the table of customers counts 15",
        ),
        (COUNTS[:2], VIDEOS, "has a rating of customer 2, but there are only 0 to 1"),
        (COUNTS, 3, "has a rating of video 3, but there are only 0 to 2"),
    ],
)
def test_tables_of_other_ratings_are_refused(
    put: Put, tmp_path: Path, counts: np.ndarray, videos: int, problem: str
) -> None:
    with pytest.raises(ObjectsError, match=problem):
        read(put, tmp_path, counts, videos)
