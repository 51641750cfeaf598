"""Streams are read as files are, in pieces and without a seam between files."""

import io
import tracemalloc

import numpy
import pytest
import scipy.sparse

from matinee.recordio import RecordIOError, decode, decode_stream, encode, frame
from matinee.recordio.framing import MAGIC

DENSE = numpy.ones((3, 4), dtype=numpy.float32)
LABELS = numpy.arange(3, dtype=numpy.float32)


def sparse(records: int, width: int) -> scipy.sparse.csr_matrix:
    rng = numpy.random.default_rng(records)
    return scipy.sparse.random(records, width, 0.2, format="csr", dtype=numpy.float32, rng=rng)


def test_a_stream_of_megabytes_is_its_records() -> None:
    features, labels = sparse(40_000, 50), numpy.arange(40_000, dtype=numpy.float32)
    data = encode(features, labels)
    assert len(data) > 3 << 20
    blocks = list(decode_stream(io.BytesIO(data)))
    whole = decode(data)
    assert whole.labels is not None
    assert numpy.concatenate([block.labels for block in blocks]).tolist() == whole.labels.tolist()
    values = numpy.concatenate([block.values for block in blocks])
    assert values.tolist() == whole.features.data.tolist()


def test_files_that_differ_follow_each_other() -> None:
    files = [encode(sparse(5, 8)), encode(sparse(5, 9), numpy.ones(5)), encode(DENSE, LABELS)]
    blocks = list(decode_stream(io.BytesIO(b"".join(files))))
    assert [block.width for block in blocks] == [8, 9, 4]
    assert [block.labels is None for block in blocks] == [True, False, False]


def test_a_record_larger_than_what_is_read_at_once() -> None:
    large = numpy.arange(600_000, dtype=numpy.float32).reshape(1, -1)
    data = encode(large) + encode(large)
    blocks = list(decode_stream(io.BytesIO(data)))
    assert [block.values.tolist() == large[0].tolist() for block in blocks] == [True, True]


def test_the_magic_inside_a_payload_begins_nothing() -> None:
    word = numpy.frombuffer(MAGIC.to_bytes(4, "little"), dtype="<f4")
    # Records whose payload holds the magic at every offset within a word.
    rows = [numpy.concatenate([DENSE[0, :1]] * at + [word] * 3) for at in range(1, 5)]
    data = b"".join(encode(row.reshape(1, -1)) for row in rows) * 5_500
    blocks = list(decode_stream(io.BytesIO(data)))
    assert sum(block.values.size for block in blocks) == 5_500 * sum(row.size for row in rows)


@pytest.mark.parametrize(
    ("tail", "problem"),
    [
        (b"\0" * 8, "bad magic 0x00000000"),
        (encode(DENSE)[:-4], "truncated payload"),
        (encode(DENSE)[:-2] + b"\1", "truncated payload"),
        (b"\x0a", "truncated header"),
        (frame(b"\xff"), "protobuf"),
    ],
)
def test_what_is_wrong_is_found_at_its_place(tail: bytes, problem: str) -> None:
    head = encode(sparse(30_000, 50))
    with pytest.raises(RecordIOError) as caught:
        list(decode_stream(io.BytesIO(head + tail)))
    records = 2 if len(tail) > 40 else 0
    assert caught.value.record == 30_000 + records
    assert caught.value.offset >= len(head)
    if problem != "protobuf":
        assert problem in caught.value.problem


def test_memory_does_not_grow_with_the_stream() -> None:
    data = encode(sparse(20_000, 50))

    class Endless:
        """The same file again and again."""

        def __init__(self, times: int) -> None:
            self.left = data * 2
            self.times = times

        def read(self, size: int) -> bytes:
            if len(self.left) < size and self.times:
                self.times -= 1
                self.left += data
            taken, self.left = self.left[:size], self.left[size:]
            return taken

    def peak(times: int) -> int:
        tracemalloc.start()
        for _ in decode_stream(Endless(times)):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(12) < 1.5 * peak(3)
