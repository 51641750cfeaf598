"""TSV without quoting, as Amazon writes its reviews: blocks cut at line ends, parsed side by side.

A thread inflates and cuts, a few others parse, so a file takes little longer than inflating it
alone. Of each row only the columns asked for are copied: general parsers of CSV copy all, and
reviews are mostly text that no rating needs. Rows keep their order. Those with another number of
fields than the header are given apart. Refuses a line longer than a block.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matinee.workflow import streams

_MOST_THREADS = 4
_TAB, _LINE_END = b"\t\n"
_LAST_ASCII = 0x7F


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
    """Cut blocks anew, after line ends: \\n, \\r\\n or \\r."""
    rest = b""
    for block in blocks:
        # A \\r at the very end may be half of a line end.
        cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, -1)) + 1
        if cut:
            yield b"".join((rest, memoryview(block)[:cut]))
            rest = block[cut:]
        else:
            rest += block
        if len(rest) > streams.BLOCK_BYTES:
            raise pa.ArrowInvalid(f"a line is longer than {streams.BLOCK_BYTES} bytes")
    yield rest


class _Scratch(threading.local):
    """Memory of a thread for what is computed of each byte: new memory costs more than its use."""

    def __init__(self) -> None:
        self._bytes = np.empty((2, 0), np.uint8)

    def of(self, length: int) -> NDArray[np.uint8]:
        if self._bytes.shape[1] < length:
            self._bytes = np.empty((2, length), np.uint8)
        return self._bytes[:, :length]


_scratch = _Scratch()


def _parse(block: bytes, width: int, places: Mapping[str, int]) -> tuple[pa.Table, list[str]]:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not block.endswith(b"\n"):
        block += b"\n"
    text = np.frombuffer(block, np.uint8)
    separators = _separators(text)
    # Of each line: which separator ends it, how many fields it has, where it begins.
    ends = np.flatnonzero(np.take(text, separators) == _LINE_END)
    widths = np.diff(ends, prepend=-1)
    fits = widths == width
    starts = np.append(0, separators[ends[:-1]] + 1)
    wrong = [
        block[start:end].decode(errors="replace")
        for start, end in zip(starts[~fits], separators[ends[~fits]], strict=True)
        if start < end
    ]
    last = ends[fits]
    columns = {}
    for name, place in places.items():
        column_ends = np.take(separators, last - (width - 1 - place))
        column_starts = np.take(separators, last - (width - place)) + 1 if place else starts[fits]
        columns[name] = _column(block, column_starts, column_ends)
    return pa.table(columns), wrong


def _separators(text: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return where the tabs and line ends are."""
    shifted, found = _scratch.of(len(text))
    # One comparison for both, as their codes follow each other.
    np.subtract(text, _TAB, out=shifted)
    np.less_equal(shifted, _LINE_END - _TAB, out=found.view(bool))
    return np.flatnonzero(found.view(bool)).astype(np.int32)


def _column(block: bytes, starts: NDArray[np.int32], ends: NDArray[np.int32]) -> pa.Array:
    """Copy texts out of a block; U+FFFD stands for what is not UTF-8."""
    # For Arrow the texts and what lies between them are an array, of which the texts are taken.
    offsets = np.empty(2 * len(starts) + 1, np.int32)
    offsets[0:-1:2], offsets[1::2], offsets[-1] = starts, ends, ends[-1] if len(ends) else 0
    pieces = pa.Array.from_buffers(
        pa.binary(), 2 * len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    )
    texts = pieces.take(pa.array(np.arange(0, 2 * len(starts), 2, dtype=np.int32)))
    data = texts.buffers()[2]
    if data is None or np.frombuffer(data, np.uint8).max(initial=0) <= _LAST_ASCII:
        return texts.view(pa.string())
    try:
        return texts.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([text.decode(errors="replace") for text in texts.to_pylist()], pa.string())
