"""Recommendations from a model whose answers are known beforehand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matinee.fm import artifact
from matinee.fm.model import Model
from matinee.workflow.errors import EvaluationError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Part, Preprocessed
from matinee.workflow.prepare import Ratings, read_ratings
from matinee.workflow.preprocess import preprocess
from matinee.workflow.recommend import recommend, recommend_all
from matinee.workflow.recommendation_table import RECOMMENDATIONS
from matinee.workflow.recommender import Recommendations
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv

Put = Callable[[str, bytes | str], str]
CUSTOMERS = 6
VIDEOS = 8


def put_model(
    put: Put,
    folder: Path,
    videos: list[float],
    customers: int = CUSTOMERS,
    bias: float = 3.0,
    factors: np.ndarray | None = None,
) -> str:
    """Write a model that gives the bias, what each video adds, and what the factors do."""
    linear = np.array([0.0] * customers + videos, np.float32)
    if factors is None:
        factors = np.zeros((len(linear), 2), np.float32)
    path = folder / "model"
    artifact.write(Model(bias, linear, factors, "regressor"), path)
    return put("model", path.read_bytes())


def split(preprocessed: Preprocessed, name: str) -> Ratings:
    [part] = preprocessed["ratings"][name]
    with tempfile.NamedTemporaryFile() as file:
        Objects().download(part["uri"], Path(file.name))
        return read_ratings(Path(file.name), part["uri"])


def trained(preprocessed: Preprocessed, customer: str) -> list[int]:
    """Return the videos of a customer's training ratings."""
    rated = split(preprocessed, "train")
    return sorted(rated.video[rated.customer == int(customer[1:])].tolist())


def without_training(preprocessed: Preprocessed, customer: str) -> Preprocessed:
    """Return the same ratings, those of the customer being no training ratings."""
    rated = split(preprocessed, "train")
    own = rated.customer == int(customer[1:])
    objects, parts = Objects(), {}
    for name, rows in (("train", ~own), ("moved", own)):
        columns = {field: getattr(rated, field)[rows] for field in Ratings._fields}
        uri = preprocessed["ratings"]["train"][0]["uri"] + f".{name}"
        with tempfile.NamedTemporaryFile() as file:
            pq.write_table(pa.table(columns), file.name)
            objects.upload(Path(file.name), uri)
        parts[name] = Part(uri=uri, rows=int(rows.sum()))
    validate = [*preprocessed["ratings"]["validate"], parts["moved"]]
    ratings = {**preprocessed["ratings"], "train": [parts["train"]], "validate": validate}
    return {**preprocessed, "ratings": ratings}


@pytest.fixture
def settings(put: Put, bucket: str) -> Settings:
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
    return Settings.from_parameters(values)


@pytest.fixture
def preprocessed(settings: Settings) -> Preprocessed:
    return preprocess(settings, {"run": "matinee-1"})


def stars(found: Recommendations) -> list[tuple[str, float]]:
    return [(item["video"], item["stars"]) for item in found["items"]]


def test_the_best_unseen_videos_come_first(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [9, 9, 9, 0, 1, 0.5, 1, -1])
    found = recommend(preprocessed, model, customer="c5", seed=1)
    assert (found["customer"], found["source"], found["rated"]) == ("c5", "model", 3)
    assert found["best_rated"] == [
        {"video": f"v{video}", "title": f"Film {video}", "stars": 3.0} for video in range(3)
    ]
    assert stars(found) == [("v4", 4.0), ("v6", 4.0), ("v5", 3.5), ("v3", 3.0), ("v7", 2.0)]
    assert [item["rank"] for item in found["items"]] == [1, 2, 3, 4, 5]
    assert [item["title"] for item in found["items"]][-2:] == ["Film 3", "v7"]
    best = recommend(preprocessed, model, customer="c5", seed=1, count=1)
    assert best["items"] == found["items"][:1]


def test_who_has_seen_all_gets_nothing(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    found = recommend(preprocessed, put_model(put, tmp_path, [0.0] * VIDEOS), customer="c0", seed=1)
    assert (found["rated"], found["items"]) == (8, [])


def test_the_reason_is_the_rated_video_that_is_like_it(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    factors = np.zeros((CUSTOMERS + VIDEOS, 2), np.float32)
    liked, other, *_ = trained(preprocessed, "c2")
    # Video 6 is as the first of the rated, and unlike the second; 3 stars are 2 above the bias.
    factors[[2, CUSTOMERS + liked, CUSTOMERS + 6]] = [1, 0]
    factors[CUSTOMERS + other] = [0, 1]
    model = put_model(put, tmp_path, [0.0] * VIDEOS, bias=1.0, factors=factors)
    first, second = recommend(preprocessed, model, customer="c2", seed=1)["items"]
    assert (first["video"], first["stars"]) == ("v6", 2.0)
    [reason] = first["reasons"]
    assert reason["video"] == f"v{liked}"
    assert reason["stars"] == 3
    assert 0 < reason["adds"] <= 2
    assert second["reasons"] == []


def test_an_unknown_customer_gets_what_is_popular_and_is_told_so(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS)
    found = recommend(preprocessed, model, customer="nobody", seed=1, count=3)
    assert (found["source"], found["rated"], found["best_rated"]) == ("popularity", 0, [])
    assert found["note"].startswith("customer nobody is unknown to this run, or has too few")
    counts = np.bincount(split(preprocessed, "train").video, minlength=VIDEOS)
    assert [item["ratings"] for item in found["items"]] == sorted(counts, reverse=True)[:3]
    assert [item["stars"] for item in found["items"]] == [3, 3, 3]


def test_who_has_no_training_rating_is_told_so(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS)
    without = without_training(preprocessed, "c5")
    found = recommend(without, model, customer="c5", seed=1)
    assert (found["source"], found["rated"]) == ("popularity", 3)
    assert "c5 has no rating among those that the model learned from" in found["note"]
    assert {item["video"] for item in found["items"]}.isdisjoint({"v0", "v1", "v2"})
    assert recommend(without, model, customer=None, seed=1)["source"] == "model"


def read_table(uri: str, folder: Path) -> list[dict[str, Any]]:
    path = folder / "recommendations.parquet"
    Objects().download(uri, path)
    table = pq.read_table(path)
    assert table.schema.equals(RECOMMENDATIONS)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_all_customers_get_what_each_gets(
    settings: Settings, preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    factors = rng.normal(0, 1, (CUSTOMERS + VIDEOS, 2)).astype(np.float32)
    model = put_model(put, tmp_path, rng.normal(0, 1, VIDEOS).tolist(), factors=factors)
    ratings = without_training(preprocessed, "c4")
    inputs = {"preprocessed": ratings, "trained": {"model": model}}
    told: list[tuple[int, int]] = []
    done = recommend_all(
        settings, inputs, count=4, progress=lambda *progress: told.append(progress)
    )
    uri = f"{settings.folder('matinee-1')}/recommendations.parquet"
    assert (done["recommendations"], done["customers"], done["by_popularity"]) == (uri, 6, 1)
    assert told == [(6, 6)]
    rows = read_table(uri, tmp_path)
    assert len(rows) == done["rows"]
    assert [row["customer"] for row in rows] == sorted(row["customer"] for row in rows)
    for number in range(CUSTOMERS):
        alone = recommend(ratings, model, customer=f"c{number}", seed=1, count=4)
        own = [row for row in rows if row["customer"] == f"c{number}"]
        assert [row["video"] for row in own] == [item["video"] for item in alone["items"]]
        assert [row["rank"] for row in own] == [item["rank"] for item in alone["items"]]
        assert [row["title"] for row in own] == [item["title"] for item in alone["items"]]
        assert {row["source"] for row in own} <= {alone["source"]}
        for row, item in zip(own, alone["items"], strict=True):
            assert row["stars"] == pytest.approx(item["stars"])
            best = item["reasons"][:1]
            assert [row["reason_video"]] == ([best[0]["video"]] if best else [None])
            assert [row["reason_stars"]] == ([best[0]["stars"]] if best else [None])
    before = Objects().read(uri)
    assert recommend_all(settings, inputs, count=4) == done
    assert Objects().read(uri) == before


def test_nothing_is_written_of_what_fails(
    settings: Settings, preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS)

    def stop(_done: int, _total: int) -> None:
        raise InterruptedError

    inputs = {"preprocessed": preprocessed, "trained": {"model": model}}
    with pytest.raises(InterruptedError):
        recommend_all(settings, inputs, progress=stop)
    assert Objects().modified(f"{settings.folder('matinee-1')}/recommendations.parquet") is None


def test_a_seed_picks_a_customer(preprocessed: Preprocessed, put: Put, tmp_path: Path) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS)

    def pick(seed: int) -> str:
        return recommend(preprocessed, model, customer=None, seed=seed)["customer"]

    assert pick(1) == pick(1)
    assert len({pick(seed) for seed in range(8)}) > 1


def test_a_model_of_other_data_is_refused(
    preprocessed: Preprocessed, put: Put, tmp_path: Path
) -> None:
    model = put_model(put, tmp_path, [0.0] * VIDEOS, customers=9)
    with pytest.raises(EvaluationError, match="has 17 features, but there are 6 customers and 8"):
        recommend(preprocessed, model, customer="c5", seed=1)


def test_what_is_no_model_is_refused(preprocessed: Preprocessed, put: Put) -> None:
    with pytest.raises(EvaluationError, match=r"s3://.*/model cannot be used: "):
        recommend(preprocessed, put("model", b"text"), customer="c5", seed=1)
