"""Ratings files, whatever their format, as batches of text: customer, video, stars, title, time.

Reads Amazon Customer Reviews TSV and any other TSV (no quoting, as Amazon writes it), CSV (RFC
4180), JSON Lines, each gzipped or not, and Parquet; the format is told from the bytes, the layout
from the column names or the user's mapping. Rows that cannot be read go to the malformed tally;
files that cannot are refused.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from matinee.workflow.errors import RatingsError
from matinee.workflow.malformed import NOT_JSON, WRONG_FIELD_COUNT, MalformedRows

FIELDS = ("customer", "video", "stars", "title", "time")
REQUIRED = FIELDS[:3]
SCHEMA = pa.schema([(field, pa.string()) for field in FIELDS])

# Amazon Customer Reviews (2015), and MovieLens as RecSys tools and as GroupLens's CSVs name it.
LAYOUTS: tuple[dict[str, str], ...] = (
    {
        "customer": "customer_id",
        "video": "product_id",
        "stars": "star_rating",
        "title": "product_title",
        "time": "review_date",
    },
    {"customer": "user_id", "video": "item_id", "stars": "rating", "time": "timestamp"},
    {"customer": "userId", "video": "movieId", "stars": "rating", "time": "timestamp"},
)

# A row longer than this is taken for a file without line ends.
BLOCK_BYTES = 16 * 2**20
_BATCH_ROWS = 65_536
_JSON_ROWS_TO_LEARN_COLUMNS = 100

_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}


def read(
    path: Path, source: str, mapping: Mapping[str, str] | None, malformed: MalformedRows
) -> Iterator[pa.RecordBatch]:
    """Read one ratings file.

    Parameters
    ----------
    path : Path
        The file.
    source : str
        The URI it came from, for messages.
    mapping : mapping or None
        Field ("customer", "video", "stars", "title", "time") to column name; None to tell it from
        the column names.
    malformed : MalformedRows
        Takes the rows that cannot be read.

    Yields
    ------
    pyarrow.RecordBatch
        Of `SCHEMA`; null where the file has no such column or value, U+FFFD for what isn't UTF-8.

    Raises
    ------
    RatingsError
        If the file is of an unknown format, broken, or lacks a column.
    """
    with _refusing_broken_files(source):
        with path.open("rb") as file:
            magic = file.read(8)
        if not magic:
            return
        for other, name in _OTHERS.items():
            if magic.startswith(other):
                raise RatingsError(f"{source} is {name}: gzip it, or give it as plain text")
        if magic.startswith(_PARQUET):
            yield from _parquet(path, source, mapping)
            return
        with _text(path, magic) as text:
            first = text.readline(BLOCK_BYTES)
        if b"\0" in first:
            raise RatingsError(f"{source} is neither text, gzipped text nor Parquet")
        if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
            yield from _json_lines(path, magic, source, mapping, malformed)
        elif first:
            yield from _delimited(path, magic, first, source, mapping, malformed)


def columns_of(
    found: Iterable[str], mapping: Mapping[str, str] | None, source: str
) -> dict[str, str]:
    """Decide which column holds which field.

    Parameters
    ----------
    found : iterable of str
        The file's column names.
    mapping : mapping or None
        The user's choice; all its columns must be there.
    source : str
        The file's URI, for messages.

    Returns
    -------
    dict
        Field to column name: at least the customer, video and stars.

    Raises
    ------
    RatingsError
        If a column is missing or named twice, or if several known layouts fit.
    """
    names = list(found)
    if mapping is not None:
        chosen = dict(mapping)
        missing = [column for column in chosen.values() if column not in names]
        if missing:
            raise RatingsError(
                f"{source} lacks the columns {missing}: the mapping needs {chosen},"
                f" the file has {names}"
            )
    else:
        fitting = [
            layout for layout in LAYOUTS if all(layout[field] in names for field in REQUIRED)
        ]
        if len(fitting) != 1:
            known = " or ".join(str([layout[field] for field in REQUIRED]) for layout in LAYOUTS)
            trouble = "fits several known layouts" if fitting else "has no layout known here"
            raise RatingsError(
                f"{source} {trouble}: it needs the columns {known}, or the parameter"
                f" columns to say which hold customer, video and stars; the file has {names}"
            )
        chosen = {field: column for field, column in fitting[0].items() if column in names}
    twice = [column for column in chosen.values() if names.count(column) > 1]
    if twice:
        raise RatingsError(f"{source} has the columns {twice} more than once")
    return chosen


@contextmanager
def _refusing_broken_files(source: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise RatingsError(f"cannot read {source}: {error}") from error


def _text(path: Path, magic: bytes) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if magic.startswith(_GZIP) else path.open("rb")


def _batch(
    fields: Mapping[str, str], columns: Mapping[str, pa.Array | list[str | None]], rows: int
) -> pa.RecordBatch:
    """Put the columns of a batch into `SCHEMA`'s order, nulls where there is none."""
    arrays = [
        columns[fields[field]] if field in fields else pa.nulls(rows, pa.string())
        for field in FIELDS
    ]
    return pa.RecordBatch.from_arrays(
        [
            array if isinstance(array, pa.Array) else pa.array(array, pa.string())
            for array in arrays
        ],
        schema=SCHEMA,
    )


def _parquet(
    path: Path, source: str, mapping: Mapping[str, str] | None
) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(path) as file:
        fields = columns_of(file.schema_arrow.names, mapping, source)
        wanted = list(fields.values())
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
            batch.validate(full=True)
            columns = {name: batch.column(name).cast(pa.string()) for name in wanted}
            yield _batch(fields, columns, batch.num_rows)


def _delimited(
    path: Path,
    magic: bytes,
    first: bytes,
    source: str,
    mapping: Mapping[str, str] | None,
    malformed: MalformedRows,
) -> Iterator[pa.RecordBatch]:
    try:
        header = first.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RatingsError(f"{source}: the first line is not UTF-8 text: {error}") from error
    tabs = "\t" in header
    names = header.split("\t") if tabs else next(csv.reader([header]), [])
    fields = columns_of(names, mapping, source)

    def skip(row: pa.csv.InvalidRow) -> str:
        malformed.add(WRONG_FIELD_COUNT, source, row.text)
        return "skip"

    # Names of our own: the file may have any, and some twice.
    positions = [str(position) for position in range(len(names))]
    wanted = {name: positions[names.index(name)] for name in fields.values()}
    with ExitStack() as stack:
        text = stack.enter_context(_text(path, magic))
        text.readline()
        rest = _ReadableUtf8(text)
        if not rest.begin():
            return
        reader = stack.enter_context(
            pa.csv.open_csv(
                pa.PythonFile(rest, "r"),
                pa.csv.ReadOptions(block_size=BLOCK_BYTES, column_names=positions),
                pa.csv.ParseOptions(
                    delimiter="\t" if tabs else ",",
                    quote_char=False if tabs else '"',
                    double_quote=not tabs,
                    newlines_in_values=not tabs,
                    invalid_row_handler=skip,
                ),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(positions, pa.string()),
                    include_columns=list(wanted.values()),
                    strings_can_be_null=False,
                ),
            )
        )
        for batch in reader:
            columns = {name: batch.column(position) for name, position in wanted.items()}
            yield _batch(fields, columns, batch.num_rows)


class _ReadableUtf8(io.RawIOBase):
    """A stream with U+FFFD for what is not UTF-8, so that one bad byte does not cost the file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def begin(self) -> bool:
        """Go to the first row, past blank lines; tell whether there is one."""
        while not self._rest.lstrip(b"\r\n"):
            block = self._stream.read(BLOCK_BYTES)
            self._rest = self._decoder.decode(block, final=not block).encode()
            if not block and not self._rest:
                return False
            if not block:
                break
        # pyarrow drops one byte order mark at the beginning: this one, not the row's own.
        self._rest = codecs.BOM_UTF8 + self._rest
        return True

    def read(self, size: int = -1) -> bytes:
        # Less would end a block amid a row; more, as replacing lengthens, was not asked for.
        block = b"first"
        while block and len(self._rest) < size:
            block = self._stream.read(size)
            self._rest += self._decoder.decode(block, final=not block).encode()
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _json_lines(
    path: Path,
    magic: bytes,
    source: str,
    mapping: Mapping[str, str] | None,
    malformed: MalformedRows,
) -> Iterator[pa.RecordBatch]:
    # A column may be left out of a row, so the first row alone does not tell the columns.
    names: dict[str, None] = {}
    with _text(path, magic) as text:
        for line in islice(text, _JSON_ROWS_TO_LEARN_COLUMNS):
            names.update(dict.fromkeys(_json_object(line) or ()))
    fields = columns_of(names, mapping, source)
    with _text(path, magic) as text:
        rows: list[dict[str, Any]] = []
        for line in text:
            row = _json_object(line)
            if row is not None:
                rows.append(row)
            elif line.strip():
                malformed.add(NOT_JSON, source, line.decode(errors="replace").rstrip())
            if len(rows) == _BATCH_ROWS:
                yield _json_batch(fields, rows)
                rows = []
        if rows:
            yield _json_batch(fields, rows)


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _json_batch(fields: Mapping[str, str], rows: list[dict[str, Any]]) -> pa.RecordBatch:
    columns = {name: [_json_text(row.get(name)) for row in rows] for name in fields.values()}
    return _batch(fields, columns, len(rows))


def _json_text(value: Any) -> str | None:
    if value is None:
        return None
    # JSON can spell half a surrogate pair, which no UTF-8 text can hold.
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()
