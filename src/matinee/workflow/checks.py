"""The check step: whether what `preprocess` left is fit to learn from and to judge by.

Looks at the splits' Parquet and the index tables as they lie in S3, not at what made them, so that
it also holds for data that something else made or changed: columns and rows, ranges, duplicates, a
rating in two splits, indexes that do not agree with the index tables, too little data. Every check
says what it found, in `checks.json`; one that failed refuses the run, one that warns does not.
Memory is bounded by DuckDB's limit; the copies and what does not fit go to a scratch folder.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypedDict

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from matinee.workflow import tables
from matinee.workflow.errors import RatingsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import SPLITS, Part, Preprocessed
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

MEMORY_LIMIT = "1GB"
# Of fewer, errors differ from another sample's by several hundredths of a star.
FEW_TEST_RATINGS = 1_000
# A customer without training ratings is recommended nothing of their own.
MUCH_COLD = 0.1
_INDEX_TABLES = {"customers": tables.CUSTOMERS, "videos": tables.VIDEOS}


class Check(TypedDict):
    """What one check found."""

    name: str
    status: Literal["passed", "warning", "failed"]
    detail: str


class Checked(TypedDict):
    """Where the findings lie, and how many checks passed and warned."""

    run: str
    checks: str
    passed: int
    warnings: int


def check(settings: Settings, inputs: dict[str, Any]) -> Checked:
    """Check the splits and index tables; write checks.json.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed`, what that step returned.

    Returns
    -------
    Checked

    Raises
    ------
    ObjectsError
        If an object is missing.
    RatingsError
        If a check failed, with what each that did found. checks.json is written nevertheless.
    """
    preprocessed: Preprocessed = inputs["preprocessed"]
    run = preprocessed["run"]
    objects = Objects()
    with tempfile.TemporaryDirectory(prefix="matinee-check-") as scratch_name:
        scratch = Path(scratch_name)
        copies = _copy(objects, preprocessed, scratch)
        found = [_objects(settings, preprocessed, copies)]
        # The others read the columns that this one looked for.
        if found[0]["status"] != "failed":
            found += _contents(settings, preprocessed, copies, scratch)
    uri = f"{settings.folder(run)}/checks.json"
    failed = [one for one in found if one["status"] == "failed"]
    objects.write_json({"run": run, "passed": not failed, "checks": found}, uri)
    for one in found:
        logger.info("%(name)s: %(status)s. %(detail)s", one)
    if failed:
        reasons = "; ".join(f"{one['name']}: {one['detail']}" for one in failed)
        raise RatingsError(
            f"the ratings fail {len(failed)} of {len(found)} checks: {reasons} (all of them: {uri})"
        )
    statuses = [one["status"] for one in found]
    return {
        "run": run,
        "checks": uri,
        "passed": statuses.count("passed"),
        "warnings": statuses.count("warning"),
    }


class _Copy(TypedDict):
    """A copy of one object, and how many rows it should have."""

    uri: str
    path: Path
    rows: int


def _copy(objects: Objects, preprocessed: Preprocessed, scratch: Path) -> dict[str, list[_Copy]]:
    """Copy all objects into the scratch folder; return them by split and index table."""
    wanted: dict[str, list[Part]] = {
        **{split: list(preprocessed["ratings"][split]) for split in SPLITS},
        "customers": [{"uri": preprocessed["customers"], "rows": preprocessed["customer_count"]}],
        "videos": [{"uri": preprocessed["videos"], "rows": preprocessed["video_count"]}],
    }
    copies: dict[str, list[_Copy]] = {}
    for name, parts in wanted.items():
        copies[name] = []
        for number, part in enumerate(parts):
            path = scratch / f"{name}-{number}.parquet"
            objects.download(part["uri"], path)
            copies[name].append({"uri": part["uri"], "path": path, "rows": part["rows"]})
    return copies


def _objects(
    settings: Settings, preprocessed: Preprocessed, copies: dict[str, list[_Copy]]
) -> Check:
    """Check that each object is Parquet of the right columns and number of rows."""
    schemas = {
        **dict.fromkeys(
            SPLITS, tables.ratings_schema(settings.side_columns, timed=settings.is_timed)
        ),
        **_INDEX_TABLES,
    }
    problems = [
        problem
        for name, parts in copies.items()
        for part in parts
        for problem in _object_problems(part, schemas[name])
    ]
    for split in SPLITS:
        rows = sum(part["rows"] for part in copies[split])
        counted = preprocessed["rating_counts"][split]
        if not rows or rows != counted:
            problems.append(
                f"{split} is {len(copies[split])} objects of {rows:,} ratings, {counted:,} were"
                " counted"
            )
    count = sum(map(len, copies.values()))
    return _judged("objects", problems, f"{count} objects have the columns and rows they should")


def _object_problems(part: _Copy, schema: pa.Schema) -> Iterator[str]:
    try:
        with pq.ParquetFile(part["path"]) as file:
            found, rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        yield f"{part['uri']} cannot be read: {error}"
        return
    if not found.equals(schema):
        yield f"{part['uri']} has the columns {_described(found)}, not {_described(schema)}"
    if rows != part["rows"]:
        yield f"{part['uri']} has {rows:,} rows, not {part['rows']:,}"


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema) or "none"


def _contents(
    settings: Settings,
    preprocessed: Preprocessed,
    copies: dict[str, list[_Copy]],
    scratch: Path,
) -> Iterator[Check]:
    with duckdb.connect() as database:
        database.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        database.execute("set temp_directory = $folder", {"folder": str(scratch)})
        for name, parts in copies.items():
            paths = [str(part["path"]) for part in parts]
            database.read_parquet(paths, file_row_number=True).create_view(name)
        database.execute("""
            create view ratings as
                select 1 as split, customer, video, stars from train union all
                select 2 as split, customer, video, stars from validate union all
                select 4 as split, customer, video, stars from test""")
        yield _values(database, preprocessed)
        yield from _pairs(database)
        yield _index(database, "customers", "customer")
        yield _index(database, "videos", "video")
        yield _enough(database, settings, preprocessed)
        yield _cold(database)


def _values(database: duckdb.DuckDBPyConnection, preprocessed: Preprocessed) -> Check:
    """Check that no value is missing or out of its range."""
    [(missing, strange, lowest, highest, customers, videos)] = database.execute(
        """
        select count(*) filter (where customer is null or video is null or stars is null),
            count(*) filter (where not stars between 1 and 5), min(stars), max(stars),
            count(*) filter (where customer < 0 or customer >= $customers),
            count(*) filter (where video < 0 or video >= $videos)
        from ratings""",
        {"customers": preprocessed["customer_count"], "videos": preprocessed["video_count"]},
    ).fetchall()
    problems = []
    if missing:
        problems.append(f"{missing:,} ratings lack a customer, a video or stars")
    if strange:
        problems.append(f"{strange:,} ratings are not from 1 to 5 stars, but {lowest} to {highest}")
    for count, name in ((customers, "customer"), (videos, "video")):
        if count:
            last = preprocessed["customer_count" if name == "customer" else "video_count"] - 1
            problems.append(f"{count:,} ratings have a {name} index that is not from 0 to {last}")
    return _judged("values", problems, "no rating lacks a value or has one out of its range")


def _pairs(database: duckdb.DuckDBPyConnection) -> Iterator[Check]:
    """Check that nobody rated a video twice, within a split or in two."""
    [(repeated, first_repeated, leaked, first_leaked)] = database.execute("""
        select count(*) filter (where ratings > bit_count(splits)),
            min([customer, video]) filter (where ratings > bit_count(splits)),
            count(*) filter (where bit_count(splits) > 1),
            min([customer, video]) filter (where bit_count(splits) > 1)
        from (select customer, video, count(*) as ratings, bit_or(split) as splits from ratings
            group by customer, video having count(*) > 1) as pairs""").fetchall()
    for name, count, first, problem, good in (
        (
            "duplicates",
            repeated,
            first_repeated,
            "stand twice in a split",
            "no split has two ratings of a video by a customer",
        ),
        (
            "leakage",
            leaked,
            first_leaked,
            "stand in more than one split",
            "no rating is in two splits",
        ),
    ):
        problems = []
        if count:
            customer, video = first
            problems.append(
                f"{count:,} pairs of customer and video {problem}, first customer {customer}, video"
                f" {video}"
            )
        yield _judged(name, problems, good)


_INDEX_QUERIES = {
    "customers": """
        select count(*) filter (where index is distinct from file_row_number),
            count(*) filter (where coalesce(trim(customer), '') = ''),
            count(*) - count(distinct customer),
            (select count(*) from customers full join (
                select customer as index, count(*) as counted from ratings group by customer
            ) as given using (index) where coalesce(ratings, 0) <> coalesce(counted, 0))
        from customers""",
    "videos": """
        select count(*) filter (where index is distinct from file_row_number),
            count(*) filter (where coalesce(trim(video), '') = ''),
            count(*) - count(distinct video),
            (select count(*) from videos full join (
                select video as index, count(*) as counted from ratings group by video
            ) as given using (index) where coalesce(ratings, 0) <> coalesce(counted, 0))
        from videos""",
}


def _index(database: duckdb.DuckDBPyConnection, table: str, name: str) -> Check:
    """Check an index table: in order, each id once, and its counts those of the ratings."""
    [counts] = database.execute(_INDEX_QUERIES[table]).fetchall()
    rules = (
        f"{name} indexes are not their place in the table",
        f"{name} ids are missing or blank",
        f"{name} ids are there already, or missing",
        f"{table} have other numbers of ratings than the index table says",
    )
    problems = [f"{count:,} {rule}" for count, rule in zip(counts, rules, strict=True) if count]
    return _judged(f"index of {table}", problems, f"the {table} are numbered and counted as rated")


def _enough(
    database: duckdb.DuckDBPyConnection, settings: Settings, preprocessed: Preprocessed
) -> Check:
    """Check that there is something to learn, and enough to judge by."""
    [(different,)] = database.execute("select count(distinct stars) from train").fetchall()
    sides = (("customer", "customer_count"), ("video", "video_count"))
    problems = [
        f"there is 1 {name}: nothing to tell apart"
        for name, count in sides
        if preprocessed[count] < 2  # type: ignore[literal-required]
    ]
    if different < 2:
        problems.append("all training ratings have the same stars: there is nothing to learn")
    train, test = (preprocessed["rating_counts"][split] for split in ("train", "test"))
    if train < settings.training_instance_count:
        problems.append(
            f"{train:,} training ratings are fewer than training_instance_count"
            f" {settings.training_instance_count}"
        )
    if test < FEW_TEST_RATINGS and not problems:
        return {
            "name": "enough data",
            "status": "warning",
            "detail": f"{test:,} test ratings are few: a difference in errors may be chance, look"
            " at the intervals",
        }
    return _judged("enough data", problems, f"{train:,} training and {test:,} test ratings")


def _cold(database: duckdb.DuckDBPyConnection) -> Check:
    """Tell how many test ratings are by customers, or of videos, without training ratings."""
    [(ratings, customers, videos)] = database.execute("""
        select count(*), count(*) filter (where customer not in (select customer from train)),
            count(*) filter (where video not in (select video from train)) from test""").fetchall()
    detail = (
        f"{customers / ratings:.1%} of the test ratings are by customers without training ratings,"
        f" {videos / ratings:.1%} of videos without"
    )
    much = max(customers, videos) > MUCH_COLD * ratings
    return {"name": "cold start", "status": "warning" if much else "passed", "detail": detail}


def _judged(name: str, problems: list[str], good: str) -> Check:
    if problems:
        return {"name": name, "status": "failed", "detail": "; ".join(problems)}
    return {"name": name, "status": "passed", "detail": good}
