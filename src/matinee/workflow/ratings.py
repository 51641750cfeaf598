"""Ratings files, whatever their format, as batches of text: customer, video, stars, title, time.

Reads Amazon Customer Reviews TSV and any other TSV (no quoting, as Amazon writes it), CSV (RFC
4180), JSON Lines, each plain, gzipped or zstandard, and Parquet; the format is told from the bytes,
the columns by `layouts`. Rows that cannot be read go to the malformed tally; files that cannot are
refused.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from matinee.workflow import streams
from matinee.workflow.definition import FIELDS, side_names
from matinee.workflow.errors import RatingsError
from matinee.workflow.layouts import columns_of
from matinee.workflow.malformed import NOT_JSON, WRONG_FIELD_COUNT, MalformedRows
from matinee.workflow.sources import Sources
from matinee.workflow.tsv import read_tsv

Format = Literal["tsv", "csv", "json", "parquet", "empty"]

_BATCH_ROWS = 65_536
_JSON_ROWS_TO_LEARN_COLUMNS = 100

_PARQUET = b"PAR1"
_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which columns a run wants: the user's mapping, or None for a known layout; side columns."""

    mapping: Mapping[str, str] | None = None
    side_columns: Sequence[str] = ()

    @property
    def schema(self) -> pa.Schema:
        """What batches look like: text alone."""
        names = [*FIELDS, *side_names(len(self.side_columns))]
        return pa.schema([(name, pa.string()) for name in names])

    def of(self, found: Iterable[str], source: str) -> dict[str, str]:
        """Return field to column name, of the columns that a file has; see `columns_of`."""
        return columns_of(found, self.mapping, source, self.side_columns)


@dataclass(frozen=True, slots=True)
class Head:
    """What the beginning of a file tells.

    Attributes
    ----------
    format
        "empty" if there is no row, nor a header.
    names
        The columns, where text tells them: the header does, or the first JSON objects.
    lines
        The lines read so far: none of Parquet, the header, or the first of JSON Lines.
    compression
        What the text was compressed by, as file names say it: "", ".gz" or ".zst".
    """

    format: Format
    names: tuple[str, ...] = ()
    lines: tuple[bytes, ...] = ()
    compression: str = ""


def read(
    sources: Sources, source: str, wanted: Wanted, scratch: Path, malformed: MalformedRows
) -> Iterator[pa.RecordBatch]:
    """Read one ratings file.

    Parameters
    ----------
    sources : Sources
    source : str
        The URI or absolute path.
    wanted : Wanted
    scratch : Path
        Folder for a copy of a Parquet object.
    malformed : MalformedRows
        Takes the rows that cannot be read.

    Yields
    ------
    pyarrow.RecordBatch
        Of `wanted.schema`; null where the file has no such column or value, U+FFFD for what isn't
        UTF-8.

    Raises
    ------
    ObjectsError, RatingsError
        If the file cannot be had, is of an unknown format, broken, or lacks a column.
    """
    with ExitStack() as stack, _refusing_broken_files(source):
        raw = stack.enter_context(_buffered(sources.open(source)))
        text, head = _begin(raw, source)
        if head.format == "parquet":
            path = stack.enter_context(sources.as_file(source, scratch))
            yield from _parquet(path, source, wanted)
        elif head.format == "json":
            yield from _json_lines(text, head, source, wanted, malformed)
        elif head.format == "tsv":
            yield from _tsv(text, head, source, wanted, malformed)
        elif head.format == "csv":
            yield from _csv(text, head, source, wanted, malformed)


def head_of(sources: Sources, source: str) -> Head:
    """Look at the beginning of a file.

    Raises
    ------
    ObjectsError, RatingsError
        If it cannot be had, or is of an unknown format or broken.
    """
    with _refusing_broken_files(source), _buffered(sources.open(source)) as raw:
        return _begin(raw, source)[1]


@contextmanager
def _refusing_broken_files(source: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, *streams.BROKEN) as error:
        raise RatingsError(f"cannot read {source}: {error}") from error


def _buffered(stream: BinaryIO) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[arg-type]


def _begin(raw: io.BufferedReader, source: str) -> tuple[BinaryIO, Head]:
    """Return the decompressed text after its first line, and what the beginning tells."""
    magic = raw.peek(8)[:8]
    for other, name in _OTHERS.items():
        if magic.startswith(other):
            raise RatingsError(f"{source} is {name}: give it as UTF-8 text, gzipped or not")
    if magic.startswith(_PARQUET):
        return raw, Head("parquet")
    text = streams.decompressed(raw, magic)
    compression = streams.suffix(magic)
    first = text.readline(streams.BLOCK_BYTES)
    if b"\0" in first:
        raise RatingsError(f"{source} is neither text, gzipped text nor Parquet")
    if first.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
        lines = (first, *islice(text, _JSON_ROWS_TO_LEARN_COLUMNS - 1))
        # A column may be left out of a row, so the first row alone does not tell the columns.
        names = dict.fromkeys(chain.from_iterable(_json_object(line) or () for line in lines))
        return text, Head("json", tuple(names), lines, compression)
    if not first:
        return text, Head("empty")
    try:
        header = first.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RatingsError(f"{source}: the first line is not UTF-8 text: {error}") from error
    if "\t" in header:
        return text, Head("tsv", tuple(header.split("\t")), (first,), compression)
    return text, Head("csv", tuple(next(csv.reader([header]), [])), (first,), compression)


def _batch(
    fields: Mapping[str, str],
    columns: Mapping[str, pa.Array | list[str | None]],
    rows: int,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Put the columns of a batch into the schema's order, nulls where there is none."""
    arrays = [
        columns[fields[field]] if field in fields else pa.nulls(rows, pa.string())
        for field in schema.names
    ]
    return pa.RecordBatch.from_arrays(
        [
            array if isinstance(array, pa.Array) else pa.array(array, pa.string())
            for array in arrays
        ],
        schema=schema,
    )


def _parquet(path: Path, source: str, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    with pa.parquet.ParquetFile(path) as file:
        fields = wanted.of(file.schema_arrow.names, source)
        names = list(fields.values())
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dict.fromkeys(names))):
            batch.validate(full=True)
            columns = {name: batch.column(name).cast(pa.string()) for name in names}
            yield _batch(fields, columns, batch.num_rows, wanted.schema)


def _tsv(
    text: BinaryIO, head: Head, source: str, wanted: Wanted, malformed: MalformedRows
) -> Iterator[pa.RecordBatch]:
    fields = wanted.of(head.names, source)
    places = {name: head.names.index(name) for name in fields.values()}
    for table, wrong in read_tsv(text, len(head.names), places):
        for row in wrong:
            malformed.add(WRONG_FIELD_COUNT, source, row)
        for batch in table.to_batches():
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            yield _batch(fields, columns, batch.num_rows, wanted.schema)


def _csv(
    text: BinaryIO, head: Head, source: str, wanted: Wanted, malformed: MalformedRows
) -> Iterator[pa.RecordBatch]:
    fields = wanted.of(head.names, source)

    def skip(row: pa.csv.InvalidRow) -> str:
        malformed.add(WRONG_FIELD_COUNT, source, row.text)
        return "skip"

    first_row = _first_row(text)
    if not first_row:
        return
    # Names of our own: the file may have any, and some twice.
    positions = [str(position) for position in range(len(head.names))]
    places = {name: positions[head.names.index(name)] for name in fields.values()}
    schema = wanted.schema
    with ExitStack() as stack:
        ahead = stack.enter_context(streams.Ahead(text))
        # pyarrow drops one byte order mark at the beginning: this one, not the row's own.
        rest = streams.Text(chain((b"\xef\xbb\xbf" + first_row,), ahead))
        reader = stack.enter_context(
            pa.csv.open_csv(
                pa.PythonFile(rest, "r"),
                pa.csv.ReadOptions(block_size=streams.BLOCK_BYTES, column_names=positions),
                pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
                pa.csv.ConvertOptions(
                    check_utf8=False,  # the stream is valid
                    column_types=dict.fromkeys(positions, pa.string()),
                    include_columns=list(dict.fromkeys(places.values())),
                    strings_can_be_null=False,
                ),
            )
        )
        for batch in reader:
            columns = {name: batch.column(place) for name, place in places.items()}
            yield _batch(fields, columns, batch.num_rows, schema)


def _first_row(text: BinaryIO) -> bytes:
    """Go past blank lines; return the first line that is not, or nothing at the end."""
    line = text.readline(streams.BLOCK_BYTES)
    while line and not line.strip(b"\r\n"):
        line = text.readline(streams.BLOCK_BYTES)
    return line


def _json_lines(
    text: BinaryIO, head: Head, source: str, wanted: Wanted, malformed: MalformedRows
) -> Iterator[pa.RecordBatch]:
    fields = wanted.of(head.names, source)
    schema = wanted.schema
    with streams.Ahead(text) as ahead:
        rows: list[dict[str, Any]] = []
        for line in chain(head.lines, io.BufferedReader(streams.Text(ahead))):
            row = _json_object(line)
            if row is not None:
                rows.append(row)
            elif line.strip():
                malformed.add(NOT_JSON, source, line.decode(errors="replace").rstrip())
            if len(rows) == _BATCH_ROWS:
                yield _json_batch(fields, rows, schema)
                rows = []
        if rows:
            yield _json_batch(fields, rows, schema)


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _json_batch(
    fields: Mapping[str, str], rows: list[dict[str, Any]], schema: pa.Schema
) -> pa.RecordBatch:
    columns = {name: [_json_text(row.get(name)) for row in rows] for name in fields.values()}
    return _batch(fields, columns, len(rows), schema)


def _json_text(value: Any) -> str | None:
    if value is None:
        return None
    # JSON can spell half a surrogate pair, which no UTF-8 text can hold.
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace").decode()
