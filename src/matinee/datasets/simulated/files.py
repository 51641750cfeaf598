"""Simulated reviews as files: blocks of text, compressed by several threads, in one stream each.

The text of a file depends on its rows alone; its compressed bytes on the release of ISA-L as well,
never on the threads. A gzip file has one member, as every reader can read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from isal import isal_zlib

from matinee.datasets.simulated.ordering import in_order
from matinee.datasets.simulated.population import Population
from matinee.datasets.simulated.text import HEADER, Writer

BLOCK_ROWS: Final = 2**14

# RFC 1952: deflate, no flags, no time, no extra flags, of unknown origin.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# The whole of a last block of deflate that holds nothing.
_LAST_BLOCK: Final = b"\x03\x00"


class Block(NamedTuple):
    """A part of a file: bytes as they are stored, and the checksum and size of their text."""

    stored: bytes
    checksum: int
    text_bytes: int
    rows: int


def read(
    population: Population,
    writer: Writer,
    rows: tuple[int, int],
    compressed: bool,
    threads: int,
    progress: Callable[[int], None],
) -> Stream:
    """Return a file of reviews, made while it is read.

    Parameters
    ----------
    population : Population
    writer : Writer
        Of the same population.
    rows : tuple of int
        The first row, and the one after the last.
    compressed : bool
        By gzip.
    threads : int
        Blocks to make at a time.
    progress : callable
        Told after each block how many rows it had.
    """
    return Stream(_parts(population, writer, rows, compressed, threads, progress))


class Stream(io.RawIOBase):
    """Bytes made while they are read.

    Parameters
    ----------
    parts : iterator of bytes
        Closed with the stream.
    """

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, or what of it the rest of the current part fills; 0 at the end."""
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _parts(
    population: Population,
    writer: Writer,
    rows: tuple[int, int],
    compressed: bool,
    threads: int,
    progress: Callable[[int], None],
) -> Iterator[bytes]:
    first, stop = rows

    def block(start: int) -> Block:
        end = min(start + BLOCK_ROWS, stop)
        return _block(writer.lines(population.at(start, end)), compressed, end - start)

    header = _block(memoryview(HEADER), compressed, 0)
    checksum, size = header.checksum, header.text_bytes
    if compressed:
        yield _GZIP_HEADER
    yield header.stored
    with ThreadPoolExecutor(threads) as pool:
        for made in in_order(pool, threads, block, range(first, stop, BLOCK_ROWS)):
            checksum = isal_zlib.crc32_combine(checksum, made.checksum, made.text_bytes)
            size += made.text_bytes
            yield made.stored
            progress(made.rows)
    if compressed:
        yield _LAST_BLOCK + struct.pack("<II", checksum, size % 2**32)


def _block(text: memoryview, compressed: bool, rows: int) -> Block:
    if not compressed:
        return Block(bytes(text), 0, len(text), rows)
    deflate = isal_zlib.compressobj(isal_zlib.ISAL_BEST_SPEED, isal_zlib.DEFLATED, -15)
    # Flushed to a whole byte, blocks can follow each other in one stream.
    stored = deflate.compress(text) + deflate.flush(isal_zlib.Z_SYNC_FLUSH)
    return Block(stored, isal_zlib.crc32(text), len(text), rows)
