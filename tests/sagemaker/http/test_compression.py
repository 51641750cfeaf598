"""Compressed bodies."""

from __future__ import annotations

import gzip

import pytest

from matinee.sagemaker.errors import RequestEntityTooLarge, SerializationException
from matinee.sagemaker.http.auth import ReceivedRequest
from matinee.sagemaker.http.compression import MAX_INFLATED_BYTES, inflated


def request(body: bytes, encoding: str = "gzip") -> ReceivedRequest:
    return ReceivedRequest("POST", "/", [("Content-Encoding", encoding)], body)


def test_a_compressed_body() -> None:
    assert inflated(request(gzip.compress(b"text", mtime=0))).body == b"text"


def test_a_body_as_it_is() -> None:
    plain = ReceivedRequest("POST", "/", [], b"text")
    assert inflated(plain) is plain
    assert inflated(request(b"text", "identity")).body == b"text"


@pytest.mark.parametrize(
    "body",
    [b"", b"text", gzip.compress(b"text", mtime=0)[:-1], gzip.compress(b"text", mtime=0) + b"more"],
)
def test_a_damaged_body_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationException, match="not gzip"):
        inflated(request(body))


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(SerializationException, match="'br' is not gzip"):
        inflated(request(b"", "br"))


def test_a_bomb_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge, match="uncompressed"):
        inflated(request(gzip.compress(bytes(MAX_INFLATED_BYTES + 1), mtime=0)))
