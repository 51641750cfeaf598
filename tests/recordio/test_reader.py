"""What the encoder writes comes back; any other legal protobuf is read; the rest is refused."""

import mmap
import pickle
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from matinee.recordio import (
    RecordIOError,
    Records,
    decode,
    decode_blocks,
    encode,
    frame,
    frames,
)
from matinee.recordio.reader import BLOCK_ROWS
from tests.recordio.protobuf import Record, UnusualRecord, labelled_matrices, record_of

KEY = b"\x0a\x06values"


def delimited(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def features(tensor: bytes, member: int = 2) -> bytes:
    return delimited(1, KEY + delimited(2, delimited(member, tensor)))


def label(tensor: bytes, member: int = 2) -> bytes:
    return delimited(2, KEY + delimited(2, delimited(member, tensor)))


ONE = bytes.fromhex("0000803f")
TWO = bytes.fromhex("00000040")
DENSE = features(delimited(1, ONE + TWO))
SPARSE = features(delimited(1, ONE) + delimited(2, b"\2") + delimited(3, b"\4"))
LABEL = label(delimited(1, TWO))


def sparse(data: bytes) -> Any:
    read = decode(data).features
    assert scipy.sparse.issparse(read)
    return read


def dense(payload: bytes) -> list[list[float]]:
    read = decode(frame(payload)).features
    assert isinstance(read, numpy.ndarray)
    rows: list[list[float]] = read.tolist()
    return rows


def assert_equal(records: Records, expected: Any, labels: Any) -> None:
    read: Any = records.features
    if scipy.sparse.issparse(expected):
        assert scipy.sparse.issparse(read)
        assert read.shape == expected.shape
        assert read.indices.tolist() == expected.indices.tolist()
        assert read.indptr.tolist() == expected.indptr.tolist()
        assert read.data.dtype == numpy.float32
        assert read.data.tolist() == expected.data.astype(numpy.float32).tolist()
    else:
        assert read.dtype == numpy.float32
        assert read.tolist() == expected.astype(numpy.float32).tolist()
    if labels is None:
        assert records.labels is None
    else:
        assert records.labels is not None
        assert records.labels.dtype == numpy.float32
        assert records.labels.tolist() == labels.astype(numpy.float32).tolist()


@given(labelled_matrices())
def test_what_is_encoded_comes_back(drawn: tuple[Any, Any]) -> None:
    assert_equal(decode(encode(*drawn)), *drawn)


@given(labelled_matrices())
def test_unpacked_numbers_and_unknown_fields_are_read(drawn: tuple[Any, Any]) -> None:
    matrix, labels = drawn
    data = b""
    for row in range(matrix.shape[0]):
        record = record_of(matrix, row, labels, UnusualRecord)
        record.uid, record.metadata, record.configuration = "id", "{}", ""
        record.counter, record.instant = 2**64 - 1, row
        for tensor in record.features.values():
            getattr(tensor, tensor.WhichOneof("value")).later = 7
        data += frame(record.SerializeToString())
    assert_equal(decode(data), matrix, labels)


@given(labelled_matrices(), st.permutations(["extra", "values", "more"]))
def test_other_entries_of_the_maps_are_passed_over(
    drawn: tuple[Any, Any], names: list[str]
) -> None:
    matrix, labels = drawn
    data = b""
    for row in range(matrix.shape[0]):
        usual = record_of(matrix, row, labels)
        record = Record(uid="x")
        for name in names:
            record.features[name].CopyFrom(usual.features["values"])
            record.features[name].CopyFrom(usual.features["values"])
            if name != "values":
                record.label[name].int32_tensor.values.extend([1, 2, 3])
        if labels is not None:
            record.label["values"].CopyFrom(usual.label["values"])
        data += frame(record.SerializeToString())
    assert_equal(decode(data), matrix, labels)


def test_more_rows_than_a_block() -> None:
    rows = 2 * BLOCK_ROWS + 5
    counts = numpy.arange(rows) % 4
    bounds = numpy.concatenate([[0], numpy.cumsum(counts)])
    keys = numpy.arange(bounds[-1]) * 7_919 % 20_000
    values = numpy.arange(bounds[-1], dtype=numpy.float32)
    matrix = scipy.sparse.csr_matrix((values, keys, bounds), shape=(rows, 20_000))
    labels = numpy.arange(rows, dtype=numpy.float32)
    assert_equal(decode(encode(matrix, labels)), matrix, labels)


def test_blocks_keep_no_more_of_a_larger_file() -> None:
    data = encode(numpy.ones((20_000, 50), dtype=numpy.float32))
    peaks = []
    for times in (1, 4):
        file = data * times
        tracemalloc.start()
        try:
            records = sum(block.values.size // block.width for block in decode_blocks(file))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert records == times * 20_000
    assert peaks[1] < 1.1 * peaks[0] < len(data)


def test_an_unusual_record_among_usual_ones() -> None:
    matrix = numpy.arange(6, dtype=numpy.float32).reshape(3, 2)
    unusual = record_of(matrix, 1, None, UnusualRecord).SerializeToString()
    data = encode(matrix[:1]) + frame(unusual) + encode(matrix[2:])
    assert_equal(decode(data), matrix, None)


def test_records_read_one_by_one_are_the_same() -> None:
    data = encode(sparse_rows(), numpy.arange(3, dtype=numpy.float32))
    (at_once,), (singly,) = decode_blocks(data), decode_blocks(data, least_rows=4)
    assert at_once.labels is not None
    assert singly.labels is not None
    assert at_once.labels.tolist() == singly.labels.tolist()
    assert at_once.values.tolist() == singly.values.tolist()
    assert at_once.width == singly.width


def sparse_rows() -> Any:
    return scipy.sparse.csr_matrix(numpy.eye(3, 5, dtype=numpy.float32))


def test_explicit_zeros_order_and_duplicates_stay_as_stored() -> None:
    stored = (numpy.array([0, 1, 2], dtype=numpy.float32), numpy.array([3, 1, 1]), [0, 3])
    read = sparse(encode(scipy.sparse.csr_matrix(stored, shape=(1, 4))))
    assert read.indices.tolist() == [3, 1, 1]
    assert read.data.tolist() == [0.0, 1.0, 2.0]
    assert read.toarray().tolist() == [[0.0, 3.0, 0.0, 0.0]]


def test_a_row_of_nothing_but_a_shape_is_zeros() -> None:
    read = sparse(frame(features(delimited(3, b"\4"))) + frame(SPARSE))
    assert read.toarray().tolist() == [[0.0] * 4, [0.0, 0.0, 1.0, 0.0]]


def test_a_file_without_records() -> None:
    records = decode(b"")
    assert records.features.shape == (0, 0)
    assert records.labels is None


def test_a_mapped_file_can_be_closed_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "train.pbr"
    path.write_bytes(frame(DENSE + LABEL))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        records = decode(data)
    assert_equal(records, numpy.array([[1.0, 2.0]]), numpy.array([2.0]))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (features(delimited(1, ONE + TWO) + delimited(3, b"\2")), [1.0, 2.0]),
        (features(delimited(1, ONE + TWO) + delimited(3, b"\1\2")), [1.0, 2.0]),
        (features(delimited(1, ONE) + delimited(1, TWO)), [1.0, 2.0]),
        (features(b"\x0d" + ONE + delimited(1, TWO)), [1.0, 2.0]),
        (DENSE[:1] + bytes([DENSE[1] | 128, 0]) + DENSE[2:], [1.0, 2.0]),
        (features(delimited(1, ONE)) + DENSE, [1.0, 2.0]),
        (delimited(1, delimited(2, delimited(2, delimited(1, ONE + TWO))) + KEY), [1.0, 2.0]),
        (
            delimited(
                1,
                KEY
                + delimited(2, delimited(2, delimited(1, ONE)))
                + delimited(2, delimited(2, delimited(1, TWO))),
            ),
            [1.0, 2.0],
        ),
        (
            delimited(
                1,
                KEY + delimited(2, delimited(9, b"") + delimited(3, b"") + DENSE[12:]),
            ),
            [1.0, 2.0],
        ),
        (features(delimited(1, b"\x01\xfe" + b"\xff" * 8 + b"\x01"), member=7), [1.0, -2.0]),
    ],
    ids=[
        "dense with shape",
        "dense with a shape of two",
        "values in two packed fields",
        "values packed and not",
        "overlong length",
        "last of two equal map keys",
        "map value before key",
        "map value in two parts",
        "last member of the oneof",
        "int32",
    ],
)
def test_legal_but_unusual_protobuf(payload: bytes, expected: list[float]) -> None:
    assert dense(payload) == [expected]
    # Protobuf agrees with this reading of the bytes.
    value = Record.FromString(payload).features["values"]
    assert list(getattr(value, value.WhichOneof("value")).values) == expected


def test_a_float64_beyond_float32_becomes_infinite() -> None:
    assert dense(features(delimited(1, numpy.float64(1e300).tobytes()), member=3)) == [[numpy.inf]]


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", 'no features under the key "values"'),
        (LABEL, 'no features under the key "values"'),
        (delimited(1, b"\x0a\x05other" + DENSE[10:]), 'no features under the key "values"'),
        (delimited(1, KEY), "no tensor is set"),
        (delimited(1, KEY + delimited(2, delimited(9, b""))), "the value holds bytes"),
        (features(b""), "features have neither values nor a shape"),
        (features(delimited(1, ONE) + delimited(2, b"\2")), "features have keys but no shape"),
        (
            features(delimited(1, ONE) + delimited(2, b"\2\3") + delimited(3, b"\4")),
            "2 keys for 1 values",
        ),
        (features(delimited(2, b"\2") + delimited(3, b"\4")), "1 keys for 0 values"),
        (
            features(delimited(1, ONE) + delimited(2, b"\4") + delimited(3, b"\4")),
            "key 4 isn't below the width 4",
        ),
        (
            features(delimited(1, ONE) + delimited(2, b"\xff" * 9 + b"\1") + delimited(3, b"\4")),
            "key 18446744073709551615 isn't below the width 4",
        ),
        (features(delimited(3, b"\0")), "sparse features of shape [0]"),
        (features(delimited(3, b"\2\2")), "sparse features of shape [2, 2]"),
        (features(delimited(3, b"\xff" * 9 + b"\1")), "sparse features of shape [184467440737"),
        (
            features(delimited(1, ONE + TWO) + delimited(3, b"\3")),
            "2 values don't fill the shape [3]",
        ),
        (DENSE + label(b""), "the label has 0 values and 0 keys, not exactly one value"),
        (DENSE + label(delimited(1, ONE + TWO)), "the label has 2 values and 0 keys"),
        (
            DENSE + label(delimited(1, ONE) + delimited(2, b"\7")),
            "the label has 1 values and 1 keys",
        ),
        (features(delimited(1, ONE + b"\0")), "5 bytes of packed values, not a multiple of 4"),
        (features(delimited(1, ONE), member=3), "4 bytes of packed values, not a multiple of 8"),
        (features(b"\x09" + ONE + TWO), "wire type 1 for numbers, not 2 or 5"),
        (features(b"\x15" + ONE), "wire type 5 for numbers, not 2 or 0"),
        (features(delimited(2, b"\x80") + delimited(3, b"\4")), "unfinished varint"),
        (features(delimited(3, b"\x80" * 10 + b"\1")), "varint of more than 10 bytes"),
        (features(delimited(3, b"\xff" * 9 + b"\2")), "varint above 64 bits"),
        (b"\x08\x01", "wire type 0 for a map entry, not 2"),
        (delimited(1, b"\x08\x01"), "wire type 0 for a map key, not 2"),
        (delimited(1, b"\x10\x01"), "wire type 0 for a map value, not 2"),
        (delimited(1, KEY + delimited(2, b"\x10\x01")), "wire type 0 for a tensor, not 2"),
        (DENSE + b"\x18\x01", "wire type 0 for a string, not 2"),
        (DENSE + b"\x33\x34", "wire type 3 of field 6 isn't supported"),
        (DENSE + b"\x37", "wire type 7 of field 6 isn't supported"),
        (DENSE + b"\x00\x00", "field number 0 isn't legal"),
        (DENSE + b"\x80\x80\x80\x80\x80\x01\x00", "field number 4294967296 isn't legal"),
        (DENSE + b"\x80", "unfinished varint"),
        (DENSE + b"\x80" * 11, "varint of more than 10 bytes"),
        (DENSE + b"\xff" * 9 + b"\x7f", "varint above 64 bits"),
        (DENSE + b"\x35\x00", "field 6 ends 3 bytes after its message"),
        (DENSE + b"\x31\x00", "field 6 ends 7 bytes after its message"),
        (DENSE[:-1], "field 1 ends 1 bytes after its message"),
        (DENSE + b"\x32\xff\xff\xff\xff\x0f", "field 6 ends 4294967295 bytes after its message"),
        (SPARSE, "sparse features in a file of dense ones"),
        (features(delimited(1, ONE)), "features of width 1 in a file of width 2"),
        (DENSE + LABEL, "a label, unlike earlier records"),
    ],
)
@pytest.mark.parametrize("before", [1, BLOCK_ROWS], ids=["same block", "next block"])
def test_a_malformed_record_is_named(payload: bytes, problem: str, before: int) -> None:
    good = frame(DENSE)
    with pytest.raises(RecordIOError) as caught:
        decode(good * before + frame(payload) + good)
    assert (caught.value.record, caught.value.offset) == (before, before * len(good))
    prefix = f"record {before} at byte {before * len(good)}: "
    assert str(caught.value).startswith(prefix + problem)


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (SPARSE, DENSE, "dense features in a file of sparse ones"),
        (SPARSE, features(delimited(3, b"\5")), "features of width 5 in a file of width 4"),
        (SPARSE + LABEL, SPARSE, "no label, unlike earlier records"),
    ],
)
@pytest.mark.parametrize("before", [1, BLOCK_ROWS], ids=["same block", "next block"])
def test_records_of_a_file_are_alike(
    first: bytes, second: bytes, problem: str, before: int
) -> None:
    with pytest.raises(RecordIOError, match=problem) as caught:
        decode(frame(first) * before + frame(second))
    assert caught.value.record == before


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RecordIOError(3, 40, "bad magic")))  # noqa: S301 - our own
    assert (error.record, error.offset, error.problem) == (3, 40, "bad magic")
    assert str(error) == "record 3 at byte 40: bad magic"


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A good file with a few bytes changed, removed or added, inside its frames or anywhere."""
    data = encode(*draw(labelled_matrices()))
    reframed = draw(st.booleans())
    mutated = bytearray(data[8:] if reframed else data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(mutated) - 1, 0)))
        removed = draw(st.integers(0, 3))
        added = draw(st.binary(max_size=3) | st.sampled_from([b"\xff" * 10, b"\x80" * 9 + b"\x01"]))
        mutated[at : at + removed] = added
    return frame(bytes(mutated)) + data if reframed else bytes(mutated)


@given(st.one_of(mutated_files(), st.binary(max_size=64), st.binary(max_size=64).map(frame)))
def test_no_file_does_anything_but_decode_or_be_refused(data: bytes) -> None:
    try:
        records = decode(data)
    except RecordIOError:
        return
    read: Any = records.features
    count = frames(data).size - 1
    assert read.shape[0] == count
    assert read.dtype == numpy.float32
    assert records.labels is None or records.labels.shape == (count,)
    if scipy.sparse.issparse(read):
        read.check_format(full_check=True)
    else:
        assert read.nbytes <= len(data) * 4


@given(mutated_files())
def test_protobuf_reads_the_same_from_what_is_accepted(data: bytes) -> None:
    try:
        records = decode(data)
    except RecordIOError:
        return
    read: Any = records.features
    offsets = frames(data).tolist()
    for row, offset in enumerate(offsets[:-1]):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        value = Record.FromString(data[offset + 8 : offset + 8 + size]).features["values"]
        tensor = getattr(value, value.WhichOneof("value"))
        with numpy.errstate(over="ignore"):
            expected = numpy.array(tensor.values).astype(numpy.float32)
        if scipy.sparse.issparse(read):
            stored = slice(read.indptr[row], read.indptr[row + 1])
            assert read.indices[stored].tolist() == list(tensor.keys)
            numpy.testing.assert_array_equal(read.data[stored], expected)
        else:
            numpy.testing.assert_array_equal(read[row], expected)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x23\xd7\xce\xff\xff\xff\x1f",
        frame(features(delimited(3, b"\xff" * 8 + b"\x7f"))),
        frame(DENSE + b"\x32\xff\xff\xff\xff\x0f"),
        frame(features(delimited(1, ONE) + delimited(3, b"\xff" * 8 + b"\x7f" + b"\2" * 100))),
    ],
    ids=["frame length", "width", "field length", "dense shape"],
)
def test_a_lie_about_size_allocates_nothing(data: bytes) -> None:
    tracemalloc.start()
    try:
        with suppress(RecordIOError):
            decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
