"""The preprocess step against a real S3 server: what it keeps, how it splits, what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from matinee.workflow.definition import thresholds
from matinee.workflow.errors import ObjectsError, RatingsError
from matinee.workflow.malformed import (
    BLANK_CUSTOMER,
    BLANK_VIDEO,
    NOT_UTF8,
    NUL_BYTE,
    STARS_NOT_A_NUMBER,
    STARS_OUT_OF_RANGE,
    WRONG_FIELD_COUNT,
)
from matinee.workflow.objects import Objects
from matinee.workflow.parts import SPLITS, Preprocessed
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv, grid

HEADER = "user_id,item_id,rating"
Put = Callable[[str, bytes | str], str]
Step = Callable[..., Preprocessed]
TITLED = {
    "customer": "user_id",
    "video": "item_id",
    "stars": "rating",
    "title": "title",
    "time": "time",
}


@pytest.fixture
def step(put: Put, bucket: str) -> Step:
    """Preprocess ratings given as CSV text, with no filters unless asked for."""

    def run_step(csv: bytes | str, run: str = "matinee-1", **parameters: Any) -> Preprocessed:
        values = {
            "ratings": put("ratings/r.csv", csv),
            "output": f"s3://{bucket}/runs",
            "min_ratings_per_customer": 1,
            "min_ratings_per_video": 1,
            "max_malformed_fraction": 1,
            **parameters,
        }
        return preprocess(Settings.from_parameters(values), {"run": run})

    return run_step


def table(uri: str, folder: Path) -> list[dict[str, Any]]:
    path = folder / "table.parquet"
    Objects().download(uri, path)
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def ratings_of(outputs: Preprocessed, folder: Path) -> dict[tuple[str, str], tuple[str, float]]:
    """Return split and stars of each customer and video, by their ids."""
    customers = [row["customer"] for row in table(outputs["customers"], folder)]
    videos = [row["video"] for row in table(outputs["videos"], folder)]
    return {
        (customers[row["customer"]], videos[row["video"]]): (split, row["stars"])
        for split in SPLITS
        for part in outputs["ratings"][split]
        for row in table(part["uri"], folder)
    }


def test_every_rating_lands_in_one_split(step: Step, tmp_path: Path) -> None:
    ratings = grid(20, 15)
    outputs = step(as_csv(ratings))
    found = ratings_of(outputs, tmp_path)
    assert {(*ids, f"{stars:g}") for ids, (_, stars) in found.items()} == set(ratings)
    assert sum(outputs["rating_counts"].values()) == 300
    assert outputs["customer_count"] == 20
    assert outputs["video_count"] == 15


def test_the_split_is_by_the_hash_of_ids_and_seed(step: Step, tmp_path: Path) -> None:
    found = ratings_of(step(as_csv(grid(10, 10)), seed=7), tmp_path)
    for (customer, video), (split, _) in found.items():
        share = int(md5(f"{customer}|{video}|7"), 16) / 2**128
        assert split == ("train" if share < 0.6 else "validate" if share < 0.8 else "test")
    hashes = [
        md5(f"{customer}|{video}|7")
        for (customer, video), (split, _) in found.items()
        if split == "train"
    ]
    assert hashes == sorted(hashes)


def test_fractions_are_taken_as_they_are_written() -> None:
    assert thresholds([0.5, 0.25]) == ["8" + "0" * 31, "c" + "0" * 31]
    assert thresholds([0.1]) == [f"{2**128 // 10:032x}"]


def test_fractions_and_seed_change_the_split(step: Step, tmp_path: Path) -> None:
    csv = as_csv(grid(20, 20))
    first = ratings_of(step(csv), tmp_path)
    assert ratings_of(step(csv, seed=2), tmp_path) != first
    most = step(csv, train_fraction=0.9, validate_fraction=0.05, test_fraction=0.05)
    assert most["rating_counts"]["train"] > 340


def test_a_rating_keeps_its_split_when_others_are_added(step: Step, tmp_path: Path) -> None:
    before = ratings_of(step(as_csv(grid(10, 10))), tmp_path)
    after = ratings_of(step(as_csv(grid(15, 12))), tmp_path)
    assert all(after[ids] == rating for ids, rating in before.items())


def test_the_order_of_rows_and_files_changes_no_byte(step: Step, put: Put) -> None:
    ratings = [(*rating, f"Film {rating[1]}", str(n)) for n, rating in enumerate(grid(12, 12) * 2)]
    header = "user_id,item_id,rating,title,time"
    digests = []
    for seed in (1, 2):
        shuffled = list(ratings)
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - any order will do
        # The second time the rows come in two objects, one of them gzipped.
        cut = 0 if seed == 1 else 100
        rest = as_csv(shuffled[:cut], header)
        put("ratings/a.csv.gz", gzip.compress(rest.encode(), mtime=0))
        outputs = step(
            as_csv(shuffled[cut:], header),
            ratings=put("ratings/", "").rstrip("/"),
            columns=TITLED,
        )
        parts = [part["uri"] for split in SPLITS for part in outputs["ratings"][split]]
        uris = [*parts, outputs["customers"], outputs["videos"]]
        digests.append([hashlib.sha256(Objects().read(uri)).hexdigest() for uri in uris])
    assert digests[0] == digests[1]


def test_the_same_run_again_gives_the_same_bytes_and_no_more(step: Step, bucket: str) -> None:
    def contents() -> dict[str, bytes]:
        objects = Objects()
        return {uri: objects.read(uri) for uri in objects.list(f"s3://{bucket}/runs")}

    csv = as_csv(grid(10, 10))
    step(csv)
    first = contents()
    step(csv)
    assert contents() == first


def test_indexes_go_by_falling_count_then_by_id(step: Step, tmp_path: Path) -> None:
    ratings = [
        *[("b", f"v{n}", "3") for n in range(8)],
        *[("a", f"v{n}", "3") for n in range(8)],
        *[("Z", f"v{n}", "3") for n in range(8)],
        *[("é", f"v{n}", "3") for n in range(9)],
    ]
    outputs = step(as_csv(ratings))
    assert table(outputs["customers"], tmp_path) == [
        {"index": 0, "customer": "é", "ratings": 9},
        {"index": 1, "customer": "Z", "ratings": 8},
        {"index": 2, "customer": "a", "ratings": 8},
        {"index": 3, "customer": "b", "ratings": 8},
    ]
    assert table(outputs["videos"], tmp_path)[-1] == {
        "index": 8,
        "video": "v8",
        "title": None,
        "ratings": 1,
    }


def test_of_duplicates_the_latest_counts(step: Step, tmp_path: Path) -> None:
    ratings = [
        *[(*rating, "Film", "2020-01-01") for rating in grid(8, 8)],
        ("c0", "v0", "1", "Film", "2021-01-01"),
        ("c0", "v0", "5", "Film", "2020-06-01"),
        ("c1", "v1", "2", "Film", "2021-01-01"),
        ("c1", "v1", "4", "Film", "2021-01-01"),
        ("c2", "v2", "1", "Film", "some day"),
        ("c3", "v3", "1", "Film", ""),
    ]
    outputs = step(as_csv(ratings, "user_id,item_id,rating,title,time"), columns=TITLED)
    found = ratings_of(outputs, tmp_path)
    assert found["c0", "v0"][1] == 1
    assert found["c1", "v1"][1] == 4
    assert found["c2", "v2"][1] == 1 + (2 + 4) % 5
    assert found["c3", "v3"][1] == 1 + (3 + 6) % 5
    assert Objects().read_json(outputs["report"])["unreadable_times"] == 1


def test_times_as_numbers_are_ordered_as_numbers(step: Step, tmp_path: Path) -> None:
    ratings = [
        *[(*rating, "Film", "9") for rating in grid(8, 8)],
        ("c0", "v0", "5", "Film", "10"),
        ("c1", "v1", "5", "Film", "8e0"),
    ]
    outputs = step(as_csv(ratings, "user_id,item_id,rating,title,time"), columns=TITLED)
    found = ratings_of(outputs, tmp_path)
    assert found["c0", "v0"][1] == 5
    assert found["c1", "v1"][1] == 4


def test_a_videos_title_is_its_most_frequent_one(step: Step, tmp_path: Path) -> None:
    ratings = [
        *[(customer, video, stars, "Alien", "1") for customer, video, stars in grid(8, 8)],
        *[(f"d{n}", "v0", "3", "Aliens", "1") for n in range(9)],
        *[(f"d{n}", "v1", "3", title, "1") for n, title in enumerate("BA" * 5)],
        *[(f"d{n}", "v8", "3", " ", "1") for n in range(9)],
    ]
    outputs = step(as_csv(ratings, "user_id,item_id,rating,title,time"), columns=TITLED)
    titles = {row["video"]: row["title"] for row in table(outputs["videos"], tmp_path)}
    assert titles["v0"] == "Aliens"
    assert titles["v1"] == "Alien"
    assert titles["v8"] is None


def test_only_ratings_before_a_time_count_where_asked(step: Step, tmp_path: Path) -> None:
    ratings = [
        *[(*rating, "Film", "2015-12-31") for rating in grid(8, 8)],
        ("c0", "v1", "5", "Film", "2015-12-31T23:59:59Z"),
        ("c0", "v0", "5", "Film", "2016-01-01"),
        ("c1", "late", "5", "Film", "1451606400000"),
        ("late", "v1", "5", "Film", "1451606401"),
        ("c1", "timeless", "5", "Film", ""),
    ]
    csv = as_csv(ratings, "user_id,item_id,rating,title,time")
    outputs = step(csv, columns=TITLED, until="2016-01-01")
    found = ratings_of(outputs, tmp_path)
    assert found.keys() == {(f"c{n}", f"v{m}") for n in range(8) for m in range(8)}
    assert found["c0", "v1"][1] == 5
    assert found["c0", "v0"][1] == 1
    report = Objects().read_json(outputs["report"])
    assert report["not_before_until"] == 4
    first = {"step": "before 2016-01-01", "ratings": 65, "customers": 8, "videos": 8}
    assert report["funnel"][0] == first
    outputs = step(csv, "matinee-2", columns=TITLED, until="2016-01-01T00:00:00Z")
    assert ratings_of(outputs, tmp_path) == found


def test_filters_count_the_usable_rows_before_duplicates_go(step: Step, tmp_path: Path) -> None:
    ratings = [
        *grid(10, 10),
        *[("rare", f"v{n}", "3") for n in range(4)],
        *[(f"c{n}", "few", "3") for n in range(9)],
        *[("twice", "v0", "3")] * 5,
    ]
    outputs = step(as_csv(ratings), min_ratings_per_customer=5, min_ratings_per_video=10)
    customers, videos = zip(*ratings_of(outputs, tmp_path), strict=True)
    assert set(customers) == {*(f"c{n}" for n in range(10)), "twice"}
    assert set(videos) == {f"v{n}" for n in range(10)}
    assert Objects().read_json(outputs["report"])["funnel"] == [
        {"step": "usable rows", "ratings": 118, "customers": 12, "videos": 11},
        {"step": "customers with 5 or more", "ratings": 114, "customers": 11, "videos": 11},
        {"step": "videos with 10 or more", "ratings": 105, "customers": 11, "videos": 10},
        {
            "step": "latest of each customer and video",
            "ratings": 101,
            "customers": 11,
            "videos": 10,
        },
    ]


def test_malformed_rows_are_counted_by_cause_and_never_dropped_silently(step: Step) -> None:
    bad = [
        ("c1", "v\ufffd", "5"),
        ("c1", "v1"),
        ("c1", "v1", "5", "6"),
        ("", "v1", "5"),
        (" ", "", "x"),
        ("c1", " ", "5"),
        ("c1", "v1", "five"),
        ("c1", "v1", ""),
        ("c1", "v1", "nan"),
        ("c1", "v1", "inf"),
        ("c1", "v1", "0"),
        ("c1", "v1", "5.5"),
        ("c1", "v1", "-3"),
    ]
    good = [("c1", "w1", " 4 "), ("c2", "w2", "3.5"), ("c3", "w3", "1e0")]
    outputs = step(as_csv([*grid(10, 10), *bad, *good]))
    report = Objects().read_json(outputs["report"])
    assert report["rows"] == 116
    assert report["malformed"]["total"] == 13
    assert report["malformed"]["causes"] == {
        BLANK_CUSTOMER: 2,
        BLANK_VIDEO: 1,
        NOT_UTF8: 1,
        STARS_NOT_A_NUMBER: 4,
        STARS_OUT_OF_RANGE: 3,
        WRONG_FIELD_COUNT: 2,
    }
    assert report["malformed"]["samples"][STARS_OUT_OF_RANGE][0]["row"] == (
        "customer c1, video v1, stars -3"
    )
    assert report["stars"] == {"1": 21, "2": 20, "3": 20, "3.5": 1, "4": 21, "5": 20}


def test_the_report_tells_the_splits_and_where_the_ratings_came_from(
    step: Step, bucket: str
) -> None:
    outputs = step(as_csv(grid(10, 10)))
    report = Objects().read_json(outputs["report"])
    assert report["objects"] == [f"s3://{bucket}/ratings/r.csv"]
    assert report["splits"] == outputs["rating_counts"]
    assert report["malformed"] == {"total": 0, "causes": {}, "samples": {}}


@pytest.mark.parametrize("content", [b"", b"user_id,item_id,rating\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(step: Step, bucket: str, content: bytes) -> None:
    with pytest.raises(RatingsError, match=f"s3://{bucket}/ratings/r.csv holds no ratings"):
        step(content)


def test_a_missing_file_is_refused(step: Step, bucket: str) -> None:
    with pytest.raises(ObjectsError, match=f"there is no object s3://{bucket}/gone"):
        step(b"", ratings=f"s3://{bucket}/gone")


def test_a_file_without_the_needed_columns_is_refused(step: Step) -> None:
    with pytest.raises(RatingsError, match=r"needs the columns .* the file has \['who', 'what'\]"):
        step("who,what\n1,2\n")


def test_a_file_of_malformed_rows_is_refused(step: Step) -> None:
    with pytest.raises(RatingsError, match=r"none of the 3 rows .* 2 blank customer .*; 1 wrong"):
        step(as_csv([("", "v", "5"), ("", "w", "5"), ("c", "v")]))


def test_more_malformed_rows_than_allowed_stop_the_run(step: Step, bucket: str) -> None:
    csv = as_csv([*grid(9, 11), ("c1", "v1", "six"), ("c1", "v1", "7")])
    with pytest.raises(RatingsError) as refusal:
        step(csv, max_malformed_fraction=0.01)
    assert str(refusal.value) == (
        f"2 of the 101 rows of s3://{bucket}/ratings/r.csv are malformed (1.98%), and"
        " max_malformed_fraction is 0.01:"
        " 1 stars not a number (for example 'customer c1, video v1, stars six');"
        " 1 stars outside 1 to 5 (for example 'customer c1, video v1, stars 7')"
    )
    assert Objects().list(f"s3://{bucket}/runs") == []
    assert step(csv, max_malformed_fraction=0.02)["customer_count"] == 9


def test_ids_are_mended_and_it_is_told(step: Step, tmp_path: Path) -> None:
    ratings = [*grid(8, 8), ("17.0", "v0", "3"), ("17", "v1", "3"), (" 17", " v2 ", "3")]
    odd = [("1.50", "v0", "3"), ("x.0", "v0", "3"), ("a b", "v0", "3")]
    outputs = step(as_csv([*ratings, *odd]))
    found = {row["customer"] for row in table(outputs["customers"], tmp_path)}
    assert found == {*(f"c{n}" for n in range(8)), "17", "1.50", "x.0", "a b"}
    assert Objects().read_json(outputs["report"])["mended_ids"] == 2


def test_ids_with_a_nul_byte_are_malformed(step: Step) -> None:
    outputs = step(as_csv([*grid(8, 8), ("c\0", "v", "3"), ("c", "v\0", "3")]))
    assert Objects().read_json(outputs["report"])["malformed"]["causes"] == {NUL_BYTE: 2}


def test_titles_of_another_encoding_are_kept_and_counted(step: Step, tmp_path: Path) -> None:
    rows = as_csv([(*rating, "Amélie \U0001f3ac") for rating in grid(8, 8)], f"{HEADER},title")
    csv = rows.encode() + "d,w,3,Amélie\n".encode("latin-1")
    outputs = step(csv, columns={name: TITLED[name] for name in TITLED if name != "time"})
    titles = {row["video"]: row["title"] for row in table(outputs["videos"], tmp_path)}
    assert titles["v0"] == "Amélie \U0001f3ac"
    assert titles["w"] == "Am\ufffdlie"
    assert Objects().read_json(outputs["report"])["titles_not_utf8"] == 1


def test_an_empty_object_among_others_is_no_trouble(step: Step, put: Put) -> None:
    put("ratings/a.csv", b"")
    put("ratings/b.csv", f"{HEADER}\n")
    whole = step(as_csv(grid(8, 8)))
    folder = step(as_csv(grid(8, 8)), ratings=put("ratings/c.csv", b"").rpartition("/")[0])
    assert folder["rating_counts"] == whole["rating_counts"]


class Vanishing(Objects):
    """S3 in which an object goes after it was found."""

    def find(self, uri: str) -> list[str]:
        found = super().find(uri)
        self.delete(found[-1])
        return found


def test_an_object_lost_midway_is_refused(
    step: Step, put: Put, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("ratings/a.csv", as_csv(grid(8, 8)))
    monkeypatch.setattr("matinee.workflow.preprocess.Objects", Vanishing)
    with pytest.raises(ObjectsError, match=f"cannot read s3://{bucket}/ratings/r.csv"):
        step(as_csv(grid(8, 8)), ratings=f"s3://{bucket}/ratings")
    assert Objects().list(f"s3://{bucket}/runs") == []


def test_a_broken_object_among_others_is_refused(step: Step, put: Put, bucket: str) -> None:
    put("ratings/z.csv.gz", gzip.compress(as_csv(grid(99, 9)).encode(), mtime=0)[:-12])
    with pytest.raises(RatingsError, match=f"cannot read s3://{bucket}/ratings/z.csv.gz"):
        step(as_csv(grid(8, 8)), ratings=f"s3://{bucket}/ratings")
    assert Objects().list(f"s3://{bucket}/runs") == []


@pytest.mark.parametrize("many", [False, True])
def test_ratings_may_lie_on_this_machine(step: Step, tmp_path: Path, many: bool) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "r.csv"
    file.write_text(as_csv(grid(8, 8)))
    expected = step(as_csv(grid(8, 8)))
    found = step(b"", ratings=str(file.parent if many else file))
    assert found["rating_counts"] == expected["rating_counts"]
    assert Objects().read_json(found["report"])["objects"] == [str(file)]


def test_a_file_that_is_not_there_is_refused(step: Step, tmp_path: Path) -> None:
    with pytest.raises(ObjectsError, match=f"there is no file {tmp_path}/gone"):
        step(b"", ratings=f"{tmp_path}/gone")


def test_side_columns_come_along_as_text(step: Step, tmp_path: Path) -> None:
    rows = [(*rating, "x", "") for rating in grid(8, 8)]
    csv = as_csv([*rows, ("c0", "v0", "5", "y", "1")], f"{HEADER},kind,helpful votes")
    outputs = step(csv, side_columns=["helpful votes", "kind"])
    found = [row for part in outputs["ratings"]["train"] for row in table(part["uri"], tmp_path)]
    assert list(found[0]) == ["customer", "video", "stars", "helpful votes", "kind"]
    every = [
        row
        for split in SPLITS
        for part in outputs["ratings"][split]
        for row in table(part["uri"], tmp_path)
    ]
    assert [row for row in every if row["stars"] == 5 and row["kind"] == "y"] == [
        {"customer": 0, "video": 0, "stars": 5, "helpful votes": "1", "kind": "y"}
    ]
    assert {row["helpful votes"] for row in every} == {"", "1"}


def test_ratings_that_are_not_numbers_are_refused(step: Step) -> None:
    with pytest.raises(
        RatingsError, match=r"none of the 2 rows .* 2 stars not a number .*stars five"
    ):
        step(as_csv([("c", "v", "five"), ("c", "w", "four")]))


def test_filters_that_leave_nothing_are_refused(step: Step) -> None:
    with pytest.raises(RatingsError) as refusal:
        step(as_csv(grid(4, 3)), min_ratings_per_customer=3, min_ratings_per_video=5)
    assert str(refusal.value) == (
        "of 12 usable ratings none is left: min_ratings_per_customer 3 leaves 12, with"
        " min_ratings_per_video 5 0; the most active customer has 3 ratings, the most rated"
        " video 4"
    )


def test_a_split_that_stays_empty_is_refused(step: Step) -> None:
    with pytest.raises(RatingsError, match=r"no rating falls into .*: 2 ratings are too few"):
        step(as_csv([("c", "v", "5"), ("c", "w", "5")]))


def test_an_output_that_is_not_there_is_refused(step: Step) -> None:
    with pytest.raises(ObjectsError, match="cannot list s3://no-such-bucket-here/runs/matinee-1"):
        step(as_csv(grid(4, 3)), output="s3://no-such-bucket-here/runs")


def test_a_refusal_writes_nothing(step: Step, bucket: str) -> None:
    with pytest.raises(RatingsError):
        step(as_csv(grid(4, 3)), min_ratings_per_customer=99)
    assert Objects().list(f"s3://{bucket}/runs") == []
