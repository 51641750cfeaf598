"""Compressed streams opened piece by piece."""

from __future__ import annotations

import gzip
import zlib

import pytest

from matinee.sagemaker.data.archives import Limits
from matinee.sagemaker.data.decompression import unzipped


def opened(data: bytes, limits: Limits | None = None) -> bytes:
    # Byte by byte: no boundary may matter.
    pieces = iter([data[place : place + 1] for place in range(len(data))])
    return b"".join(unzipped(pieces, limits) if limits else unzipped(pieces))


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (gzip.compress(b"one", mtime=0), b"one"),
        (gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), b"onetwo"),
        (gzip.compress(b"one", mtime=0) + b"\0" * 5, b"one"),
        (gzip.compress(b"", mtime=0), b""),
        (b"", b""),
    ],
)
def test_streams_are_opened(data: bytes, content: bytes) -> None:
    assert opened(data) == content


def test_pieces_are_small() -> None:
    content = bytes(3 * 1024**2)
    pieces = list(unzipped(iter([gzip.compress(content, mtime=0)])))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 1024**2


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (gzip.compress(b"one", mtime=0)[:-1], EOFError, "ends too early"),
        (gzip.compress(b"one", mtime=0) + b"more", zlib.error, "incorrect header check"),
        (b"plain", zlib.error, "incorrect header check"),
        (gzip.compress(bytes(1000), mtime=0), zlib.error, "it decompresses to over 100 bytes"),
    ],
)
def test_what_cannot_be_opened_is_refused(data: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        opened(data, Limits(total_bytes=100))
