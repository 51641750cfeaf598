"""Recommendations from a model whose answers are known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matinee.fm import artifact
from matinee.fm.model import Model
from matinee.workflow.errors import EvaluationError
from matinee.workflow.parts import Preprocessed
from matinee.workflow.preprocess import preprocess
from matinee.workflow.recommend import recommend
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv

Put = Callable[[str, bytes | str], str]
CUSTOMERS = 6
VIDEOS = 8


def put_model(put: Put, folder: Path, videos: list[float], customers: int = CUSTOMERS) -> str:
    """Write a model that gives 3 stars and what each video adds, whoever the customer."""
    linear = np.array([0.0] * customers + videos, np.float32)
    factors = np.zeros((len(linear), 2), np.float32)
    path = folder / "model"
    artifact.write(Model(3.0, linear, factors, "regressor"), path)
    return put("model", path.read_bytes())


@pytest.fixture
def preprocessed(put: Put, bucket: str) -> Preprocessed:
    """Customers c0 to c5 and videos v0 to v7; customer n has not rated the last n videos.

    So videos are indexed in their order, and customers too.
    """
    ratings = [
        (f"c{customer}", f"v{video}", "3", "" if video == 7 else f"Film {video}", "1")
        for customer in range(CUSTOMERS)
        for video in range(VIDEOS - customer)
    ]
    uri = put("r.csv", as_csv(ratings, "user_id,item_id,rating,title,time"))
    columns = {"customer": "user_id", "video": "item_id", "stars": "rating", "title": "title"}
    values: dict[str, Any] = {
        "ratings": uri,
        "columns": columns,
        "output": f"s3://{bucket}/runs",
        "min_ratings_per_customer": 1,
        "min_ratings_per_video": 1,
    }
    return preprocess(Settings.from_parameters(values), {"run": "matinee-1"})


def test_the_best_unseen_videos_come_first(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [9, 9, 9, 0, 1, 0.5, 1, -1])
    found = recommend(preprocessed, model, customer="c5", seed=1)
    assert found == {
        "customer": "c5",
        "rated": 3,
        "items": [
            {"rank": 1, "video": "v4", "title": "Film 4", "stars": 4.0},
            {"rank": 2, "video": "v6", "title": "Film 6", "stars": 4.0},
            {"rank": 3, "video": "v5", "title": "Film 5", "stars": 3.5},
            {"rank": 4, "video": "v3", "title": "Film 3", "stars": 3.0},
            {"rank": 5, "video": "v7", "title": "v7", "stars": 2.0},
        ],
    }
    best = recommend(preprocessed, model, customer="c5", seed=1, count=1)
    assert best["items"] == found["items"][:1]


def test_who_has_seen_all_gets_nothing(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    found = recommend(preprocessed, put_model(put, tmp_path, [0.0] * VIDEOS), customer="c0", seed=1)
    assert found == {"customer": "c0", "rated": 8, "items": []}


def test_a_seed_picks_a_customer(preprocessed: Preprocessed, put: Put, tmp_path: Path) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS)

    def pick(seed: int) -> str:
        return recommend(preprocessed, model, customer=None, seed=seed)["customer"]

    assert pick(1) == pick(1)
    assert len({pick(seed) for seed in range(8)}) > 1


def test_an_unknown_customer_is_refused(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match="customer 'nobody' is not among the 6 customers"):
        recommend(preprocessed, put_model(put, tmp_path, [0.0] * VIDEOS), customer="nobody", seed=1)


def test_a_model_of_other_data_is_refused(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS, customers=9)
    with pytest.raises(EvaluationError, match="has 17 features, but there are 6 customers and 8"):
        recommend(preprocessed, model, customer="c5", seed=1)


def test_what_is_no_model_is_refused(preprocessed: Preprocessed, put: Put) -> None:
    with pytest.raises(EvaluationError, match=r"s3://.*/model cannot be used: "):
        recommend(preprocessed, put("model", b"text"), customer="c5", seed=1)
