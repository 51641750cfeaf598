"""TSV without quoting, as Amazon writes its reviews: blocks cut at line ends, parsed side by side.

A thread inflates and cuts, a few others parse, so a file takes as long as inflating it alone. Rows
keep their order. Those with another number of fields than the header are given apart. Refuses a
line longer than a block.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from matinee.workflow import streams

_MOST_THREADS = 4
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_tsv(
    text: BinaryIO, width: int, places: Mapping[str, int]
) -> Iterator[tuple[pa.Table, list[str]]]:
    """Parse lines.

    Parameters
    ----------
    text : BinaryIO
        After the header.
    width : int
        Fields of a line.
    places : mapping
        What to call a column to its place from 0.

    Yields
    ------
    Table, list of str
        The rows of some lines, all columns text, and the lines that have another number of fields.

    Raises
    ------
    pyarrow.ArrowException
        If a line is too long. What the stream raises passes.
    """
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    pending: deque[Future[tuple[pa.Table, list[str]]]] = deque()
    with (
        streams.Ahead(text) as ahead,
        ThreadPoolExecutor(threads, thread_name_prefix="matinee-tsv") as pool,
    ):
        try:
            for block in _whole_lines(ahead):
                pending.append(pool.submit(_parse, block, width, places))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut blocks anew, after line ends: \\n, \\r\\n or \\r, as pyarrow knows them."""
    rest = b""
    for block in blocks:
        # A \\r at the very end may be half of a line end.
        cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
        if cut:
            yield rest + block[:cut]
            rest = block[cut:]
        else:
            rest += block
        if len(rest) > streams.BLOCK_BYTES:
            raise pa.ArrowInvalid(f"a line is longer than {streams.BLOCK_BYTES} bytes")
    yield rest


def _parse(block: bytes, width: int, places: Mapping[str, int]) -> tuple[pa.Table, list[str]]:
    wrong: list[str] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        wrong.append(row.text)
        return "skip"

    names = [str(place) for place in range(width)]
    if not block.strip(b"\r\n"):
        return _named(pa.table({name: pa.array([], pa.string()) for name in names}), places), wrong
    valid, _ = streams.valid_utf8(block, final=True)
    if valid.startswith(_BYTE_ORDER_MARK):
        # pyarrow drops one at the beginning: this one, not the row's own.
        valid = _BYTE_ORDER_MARK + valid
    table = pa.csv.read_csv(
        pa.BufferReader(valid),
        pa.csv.ReadOptions(use_threads=False, block_size=len(valid) + 1, column_names=names),
        pa.csv.ParseOptions(
            delimiter="\t", quote_char=False, double_quote=False, invalid_row_handler=skip
        ),
        pa.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(dict.fromkeys(names[place] for place in places.values())),
            strings_can_be_null=False,
        ),
    )
    return _named(table, places), wrong


def _named(table: pa.Table, places: Mapping[str, int]) -> pa.Table:
    return pa.table({name: table.column(str(place)) for name, place in places.items()})
