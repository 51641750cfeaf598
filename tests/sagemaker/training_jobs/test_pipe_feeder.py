"""What is written to pipes, and how."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.sagemaker.training_jobs.pipe_feeder import (
    UnreadableError,
    attributes,
    decompressed,
    opened_by_reader,
    write_all,
)


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 50), st.integers(0, 3))
def test_gzip_is_decompressed_however_it_comes(
    members: list[bytes], size: int, padding: int
) -> None:
    data = b"".join(gzip.compress(member, mtime=0) + bytes(padding) for member in members)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(decompressed(pieces, "s3://b/k")) == b"".join(members)


def test_what_decompresses_to_a_lot_comes_in_pieces() -> None:
    data = gzip.compress(bytes(1 << 24), mtime=0)
    pieces = list(decompressed([data], "s3://b/k"))
    assert sum(map(len, pieces)) == 1 << 24
    assert max(map(len, pieces)) <= 1 << 20


@given(st.binary(min_size=1, max_size=100).filter(lambda data: data.strip(b"\0")))
def test_damaged_gzip_is_told_by_its_object(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="s3://b/k"):
        list(decompressed([data], "s3://b/k"))


def test_attributes_come_in_the_order_of_their_names() -> None:
    line = '{"a": "text", "b": {"c": [1]}, "d": 2}'
    assert list(attributes(line, ["b", "a"])) == [("b", '{"c": [1]}'), ("a", "text")]


@pytest.mark.parametrize("line", ["no json", "[1]", '"a"', '{"b": 1}', "[" * 100000])
def test_a_line_without_its_attributes_is_refused(line: str) -> None:
    with pytest.raises(UnreadableError, match=r"^ClientError: the line "):
        list(attributes(line, ["a"]))


def test_a_pipe_waits_for_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    data = os.urandom(1 << 22)
    with opened_by_reader(path) as pipe:
        write_all(pipe, data)
    reader.join(60)
    assert read == [data]
