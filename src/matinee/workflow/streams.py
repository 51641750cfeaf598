"""Text of a compressed stream, decompressed ahead in a thread of its own, always valid UTF-8.

Decompressing one .gz is the floor of reading it, so it must never wait for what is done with the
text; ISA-L inflates twice as fast as zlib and lets go of the interpreter meanwhile. What is not
UTF-8 becomes U+FFFD, so that one bad byte does not cost the file. Refuses nothing: a broken stream
raises what its codec raises, in the reader's own thread.
"""

from __future__ import annotations

import codecs
import io
import queue
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import pyarrow as pa
from isal import igzip, igzip_lib

# A row longer than this is taken for a file without line ends.
BLOCK_BYTES = 2 * 2**20
_BLOCKS_AHEAD = 4
_LONGEST_CHARACTER = 4
_LOOK_S = 0.05

# What reading a broken stream raises, whichever codec it is of.
BROKEN = (OSError, EOFError, zlib.error, cast("type[Exception]", igzip_lib.IsalError))

GZIP = b"\x1f\x8b"
ZSTANDARD = b"\x28\xb5\x2f\xfd"


def decompressed(stream: BinaryIO, magic: bytes) -> BinaryIO:
    """Return what a buffered stream holds, buffered, of which `magic` are the first bytes."""
    if magic.startswith(GZIP):
        # Buffers by itself; once more would copy all.
        return cast(BinaryIO, cast(Any, igzip).open(stream, "rb"))
    if magic.startswith(ZSTANDARD):
        text = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
        return io.BufferedReader(cast(Any, text))
    return stream


def suffix(magic: bytes) -> str:
    """Return how a file's name tells its compression, from its first bytes."""
    known = {GZIP: ".gz", ZSTANDARD: ".zst"}
    return next((end for begin, end in known.items() if magic.startswith(begin)), "")


class Ahead(Iterator[bytes]):
    """The blocks of a stream, read ahead of whoever asks for them by a thread of its own."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._blocks: queue.Queue[bytes | BaseException] = queue.Queue(_BLOCKS_AHEAD)
        self._given_up = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="matinee-ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop reading ahead; the stream itself stays open."""
        self._given_up.set()
        while self._thread.is_alive():
            # The thread may wait for room.
            with suppress(queue.Empty):
                self._blocks.get(timeout=_LOOK_S)
        self._thread.join()
        # Whoever still waits for a block, or asks for one later, is told that there is none.
        self._ended = True
        with suppress(queue.Full):
            self._blocks.put_nowait(b"")

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        block = self._blocks.get()
        if isinstance(block, BaseException):
            self._ended = True
            raise block
        if not block:
            self._ended = True
            raise StopIteration
        return block

    def _run(self) -> None:
        try:
            block = b"more"
            while block and not self._given_up.is_set():
                block = self._stream.read(BLOCK_BYTES)
                self._blocks.put(block)
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            self._blocks.put(error)


class Text(io.RawIOBase):
    """Blocks of bytes as one stream of valid UTF-8, which gives as much as it is asked for."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._valid = self._cut = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end; all of them for -1."""
        # Fewer would end a block amid a row; more, as replacing lengthens, was not asked for.
        while not self._ended and (size < 0 or len(self._valid) < size):
            block = next(self._blocks, b"")
            self._ended = not block
            valid, self._cut = valid_utf8(self._cut + block, final=self._ended)
            self._valid += valid
        if size < 0:
            size = len(self._valid)
        given, self._valid = self._valid[:size], self._valid[size:]
        return given

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def valid_utf8(block: bytes, *, final: bool) -> tuple[bytes, bytes]:
    """Return a block with U+FFFD for what is not UTF-8, and the bytes of a character cut short.

    Parameters
    ----------
    block : bytes
    final : bool
        Whether nothing follows that could make the last character whole.
    """
    whole, rest = (block, b"") if final else _cut(block)
    offsets = pa.py_buffer(len(whole).to_bytes(8, "little").rjust(16, b"\0"))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(whole)])
    try:
        text.cast(pa.large_string())  # looks at every byte, and copies none
    except pa.ArrowInvalid:
        replaced, used = codecs.utf_8_decode(block, "replace", final)
        return replaced.encode(), block[used:]
    return whole, rest


def _cut(block: bytes) -> tuple[bytes, bytes]:
    """Cut a block before a last character that is not all there."""
    for back in range(1, min(len(block), _LONGEST_CHARACTER - 1) + 1):
        byte = block[-back]
        if byte & 0b1100_0000 != 0b1000_0000:
            length = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return (block[:-back], block[-back:]) if length > back else (block, b"")
    return block, b""
