"""One definition, three engines: the same nasty ratings give the same objects on all of them."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import matinee
from matinee.workflow.errors import RatingsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import SPLITS, Preprocessed
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.environments import interpreter_of
from tests.workflow.conftest import as_csv, grid
from tests.workflow.local_athena import Catalog, local_athena

REQUIREMENTS = Path(__file__).with_name("requirements-spark.txt")
PROGRAM = Path(__file__).with_name("in_spark.py")
# Where matinee and these tests are.
PATHS = (Path(matinee.__file__).parents[1], Path(__file__).parents[2])
PART_ROWS = 40
HEADER = (
    "marketplace\tcustomer_id\treview_id\tproduct_id\tproduct_parent\tproduct_title"
    "\tproduct_category\tstar_rating\thelpful_votes\ttotal_votes\tvine\tverified_purchase"
    "\treview_headline\treview_body\treview_date"
)

Put = Callable[[str, bytes | str], str]


def review(
    customer: str,
    video: str,
    stars: str,
    time: str = "2015-08-31",
    title: str = "Alien",
    headline: str = "Good",
) -> str:
    return (
        f"US\t{customer}\tR1\t{video}\t9\t{title}\tVideo\t{stars}\t0\t0\tN\tY\t{headline}"
        f"\tBody\t{time}"
    )


# Every trap that made engines differ: quotes, backslashes, widths, the header again, numbers that
# only some engines cast, dates that only some read, ties, ids of the same letters in another order.
NASTY = [
    *(review(*rating) for rating in grid(14, 11)),
    HEADER,
    review("c0", "v0", "1", headline='"unbalanced'),
    review("c0", "v1", "2", time="2016-01-01", headline="back\\slash \\t \\"),
    review("c0", "v2", "4", time="2015-08-31T23:00:00-02:00"),
    review("c0", "v2", "3", time="2015-09-01 00:59:59"),
    review("c0", "v3", "1e0", time="1441065600"),
    review("c0", "v4", "5", time="2015-02-30"),
    review("c0", "v5", "5", time="someday"),
    review("c0", "v6", "+4.50", time=" 2015-12-31 "),
    *(review("c1", "v1", stars) for stars in ("5d", "1_0", "nan", "Infinity", "1e999", "0x1", "")),
    *(review("c1", "v1", stars) for stars in ("0", "5.01", "-1", "6")),
    review("", "v1", "3"),
    review("c1", "  ", "3"),
    review("c\0", "v1", "3"),
    review(" c2 ", "v3", "2", time="2016-01-01"),
    review("123.0", "v1", "3"),
    review("123", "v2", "3"),
    review("12", "3.0", "4"),
    *(review(customer, "v1", "3") for customer in ("é", "Z", "z", "\U0001f3ac", "ﬀ", "c 1")),
    review("c3", "v1", "3", title="It's \\ Ünïcode"),
    review("c1", "v1", "3") + "\tmore",
    "short\tline",
    "",
    " ",
    review("carriage", "v1", "3") + "\r",
]
# As another encoding would have it: in a title it is told, in an id it is malformed.
NOT_UTF8 = (
    review("c4", "v1", "3", title="Am?lie").encode().replace(b"?", b"\xe9")
    + b"\n"
    + review("c?", "v1", "3").encode().replace(b"?", b"\xff")
    + b"\n"
)


@pytest.fixture
def ratings(put: Put) -> str:
    """A folder of two objects: one gzipped, one plain with lines of its own header."""
    half = len(NASTY) // 2
    first = "\n".join([HEADER, *NASTY[:half]]).encode() + b"\n" + NOT_UTF8
    second = "\n".join([HEADER, *NASTY[half:]]).encode()
    put("ratings/first.tsv.gz", gzip.compress(first, mtime=0))
    return put("ratings/second.tsv", second).rpartition("/")[0]


@pytest.fixture
def mixed(ratings: str, put: Put, tmp_path: Path) -> str:
    """Put objects of the other formats beside them."""
    put(
        "ratings/third.csv",
        "customer_id,product_id,star_rating,product_title,review_date,vine\r\n"
        'c0,v9,5,"A ""quoted"",\r\ntitle",2016-01-01,N\r\n'
        "\r\n"
        "c1,v9,3\r\n"
        "c1,v9,3,x,2016-01-01,N,more\r\n"
        ",v9,3,x,,N\r\n"
        "c2,v9,1,\\,2016-01-01,\r\n",
    )
    lines = [
        '{"customer_id": "c5", "product_id": "v9", "star_rating": 4.5, "review_date": 1451606400,'
        ' "product_title": "Film", "vine": "\\u00e9"}',
        '{"product_id": "v8", "customer_id": 77, "star_rating": "3", "review_date": null}',
        '{"customer_id": null, "product_id": "v9", "star_rating": 3, "vine": true}',
        "[1]",
        "7",
        "nonsense",
        '{"customer_id": "c5", ',
        "",
    ]
    text = "\n".join(lines).encode()
    put("ratings/fourth.json.zst", pa.compress(text, "zstd", asbytes=True))
    columns = {
        "customer_id": ["c6", "c7", None],
        "product_id": [3, 3, 3],
        "star_rating": [4.0, 2.5, 1.0],
        "review_date": [datetime.date(2016, 1, 1)] * 3,
        "vine": ["N", None, "Y"],
    }
    pq.write_table(pa.table(columns), tmp_path / "fifth")
    put("ratings/fifth.parquet", (tmp_path / "fifth").read_bytes())
    put("ratings/sixth.tsv", "")
    return ratings


def parameters(ratings: str, bucket: str, engine: str) -> dict[str, Any]:
    return {
        "ratings": ratings,
        "output": f"s3://{bucket}/{engine}",
        "engine": engine,
        "min_ratings_per_customer": 2,
        "min_ratings_per_video": 3,
        "max_malformed_fraction": 0.5,
        "until": "2016-01-01T00:00:01Z",
        "side_columns": ["review_date", "vine"],
        "features": ["history", "raters", "month", "day", "rating:vine", "video:review_date"],
    }


def on_duckdb(values: dict[str, Any]) -> Preprocessed:
    settings = Settings.from_parameters({**values, "engine": "duckdb"})
    return preprocess(settings, {"run": "matinee-1"}, part_rows=PART_ROWS)


def contents(outputs: Preprocessed) -> dict[str, bytes]:
    """Return every Parquet object's bytes by its name below the step's folder."""
    parts = [part["uri"] for split in SPLITS for part in outputs["ratings"][split]]
    tables = Objects().list(outputs["features"])
    uris = [*parts, outputs["customers"], outputs["videos"], *tables]
    return {uri.partition("/preprocess/")[2]: Objects().read(uri) for uri in uris}


def told(outputs: Preprocessed) -> dict[str, Any]:
    report: dict[str, Any] = Objects().read_json(outputs["report"])
    del report["engine"]
    # Which few are shown is the readers' to choose.
    samples = report["malformed"].pop("samples")
    assert samples.keys() == report["malformed"]["causes"].keys()
    return report


def assert_same(outputs: Preprocessed, values: dict[str, Any], bucket: str) -> None:
    """Compare with DuckDB: reports, Parquet and shards, to the byte; and nothing else is left."""
    expected = on_duckdb({**values, "output": f"s3://{bucket}/duckdb"})
    assert told(outputs) == told(expected)
    found, wanted = contents(outputs), contents(expected)
    assert found.keys() == wanted.keys()
    assert len(outputs["ratings"]["train"]) > 1
    assert [name for name, body in wanted.items() if found[name] != body] == []
    kept = {uri.partition("/preprocess/")[2] for uri in Objects().list(values["output"])}
    assert kept == {*found, "report.json"}
    shards = []
    for output, preprocessed in ((values["output"], outputs), (f"s3://{bucket}/duckdb", expected)):
        settings = Settings.from_parameters({**values, "engine": "duckdb", "output": output})
        prepared = prepare(settings, dict(preprocessed))
        folders = (prepared["train"], prepared["validate"], prepared["test"])
        uris = [uri for folder in folders for uri in Objects().list(folder)]
        shards.append([(uri.partition("/prepare/")[2], Objects().read(uri)) for uri in uris])
    assert shards[0] == shards[1]


def test_duckdb_counts_what_is_nasty(ratings: str, bucket: str) -> None:
    report = told(on_duckdb(parameters(ratings, bucket, "duckdb")))
    assert report["rows"] == 14 * 11 + 40
    assert report["malformed"]["causes"] == {
        "blank customer": 1,
        "blank video": 1,
        "ids that are not UTF-8": 1,
        "ids with a NUL byte": 1,
        "stars not a number": 8,
        "stars outside 1 to 5": 4,
        "wrong number of fields": 3,
    }
    assert (report["mended_ids"], report["unreadable_times"]) == (3, 2)
    assert report["titles_not_utf8"] == 1


def test_duckdb_counts_what_is_nasty_in_other_formats(mixed: str, bucket: str) -> None:
    report = told(on_duckdb(parameters(mixed, bucket, "duckdb")))
    assert report["rows"] == 14 * 11 + 40 + 5 + 7 + 3
    causes = report["malformed"]["causes"]
    assert causes["not a JSON object"] == 4
    assert causes["wrong number of fields"] == 3 + 2
    assert causes["blank customer"] == 1 + 1 + 1 + 1


@pytest.fixture
def athena(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    with local_athena() as (url, catalog):
        monkeypatch.setenv("AWS_ENDPOINT_URL_ATHENA", url)
        yield catalog


def test_athenas_sql_gives_what_duckdb_gives(ratings: str, bucket: str, athena: Catalog) -> None:
    values = parameters(ratings, bucket, "athena")
    outputs = preprocess(
        Settings.from_parameters(values), {"run": "matinee-1"}, part_rows=PART_ROWS
    )
    assert_same(outputs, values, bucket)
    assert all("matinee_1_" in statement for statement in athena.statements)


@pytest.mark.usefixtures("athena")
def test_athena_reads_one_object_beside_others(put: Put, bucket: str) -> None:
    put("ratings/other.tsv", "\n".join([HEADER, review("other", "other", "3")]))
    ratings = put("ratings/r.tsv", "\n".join([HEADER, *(review(*row) for row in grid(12, 12))]))
    values = parameters(ratings, bucket, "athena")
    outputs = preprocess(
        Settings.from_parameters(values), {"run": "matinee-1"}, part_rows=PART_ROWS
    )
    assert_same(outputs, values, bucket)


@pytest.mark.usefixtures("athena")
def test_athena_says_what_it_does_not_read(put: Put, bucket: str) -> None:
    values = parameters(put("ratings/r.csv", as_csv(grid(4, 4))), bucket, "athena")
    with pytest.raises(RatingsError, match=r"r.csv is csv: the engine athena reads TSV alone"):
        preprocess(Settings.from_parameters(values), {"run": "m"})
    text = gzip.compress(HEADER.encode(), mtime=0)
    values = parameters(put("ratings/r.tsv", text), bucket, "athena")
    with pytest.raises(RatingsError, match=r"it must end with .gz"):
        preprocess(Settings.from_parameters(values), {"run": "m"})


@pytest.mark.usefixtures("athena")
def test_athena_refuses_what_is_broken_and_leaves_nothing(put: Put, bucket: str) -> None:
    rows = "\n".join([HEADER, *(review(*row) for row in grid(40, 40))])
    broken = gzip.compress(rows.encode(), mtime=0)[:-20]
    values = parameters(put("ratings/r.tsv.gz", broken), bucket, "athena")
    with pytest.raises(RatingsError, match="Athena cannot read"):
        preprocess(Settings.from_parameters(values), {"run": "m"})
    assert Objects().list(values["output"]) == []


@pytest.fixture(scope="session")
def spark_python() -> Path:
    """The interpreter that can import pyspark."""
    return interpreter_of("MATINEE_SPARK", "Spark", REQUIREMENTS)


def test_spark_gives_what_duckdb_gives(mixed: str, bucket: str, spark_python: Path) -> None:
    values = parameters(mixed, bucket, "spark")
    outputs = on_spark(spark_python, values)
    assert_same(outputs, values, bucket)


def on_spark(python: Path, values: dict[str, Any]) -> Preprocessed:
    done = subprocess.run(  # noqa: S603 - our own program
        [python, PROGRAM, json.dumps(values), "matinee-1", str(PART_ROWS)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, PATHS))},
    )
    assert done.returncode == 0, done.stderr
    outputs: Preprocessed = json.loads(done.stdout.splitlines()[-1])
    return outputs
