"""The preprocess step: from raw ratings to three splits, index tables and a report.

Keeps four columns, counts the malformed rows by cause, drops the long tail, keeps the latest of a
customer's ratings of a video, numbers customers and videos by falling popularity, and splits by a
hash of the ids, so that the same ratings and seed give the same bytes and a rating keeps its split
when others are added. Refuses ratings of which nothing is usable, filters that leave nothing, and
splits that stay empty.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet

from matinee.workflow.errors import RatingsError
from matinee.workflow.loading import load
from matinee.workflow.malformed import MalformedRows
from matinee.workflow.objects import Objects
from matinee.workflow.parts import PART_ROWS, SPLITS, Part, Preprocessed
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

MEMORY_LIMIT = "2GB"
_ROW_GROUP_ROWS = 2**17


# The filters count the usable rows before duplicates go, as the published example does.
_KEEP_CUSTOMERS = """
create table active as select * from rated semi join (
    select customer from rated group by customer having count(*) >= $least
) using (customer)
"""
_KEEP_VIDEOS = """
create table kept as select * from active semi join (
    select video from rated group by video having count(*) >= $least
) using (video)
"""

_MOST_BY_A_CUSTOMER = "select max(n) from (select count(*) as n from rated group by customer)"
_MOST_OF_A_VIDEO = "select max(n) from (select count(*) as n from rated group by video)"

# The latest rating of a customer and video; of equally late ones the highest, so that the order
# of rows never matters.
_DEDUPLICATE = """
create table distinct_ratings as select
    customer, video, arg_max(stars, row(coalesce(seconds, '-infinity'::double), stars)) as stars
from kept group by customer, video
"""

_CUSTOMERS = """
create table customers as select
    (row_number() over (order by count(*) desc, customer) - 1)::integer as index,
    customer,
    count(*)::integer as ratings
from distinct_ratings group by customer
"""

# A video's title is its most frequent one, ties to the first in byte order.
_VIDEOS = """
create table videos as select
    (row_number() over (order by ratings desc, video) - 1)::integer as index, video, title, ratings
from (select video, count(*)::integer as ratings from distinct_ratings group by video)
left join (
    select video, title from kept where title is not null group by video, title
    qualify row_number() over (partition by video order by count(*) desc, title) = 1
) using (video)
"""

# Hashing ids, not indexes, keeps a rating in its split when others are added; comparing hex text
# leaves no room for integer overflow in any SQL engine.
_SPLIT = """
create table split_ratings as select
    customers.index as customer_index,
    videos.index as video_index,
    stars::float as stars,
    md5(concat(customer, '|', video, '|', $seed::varchar)) as hash,
    case when hash < $validate_from then 'train' when hash < $test_from then 'validate'
        else 'test' end as split,
    customer,
    video
from distinct_ratings join customers using (customer) join videos using (video)
"""

_ONE_SPLIT = """
select customer_index as customer, video_index as video, stars from split_ratings
where split = $split order by hash, customer, video
"""


def preprocess(
    settings: Settings, inputs: dict[str, Any], *, part_rows: int = PART_ROWS
) -> Preprocessed:
    """Read the ratings and write splits, index tables and the report.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `run`, the run's name.
    part_rows : int
        Rows of every part of a split but its last.

    Returns
    -------
    Preprocessed
        Parts of the `ratings` by split (Parquet: customer and video indexes, stars; in the order of
        their hash), `customers` and `videos` (Parquet: index, id, ratings; title) and the `report`
        (JSON), and how many of each there are.

    Raises
    ------
    ObjectsError
        If there are no such objects.
    RatingsError
        If they hold no usable ratings, or the filters or a split leave none.
    """
    objects = Objects()
    run = inputs["run"]
    folder = f"{settings.folder(run)}/preprocess"
    sources = objects.find(settings.ratings)
    malformed = MalformedRows()
    # First of all, as it fails at once where nothing could be written.
    objects.delete_folder(folder)
    with (
        tempfile.TemporaryDirectory(prefix="matinee-preprocess-") as scratch_name,
        duckdb.connect() as database,
    ):
        scratch = Path(scratch_name)
        database.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        database.execute("set temp_directory = $folder", {"folder": scratch_name})
        unreadable_times = load(database, objects, sources, settings, scratch, malformed)
        funnel = _reduce(database, settings)
        counts = _split(database, settings)
        report = {
            "run": run,
            "ratings": settings.ratings,
            "objects": sources,
            "rows": funnel[0]["ratings"] + malformed.total,
            "malformed": malformed.report(),
            "unreadable_times": unreadable_times,
            "funnel": funnel,
            "stars": _histogram(database),
            "splits": counts,
            "customers": funnel[-1]["customers"],
            "videos": funnel[-1]["videos"],
            "seed": settings.seed,
        }
        tables = {
            "customers": "select * from customers order by index",
            "videos": "select * from videos order by index",
        }
        for name, query in tables.items():
            path = scratch / "table.parquet"
            _write_parquet(database.sql(query).to_arrow_reader(_ROW_GROUP_ROWS), path)
            objects.upload(path, f"{folder}/{name}.parquet")
        ratings = {
            split: _write_parts(
                database, objects, split, f"{folder}/ratings/{split}", scratch, part_rows
            )
            for split in SPLITS
        }
        objects.write_json(report, f"{folder}/report.json")
    logger.info("malformed rows: %s", malformed.describe() or "none")
    for step in funnel:
        logger.info(
            "%(step)s: %(ratings)d ratings, %(customers)d customers, %(videos)d videos", step
        )
    return {
        "run": run,
        "ratings": ratings,
        "customers": f"{folder}/customers.parquet",
        "videos": f"{folder}/videos.parquet",
        "report": f"{folder}/report.json",
        "customer_count": funnel[-1]["customers"],
        "video_count": funnel[-1]["videos"],
        "rating_counts": counts,
    }


def thresholds(fractions: list[float]) -> list[str]:
    """Return where splits begin among 128-bit hashes, as hexadecimal text.

    Parameters
    ----------
    fractions : list of float
        Shares of all splits but the last, taken as the decimal numbers they are written as.

    Returns
    -------
    list of str
        For each of them, the first hash of the split after it.
    """
    total = Fraction(0)
    starts = []
    for fraction in fractions:
        total += Fraction(str(fraction))
        starts.append(f"{int(total * 2**128):032x}")
    return starts


def _reduce(database: duckdb.DuckDBPyConnection, settings: Settings) -> list[dict[str, Any]]:
    """Filter and deduplicate; return how many ratings, customers and videos each step left."""
    database.execute(_KEEP_CUSTOMERS, {"least": settings.min_ratings_per_customer})
    database.execute(_KEEP_VIDEOS, {"least": settings.min_ratings_per_video})
    database.execute(_DEDUPLICATE)
    funnel = [
        _count(database, "usable rows", "rated"),
        _count(database, f"customers with {settings.min_ratings_per_customer} or more", "active"),
        _count(database, f"videos with {settings.min_ratings_per_video} or more", "kept"),
        _count(database, "latest of each customer and video", "distinct_ratings"),
    ]
    if not funnel[-1]["ratings"]:
        customer_most, video_most = (
            _number(database, query) for query in (_MOST_BY_A_CUSTOMER, _MOST_OF_A_VIDEO)
        )
        raise RatingsError(
            f"of {funnel[0]['ratings']} usable ratings none is left: min_ratings_per_customer"
            f" {settings.min_ratings_per_customer} leaves {funnel[1]['ratings']}, with"
            f" min_ratings_per_video {settings.min_ratings_per_video} 0; the most active customer"
            f" has {customer_most} ratings, the most rated video {video_most}"
        )
    return funnel


def _split(database: duckdb.DuckDBPyConnection, settings: Settings) -> dict[str, int]:
    """Index and split; return the ratings of each split."""
    database.execute(_CUSTOMERS)
    database.execute(_VIDEOS)
    validate_from, test_from = thresholds([settings.train_fraction, settings.validate_fraction])
    database.execute(
        _SPLIT,
        {"seed": settings.seed, "validate_from": validate_from, "test_from": test_from},
    )
    rows = database.execute("select split, count(*) from split_ratings group by split").fetchall()
    counts = {split: dict(rows).get(split, 0) for split in SPLITS}
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        raise RatingsError(
            f"no rating falls into {' and '.join(empty)}: {sum(counts.values())} ratings are too"
            f" few for the fractions {settings.train_fraction}, {settings.validate_fraction} and"
            f" {settings.test_fraction}"
        )
    return counts


def _number(database: duckdb.DuckDBPyConnection, query: str) -> int:
    [(number,)] = database.execute(query).fetchall()
    return int(number)


def _count(database: duckdb.DuckDBPyConnection, step: str, table: str) -> dict[str, Any]:
    [(rows, customers, videos)] = database.execute(
        "select count(*), count(distinct customer), count(distinct video) from query_table($table)",
        {"table": table},
    ).fetchall()
    return {"step": step, "ratings": rows, "customers": customers, "videos": videos}


def _histogram(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = database.execute(
        "select stars, count(*) from distinct_ratings group by stars order by stars"
    ).fetchall()
    return {f"{stars:g}": count for stars, count in rows}


def _write_parts(
    database: duckdb.DuckDBPyConnection,
    objects: Objects,
    split: str,
    folder: str,
    scratch: Path,
    part_rows: int,
) -> list[Part]:
    """Write a split's ratings, cut after every `part_rows` of them."""
    query = database.sql(_ONE_SPLIT, params={"split": split})
    reader: pa.RecordBatchReader = query.to_arrow_reader(min(_ROW_GROUP_ROWS, part_rows))
    parts: list[Part] = []
    for number, batches in enumerate(_cut(reader, part_rows)):
        path = scratch / "part.parquet"
        _write_parquet(pa.RecordBatchReader.from_batches(reader.schema, batches), path)
        uri = f"{folder}/part-{number:05d}.parquet"
        objects.upload(path, uri)
        parts.append({"uri": uri, "rows": pa.parquet.read_metadata(path).num_rows})
    return parts


def _cut(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[list[pa.RecordBatch]]:
    """Deal batches out into lists of so many rows; the last may have fewer."""
    part: list[pa.RecordBatch] = []
    missing = rows
    for batch in batches:
        rest = batch
        while rest.num_rows >= missing:
            yield [*part, rest.slice(0, missing)]
            rest, part, missing = rest.slice(missing), [], rows
        if rest.num_rows:
            part.append(rest)
            missing -= rest.num_rows
    if part:
        yield part


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write rows; row groups have a fixed size, so equal rows are equal bytes."""
    with pa.parquet.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
