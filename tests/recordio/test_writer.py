"""The encoder's bytes: those published for the SageMaker SDK, and protobuf's own for any matrix."""

from typing import Any

import numpy
import pytest
import scipy.sparse
from hypothesis import given, strategies

from matinee.recordio import decode, encode, encode_one_hot, frame
from matinee.recordio.writer import BLOCK_ROWS
from tests.recordio.protobuf import labelled_matrices, record_of

# What sagemaker 2.257.7 writes for the matrices below.
DENSE = "0a23d7ce 1c000000 0a1a 0a06 76616c756573 1210 120e 0a0c 0000803f 00002040 00000000"
DENSE_LABELLED = (
    "0a23d7ce 30000000 0a1a 0a06 76616c756573 1210 120e 0a0c 0000803f 00002040 00000000"
    "1212 0a06 76616c756573 1208 1206 0a04 0000803f"
)
SPARSE_LABELLED = (
    "0a23d7ce 35000000 0a1f 0a06 76616c756573 1215 1213"
    "0a08 0000803f 0000003f 1203 02 aa02 1a02 ac02"
    "1212 0a06 76616c756573 1208 1206 0a04 0000803f 000000"
)
EMPTY_ROW = "0a23d7ce 12000000 0a10 0a06 76616c756573 1206 1204 1a02 ac02 0000"

DENSE_ROW = numpy.array([[1.0, 2.5, 0.0]], dtype=numpy.float32)
SPARSE_ROW = scipy.sparse.csr_matrix(
    (numpy.array([1.0, 0.5], dtype=numpy.float32), ([0, 0], [2, 298])), shape=(1, 300)
)
ONE = numpy.array([1.0], dtype=numpy.float32)


@pytest.mark.parametrize(
    ("features", "labels", "expected"),
    [
        (DENSE_ROW, None, DENSE),
        (DENSE_ROW, ONE, DENSE_LABELLED),
        (SPARSE_ROW, ONE, SPARSE_LABELLED),
        (scipy.sparse.csr_matrix((1, 300), dtype=numpy.float32), None, EMPTY_ROW),
    ],
    ids=["dense", "dense labelled", "sparse labelled", "all-zero sparse row"],
)
def test_the_sdk_s_bytes(features: Any, labels: Any, expected: str) -> None:
    assert encode(features, labels).hex() == expected.replace(" ", "")


@given(labelled_matrices())
def test_protobuf_serialises_the_same(drawn: tuple[Any, Any]) -> None:
    features, labels = drawn
    records = [record_of(features, row, labels) for row in range(features.shape[0])]
    expected = b"".join(frame(record.SerializeToString()) for record in records)
    assert encode(features, labels) == expected


def test_rows_beyond_a_block_follow_on() -> None:
    # Keys of one to three bytes, so that every block mixes record lengths.
    rows = BLOCK_ROWS + 3
    keys = numpy.arange(2 * rows) * 40_503 % 30_000
    parts = (numpy.arange(2 * rows, dtype=numpy.float32), keys, numpy.arange(rows + 1) * 2)
    features = scipy.sparse.csr_matrix(parts, shape=(rows, 30_000))
    labels = numpy.arange(rows, dtype=numpy.float32)
    pieces = [slice(first, first + 1_000) for first in range(0, rows, 1_000)]
    each = [encode(features[piece], labels[piece]) for piece in pieces]
    assert encode(features, labels) == b"".join(each)


@given(labelled_matrices(sparse=True), strategies.integers(64, 300))
def test_many_rows_of_few_kinds_are_written_as_each_is_alone(
    drawn: tuple[Any, Any], times: int
) -> None:
    features, labels = drawn
    counts = numpy.tile(numpy.diff(features.indptr), times)
    bounds = numpy.concatenate([[0], numpy.cumsum(counts)])
    parts = numpy.tile(features.data, times), numpy.tile(features.indices, times), bounds
    many = scipy.sparse.csr_matrix(parts, shape=(counts.size, features.shape[1]))
    many_labels = None if labels is None else numpy.tile(labels, times)
    assert encode(many, many_labels) == encode(features, labels) * times


@given(strategies.integers(0, 2**32 - 1), strategies.sampled_from([200, 20_000, 2**35]))
def test_random_rows_are_those_that_protobuf_writes(seed: int, width: int) -> None:
    rng = numpy.random.default_rng(seed)
    # Lengths on both sides of one byte, in the record and in each of its fields.
    counts = rng.integers(0, 60, 40)
    bounds = numpy.concatenate([[0], numpy.cumsum(counts)])
    keys = (width * rng.random(bounds[-1]) ** 4).astype(numpy.int64)
    values = rng.standard_normal(bounds[-1], dtype=numpy.float32)
    features = scipy.sparse.csr_matrix((values, keys, bounds), shape=(40, width))
    labels = rng.integers(1, 6, 40).astype(numpy.float32)
    records = (record_of(features, row, labels) for row in range(40))
    data = encode(features, labels)
    assert data == b"".join(frame(record.SerializeToString()) for record in records)
    back = decode(data)
    assert isinstance(back.features, scipy.sparse.csr_matrix)
    assert (back.features.indptr == features.indptr).all()
    assert (back.features.indices == features.indices).all()
    assert (back.features.data == features.data).all()
    assert back.labels is not None
    assert (back.labels == labels).all()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64"])
def test_one_hot_rows_are_their_matrix(count: int, dtype: str) -> None:
    rows, width = 300, 20_000
    keys = (numpy.arange(rows * count) * 7_919 % width).reshape(rows, count).astype(dtype)
    labels = numpy.arange(rows, dtype=numpy.float32)
    bounds = numpy.arange(rows + 1) * count
    ones = numpy.ones(rows * count, dtype=numpy.float32)
    matrix = scipy.sparse.csr_matrix((ones, keys.reshape(-1), bounds), shape=(rows, width))
    assert encode_one_hot(keys, width, labels) == encode(matrix, labels)
    assert encode_one_hot(keys, width) == encode(matrix)


@pytest.mark.parametrize(
    ("keys", "width", "problem"),
    [
        (numpy.array([[0, 5]]), 5, "keys from 0 to 5 for a width of 5"),
        (numpy.array([[-1, 0]]), 5, "keys from -1 to 0 for a width of 5"),
        (numpy.empty((1, 0), dtype=numpy.int64), 0, "for a width of 0"),
        (numpy.array([0, 1]), 5, r"must be a matrix of integers, not int64 of shape \(2,\)"),
        (numpy.array([[0.0, 1.0]]), 5, "must be a matrix of integers, not float64"),
    ],
)
def test_keys_that_are_no_columns_are_refused(keys: Any, width: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        encode_one_hot(keys, width)


def test_a_matrix_without_rows_is_an_empty_file() -> None:
    assert encode(numpy.empty((0, 3), dtype=numpy.float32)) == b""
    assert encode(scipy.sparse.csr_matrix((0, 3), dtype=numpy.float32)) == b""


def test_an_explicit_zero_is_written() -> None:
    stored_zero = scipy.sparse.csr_matrix(
        (numpy.zeros(1, dtype=numpy.float32), [2], [0, 1]), shape=(1, 300)
    )
    assert encode(stored_zero) != encode(scipy.sparse.csr_matrix((1, 300), dtype=numpy.float32))


def test_memory_order_does_not_matter() -> None:
    features = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    assert encode(numpy.asfortranarray(features)) == encode(features)
    assert encode(features[:, ::2]) == encode(features[:, ::2].copy())


def test_other_sparse_formats_are_written_as_csr() -> None:
    assert encode(SPARSE_ROW.tocsc()) == encode(SPARSE_ROW)


@pytest.mark.parametrize("dtype", ["float16", "int32", "bool", ">f4"])
def test_a_dtype_the_sdk_refuses_is_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match=r"features of dtype \S+: only float32, float64 and int64"):
        encode(DENSE_ROW.astype(dtype))
    with pytest.raises(ValueError, match="labels of dtype"):
        encode(DENSE_ROW, ONE.astype(dtype))


def test_an_integer_beyond_32_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="2147483648 doesn't fit the 32-bit integers"):
        encode(numpy.array([[1, 2**31]]))


def test_labels_must_be_one_a_row() -> None:
    with pytest.raises(ValueError, match=r"labels must be of shape \(1,\), not \(3,\)"):
        encode(DENSE_ROW, DENSE_ROW[0])


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1), (2, 0)])
def test_features_must_be_a_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be a matrix with columns"):
        encode(numpy.zeros(shape, dtype=numpy.float32))


def test_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an array or a sparse matrix"):
        encode([[1.0]])
