"""Every format and layout of ratings, and every way in which a file or a row can be broken."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from matinee.workflow import streams
from matinee.workflow.errors import RatingsError
from matinee.workflow.malformed import NOT_JSON, WRONG_FIELD_COUNT, MalformedRows
from matinee.workflow.objects import Objects
from matinee.workflow.ratings import Wanted, read
from matinee.workflow.sources import Sources

# None of these tests reaches S3.
SOURCES = Sources(Objects(client=object()))
AMAZON = (
    "marketplace\tcustomer_id\treview_id\tproduct_id\tproduct_parent\tproduct_title"
    "\tproduct_category\tstar_rating\thelpful_votes\ttotal_votes\tvine\tverified_purchase"
    "\treview_headline\treview_body\treview_date"
)
ROWS = [
    {"customer": "c1", "video": "v1", "stars": "5", "title": None, "time": None},
    {"customer": "c2", "video": "v2", "stars": "4", "title": None, "time": None},
]


def amazon(headline: str = "Good", customer: str = "c1") -> str:
    return f"US\t{customer}\tR1\tv1\t9\tAlien\tVideo\t5\t0\t0\tN\tY\t{headline}\tBody\t2015-08-31"


def rows_of(
    path: Path,
    content: bytes | str,
    mapping: Mapping[str, str] | None = None,
    malformed: MalformedRows | None = None,
    side_columns: Sequence[str] = (),
) -> list[dict[str, str | None]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    wanted = Wanted(mapping, side_columns)
    batches = list(read(SOURCES, str(path), wanted, path.parent, malformed or MalformedRows()))
    rows: list[dict[str, str | None]] = pa.Table.from_batches(batches, wanted.schema).to_pylist()
    return rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object"


def zstandard(text: bytes) -> bytes:
    compressed: bytes = pa.compress(text, "zstd", asbytes=True)
    return compressed


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, zstandard], ids=["plain", "gzip", "zstandard"]
)
@pytest.mark.parametrize(
    "text",
    [
        "user_id,item_id,rating\nc1,v1,5\nc2,v2,4\n",
        "user_id\titem_id\trating\nc1\tv1\t5\nc2\tv2\t4",
        "item_id,extra,rating,user_id\r\nv1,?,5,c1\r\nv2,?,4,c2\r\n",
        "\ufeffuserId,movieId,rating\nc1,v1,5\n\nc2,v2,4\n\n",
        '"user_id","item_id","rating"\n"c1","v1","5"\n"c2","v2","4"\n',
        '{"user_id": "c1", "item_id": "v1", "rating": 5}\n'
        '{"rating": "4", "item_id": "v2", "user_id": "c2"}\n',
    ],
    ids=["csv", "tsv", "crlf", "byte order mark and blank lines", "quoted", "json lines"],
)
def test_text_is_read_whatever_its_format(path: Path, text: str, compress: type[bytes]) -> None:
    assert rows_of(path, compress(text.encode())) == ROWS


def test_amazon_reviews_bring_title_and_time(path: Path) -> None:
    assert rows_of(path, f"{AMAZON}\n{amazon()}\n") == [
        {"customer": "c1", "video": "v1", "stars": "5", "title": "Alien", "time": "2015-08-31"}
    ]


def test_amazon_reviews_of_2023_are_known(path: Path) -> None:
    line = (
        '{"rating": 5.0, "title": "My review", "text": "Good", "images": [], "asin": "V1",'
        ' "parent_asin": "V0", "user_id": "C1", "timestamp": 1588615855070, "helpful_vote": 0,'
        ' "verified_purchase": true}'
    )
    assert rows_of(path, line, side_columns=["asin", "verified_purchase"]) == [
        {
            "customer": "C1",
            "video": "V0",
            "stars": "5.0",
            "title": None,
            "time": "1588615855070",
            "side_1": "V1",
            "side_2": "true",
        }
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_tsv_may_end_anyhow(path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 64)
    lines = ["user_id\titem_id\trating", *(f"c{n}\tv\t5" for n in range(99)), "", "d\tv\t5"]
    if end == "\r":
        lines[0] += "\n"  # a header of its own
    found = [row["customer"] for row in rows_of(path, end.join(lines))]
    assert found == [*(f"c{n}" for n in range(99)), "d"]


def test_tsv_has_no_quoting(path: Path) -> None:
    malformed = MalformedRows()
    lines = [AMAZON, amazon('"unbalanced'), amazon('in "the" middle'), amazon('closing"')]
    assert len(rows_of(path, "\n".join(lines), malformed=malformed)) == 3
    assert malformed.total == 0


def test_csv_fields_may_hold_commas_quotes_and_line_ends(path: Path) -> None:
    text = 'user_id,item_id,rating,title\n"c,1","v""1\n",5,"a\r\nb"\n'
    mapping = {"customer": "user_id", "video": "item_id", "stars": "rating", "title": "title"}
    assert rows_of(path, text, mapping) == [
        {"customer": "c,1", "video": 'v"1\n', "stars": "5", "title": "a\r\nb", "time": None}
    ]


def test_parquet_is_read_with_its_types_as_text(path: Path) -> None:
    table = pa.table(
        {"userId": [1, None], "movieId": pa.array(["v"] * 2), "rating": [4.5, 3.0], "x": [[1], []]}
    )
    pq.write_table(table, path)
    assert rows_of(path, path.read_bytes()) == [
        {"customer": "1", "video": "v", "stars": "4.5", "title": None, "time": None},
        {"customer": None, "video": "v", "stars": "3", "title": None, "time": None},
    ]


def test_a_mapping_goes_before_known_layouts(path: Path) -> None:
    text = "user_id,item_id,rating,who\nc1,v1,5,anna\n"
    mapping = {"customer": "who", "video": "item_id", "stars": "rating"}
    assert rows_of(path, text, mapping)[0]["customer"] == "anna"


def test_json_values_become_text_or_null(path: Path) -> None:
    text = '{"user_id": 7, "item_id": null, "rating": 4.5}\n{"rating": {"x": 1}, "user_id": true}\n'
    assert [(r["customer"], r["video"], r["stars"]) for r in rows_of(path, text)] == [
        ("7", None, "4.5"),
        ("true", None, '{"x": 1}'),
    ]


def test_half_a_surrogate_pair_does_no_harm(path: Path) -> None:
    assert rows_of(path, r'{"user_id": "\ud83d", "item_id": "v", "rating": 1}')[0] == {
        "customer": "?",
        "video": "v",
        "stars": "1",
        "title": None,
        "time": None,
    }


@pytest.mark.parametrize(
    ("content", "good", "counts"),
    [
        ("user_id,item_id,rating\nc,v\nc,v,5\nc,v,5,6\nc,v,5,6,7\n", 1, {WRONG_FIELD_COUNT: 3}),
        (f"{AMAZON}\n{amazon()}\n{amazon()}\tmore\nUS\tc\n", 1, {WRONG_FIELD_COUNT: 2}),
        (
            f"{AMAZON}\n{amazon(headline='a' + chr(13) + 'b')}\n{amazon()}",
            1,
            {WRONG_FIELD_COUNT: 2},
        ),
        (b"user_id,item_id,rating,x\nc,v,5,\xff\nc,v,5,x\n", 2, {}),
        (b"user_id,item_id,rating\nc\xff,v\nc,v,5\n", 1, {WRONG_FIELD_COUNT: 1}),
        (b"user_id,item_id,rating\n\n\xc3", 0, {WRONG_FIELD_COUNT: 1}),
        (
            b'{"user_id":1,"item_id":2,"rating":3}\n{"user_id":\n[1]\n7\n \n',
            1,
            {NOT_JSON: 3},
        ),
        (b'{"user_id":1,"item_id":2,"rating":3}\n' + b"[" * 100_000 + b"\n", 1, {NOT_JSON: 1}),
    ],
    ids=[
        "csv widths",
        "tsv widths",
        "a carriage return amid a row",
        "not utf-8 where nobody looks",
        "short and not utf-8",
        "half a character",
        "json",
        "json too deep",
    ],
)
def test_rows_that_cannot_be_read_are_counted(
    path: Path, content: bytes | str, good: int, counts: dict[str, int]
) -> None:
    malformed = MalformedRows()
    assert len(rows_of(path, content, malformed=malformed)) == good
    assert malformed.counts == counts


@pytest.mark.parametrize(
    "content",
    [
        b"user_id,item_id,rating\nc\xff,v\xc3,5\nc,\xc3\xa9,4\n",
        b'{"user_id":"c\xff","item_id":"v\xc3","rating":5}\n'
        b'{"user_id":"c","item_id":"\xc3\xa9","rating":4}',
    ],
    ids=["csv", "json lines"],
)
def test_what_is_not_utf8_can_still_be_read(path: Path, content: bytes) -> None:
    assert [(row["customer"], row["video"]) for row in rows_of(path, content)] == [
        ("c\ufffd", "v\ufffd"),
        ("c", "é"),
    ]


@pytest.mark.parametrize("block", range(90, 130))
def test_blocks_end_anywhere(path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", block)
    text = b"user_id,item_id,rating\n" + "ééé€,ééf,5\n".encode() * 100 + b"\xff,v,5\n" * 100
    found = [(row["customer"], row["video"]) for row in rows_of(path, text)]
    assert found == [("ééé€", "ééf")] * 100 + [("\ufffd", "v")] * 100


def test_rows_are_counted_exactly_over_many_blocks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 4096)
    malformed = MalformedRows()
    line = amazon("x" * 1000)
    text = "\n".join([AMAZON, *([line, f"{line}\t", line.rpartition("\t")[0]] * 500)])
    assert len(rows_of(path, text, malformed=malformed)) == 500
    report = malformed.report()
    assert report["total"] == 1000
    assert report["causes"] == {WRONG_FIELD_COUNT: 1000}
    assert [len(sample["row"]) for sample in report["samples"][WRONG_FIELD_COUNT]] == [200] * 3


FIELD = st.text(alphabet='a"\\,; é€\ufeff{', max_size=4)
LINE = st.lists(FIELD, max_size=5).map("\t".join)


@given(lines=st.lists(LINE, max_size=30), block=st.integers(100, 200))
@example(lines=["\ufeff"], block=100)
@example(lines=["\ufeffa\tb\tc"], block=100)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tsv_is_read_as_its_plain_definition_says(
    path: Path, lines: list[str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", block)
    malformed = MalformedRows()
    text = "\n".join(["user_id\titem_id\trating", *lines])
    rows = [line.split("\t") for line in lines if line]
    assert [
        [row["customer"], row["video"], row["stars"]]
        for row in rows_of(path, text, malformed=malformed)
    ] == [row for row in rows if len(row) == 3]
    assert malformed.total == sum(len(row) != 3 for row in rows)


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0), b"user_id,item_id,rating\n"])
def test_an_empty_file_has_no_rows(path: Path, content: bytes) -> None:
    assert rows_of(path, content) == []


@pytest.mark.parametrize(
    ("content", "mapping", "message"),
    [
        ("user,item,rating\n", None, "['customer_id', 'product_id', 'star_rating'] or"),
        ("user,item,rating\n", None, "the file has ['user', 'item', 'rating']"),
        ("c1\n", None, "the file has ['c1']"),
        ("user_id,item_id,rating,userId,movieId\n", None, "fits several known layouts"),
        ("user_id,item_id,rating,user_id\n", None, "has the columns ['user_id'] more than once"),
        (
            "user_id,item_id,rating\n",
            {"customer": "who", "video": "item_id", "stars": "rating"},
            "lacks the columns ['who']: the mapping needs {'customer': 'who', 'video': 'item_id',"
            " 'stars': 'rating'}, the file has ['user_id', 'item_id', 'rating']",
        ),
        ('{"user": 1}\n{"item": 2}\n', None, "the file has ['user', 'item']"),
        (f"{AMAZON}\n".replace("customer_id", "customer"), None, "the file has ['marketplace', "),
        (bz2.compress(b"user_id"), None, "is bzip2: give it as UTF-8 text"),
        ("user_id,item_id,rating".encode("utf-16"), None, "is UTF-16 text: give it as UTF-8"),
        (b"PK\x03\x04rest", None, "is a zip archive"),
        (b"\x00\x01\x02\x03", None, "is neither text, gzipped text nor Parquet"),
        (b"user\xff,item\n", None, "the first line is not UTF-8 text"),
        (b"PAR1 not really", None, "cannot read "),
        (
            gzip.compress(b"user_id,item_id,rating\nc,v,5\n" * 999, mtime=0)[:-9],
            None,
            "cannot read",
        ),
        (b"\x1f\x8b\x08 not really", None, "cannot read"),
        ("user_id,item_id,rating\nc,v,5" + "5" * 2**25 + "\n", None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    path: Path, content: bytes | str, mapping: Mapping[str, str] | None, message: str
) -> None:
    with pytest.raises(RatingsError) as refusal:
        rows_of(path, content, mapping)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_side_column_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(RatingsError) as refusal:
        rows_of(path, "user_id,item_id,rating,kind\nc,v,5,x\n", side_columns=["kind", "votes"])
    assert str(refusal.value) == (
        f"{path} lacks the side columns ['votes']: side_columns are ['kind', 'votes'], the file has"
        " ['user_id', 'item_id', 'rating', 'kind']"
    )
