"""The check step, on what preprocessing leaves, and on the same with one thing broken at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matinee.workflow.checks import check
from matinee.workflow.errors import ObjectsError, RatingsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv, grid

Put = Callable[[str, bytes | str], str]
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def settings(put: Put, bucket: str) -> Settings:
    return Settings.from_parameters(
        {
            "ratings": put("r.csv", as_csv(grid(15, 15), "user_id,item_id,rating")),
            "output": f"s3://{bucket}/runs",
        }
    )


@pytest.fixture
def preprocessed(settings: Settings) -> Preprocessed:
    return preprocess(settings, {"run": "matinee-1"}, part_rows=60)


@pytest.fixture
def rewrite(tmp_path: Path) -> Callable[[str, Change], None]:
    """Put a changed table in an object's place."""

    def rewrite_object(uri: str, change: Change) -> None:
        path = tmp_path / "table.parquet"
        Objects().download(uri, path)
        pq.write_table(change(pq.read_table(path)), path)
        Objects().upload(path, uri)

    return rewrite_object


def statuses(settings: Settings) -> dict[str, str]:
    document = Objects().read_json(f"{settings.folder('matinee-1')}/checks.json")
    assert document["passed"] == ("failed" not in [one["status"] for one in document["checks"]])
    return {one["name"]: one["status"] for one in document["checks"]}


def put_in(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    values = table.column(column).to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    return table.set_column(
        place, table.schema.field(column), pa.array(values, table.schema.types[place])
    )


def test_what_preprocessing_leaves_passes(settings: Settings, preprocessed: Preprocessed) -> None:
    assert len(preprocessed["ratings"]["train"]) > 1
    outputs = check(settings, {"preprocessed": preprocessed})
    assert outputs == {
        "run": "matinee-1",
        "checks": f"{settings.folder('matinee-1')}/checks.json",
        "passed": 7,
        "warnings": 1,
    }
    assert statuses(settings) == {
        "objects": "passed",
        "values": "passed",
        "duplicates": "passed",
        "leakage": "passed",
        "index of customers": "passed",
        "index of videos": "passed",
        "enough data": "warning",
        "cold start": "passed",
    }


def test_checking_again_gives_equal_bytes(settings: Settings, preprocessed: Preprocessed) -> None:
    first = Objects().read(check(settings, {"preprocessed": preprocessed})["checks"])
    assert Objects().read(check(settings, {"preprocessed": preprocessed})["checks"]) == first


def first_rows(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def without_stars(table: pa.Table) -> pa.Table:
    return table.drop_columns(["stars"])


def wider(table: pa.Table) -> pa.Table:
    return table.set_column(0, "customer", table.column("customer").cast(pa.int64()))


def repeated(table: pa.Table) -> pa.Table:
    return put_in(
        put_in(table, "customer", 0, table.column("customer")[1].as_py()),
        "video", 0, table.column("video")[1].as_py(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "change", "broken", "message"),
    [
        ("test", first_rows, ["objects"], r"part-00000.parquet has \d+ rows, not \d+"),
        ("train", without_stars, ["objects"], r"has the columns customer int32, video int32, not"),
        ("train", wider, ["objects"], r"has the columns customer int64, video int32, stars float,"),
        ("customers", first_rows, ["objects"], r"customers.parquet has 14 rows, not 15"),
        (
            "train",
            lambda table: put_in(table, "stars", 3, 5.5),
            ["values"],
            "values: 1 ratings are not from 1 to 5 stars, but 1.0 to 5.5",
        ),
        (
            "validate",
            lambda table: put_in(table, "stars", 3, float("nan")),
            ["values"],
            "1 ratings are not from 1 to 5 stars, but 1.0 to nan",
        ),
        (
            "test",
            lambda table: put_in(table, "stars", 0, None),
            ["values"],
            "1 ratings lack a customer, a video or stars",
        ),
        (
            "test",
            lambda table: put_in(table, "customer", 0, 15),
            ["values", "index of customers"],
            "1 ratings have a customer index that is not from 0 to 14",
        ),
        (
            "train",
            lambda table: put_in(table, "video", 0, -1),
            ["values", "index of videos"],
            "1 ratings have a video index that is not from 0 to 14",
        ),
        ("train", repeated, ["duplicates"], "1 pairs of customer and video stand twice in a split"),
        (
            "customers",
            lambda table: table.take(pa.array([1, 0, *range(2, 15)])),
            ["index of customers"],
            "2 customer indexes are not their place in the table",
        ),
        (
            "videos",
            lambda table: put_in(table, "video", 3, " "),
            ["index of videos"],
            "1 video ids are missing or blank",
        ),
        (
            "videos",
            lambda table: put_in(table, "video", 3, table.column("video")[4].as_py()),
            ["index of videos"],
            "1 video ids are there already, or missing",
        ),
        (
            "customers",
            lambda table: put_in(table, "ratings", 3, 99),
            ["index of customers"],
            "1 customers have other numbers of ratings than the index table says",
        ),
    ],
)
def test_what_is_broken_is_told(
    settings: Settings,
    preprocessed: Preprocessed,
    rewrite: Callable[[str, Change], None],
    where: str,
    change: Change,
    broken: list[str],
    message: str,
) -> None:
    index_tables = {"customers": preprocessed["customers"], "videos": preprocessed["videos"]}
    rewrite(index_tables.get(where) or preprocessed["ratings"][where][0]["uri"], change)
    with pytest.raises(RatingsError, match=message) as refusal:
        check(settings, {"preprocessed": preprocessed})
    assert str(refusal.value).endswith(f"(all of them: {settings.folder('matinee-1')}/checks.json)")
    found = statuses(settings)
    assert {name for name, status in found.items() if status == "failed"} >= set(broken)
    if broken == ["objects"]:
        assert list(found) == ["objects"]


def test_a_rating_in_two_splits_is_told(
    settings: Settings, preprocessed: Preprocessed, tmp_path: Path, rewrite: Any
) -> None:
    Objects().download(preprocessed["ratings"]["train"][0]["uri"], tmp_path / "train")
    [leaked, *_] = pq.read_table(tmp_path / "train").to_pylist()

    def leak(table: pa.Table) -> pa.Table:
        return put_in(put_in(table, "customer", 2, leaked["customer"]), "video", 2, leaked["video"])

    rewrite(preprocessed["ratings"]["test"][0]["uri"], leak)
    message = (
        "leakage: 1 pairs of customer and video stand in more than one split, first customer"
        f" {leaked['customer']}, video {leaked['video']}"
    )
    with pytest.raises(RatingsError, match=message):
        check(settings, {"preprocessed": preprocessed})
    assert statuses(settings)["duplicates"] == "passed"


def test_what_is_no_parquet_is_told(
    settings: Settings, preprocessed: Preprocessed, put: Put
) -> None:
    uri = preprocessed["ratings"]["validate"][0]["uri"]
    put(uri.split("/", 3)[3], b"not Parquet")
    with pytest.raises(RatingsError, match=f"objects: {uri} cannot be read: "):
        check(settings, {"preprocessed": preprocessed})


def test_a_missing_object_is_told(settings: Settings, preprocessed: Preprocessed) -> None:
    Objects().delete(preprocessed["videos"])
    with pytest.raises(ObjectsError, match=preprocessed["videos"]):
        check(settings, {"preprocessed": preprocessed})


def test_a_part_that_was_forgotten_is_told(settings: Settings, preprocessed: Preprocessed) -> None:
    preprocessed["ratings"]["train"].pop()
    with pytest.raises(RatingsError, match=r"train is \d objects of \d+ ratings, \d+ were counted"):
        check(settings, {"preprocessed": preprocessed})


def test_stars_that_are_all_alike_teach_nothing(put: Put, bucket: str) -> None:
    rows = [(customer, video, "4") for customer, video, _ in grid(12, 12)]
    settings = Settings.from_parameters(
        {"ratings": put("alike.csv", as_csv(rows)), "output": f"s3://{bucket}/runs"}
    )
    preprocessed = preprocess(settings, {"run": "matinee-1"})
    with pytest.raises(RatingsError, match="enough data: all training ratings have the same stars"):
        check(settings, {"preprocessed": preprocessed})


def test_cold_test_ratings_are_a_warning(put: Put, bucket: str) -> None:
    settings = Settings.from_parameters(
        {
            "ratings": put("cold.csv", as_csv(grid(40, 3))),
            "output": f"s3://{bucket}/runs",
            "min_ratings_per_customer": 1,
            "train_fraction": 0.3,
            "validate_fraction": 0.3,
            "test_fraction": 0.4,
        }
    )
    preprocessed = preprocess(settings, {"run": "matinee-1"})
    outputs = check(settings, {"preprocessed": preprocessed})
    [cold] = [
        one
        for one in Objects().read_json(outputs["checks"])["checks"]
        if one["name"] == "cold start"
    ]
    assert cold["status"] == "warning"
    assert cold["detail"].endswith("of videos without")
