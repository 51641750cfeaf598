"""Write matrices as RecordIO-protobuf, byte for byte as the SageMaker Python SDK does.

Rows whose variable parts have the same lengths share one template; the values, keys and labels are
then copied into it for all of them at once. Refuses dtypes the SDK refuses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from matinee.recordio import varints
from matinee.recordio.fields import FieldRecords, Varints, packed
from matinee.recordio.framing import Integers
from matinee.recordio.schema import (
    FLOAT32_TAG,
    FLOAT64_TAG,
    INT32_TAG,
    SHAPE_TAG,
)
from matinee.recordio.templates import TemplateRecords

if TYPE_CHECKING:
    import scipy.sparse

# Records, and numbers of them, written in one go: that bounds the memory for it.
BLOCK_ROWS = 32_768
_BLOCK_NUMBERS = 262_144

# The tensor that the SDK writes for a dtype.
_TENSOR_TAGS = {
    numpy.dtype("float32"): FLOAT32_TAG,
    numpy.dtype("float64"): FLOAT64_TAG,
    numpy.dtype("int64"): INT32_TAG,
}


def encode(features: Any, labels: NDArray[Any] | None = None) -> bytes:
    """Encode a matrix as one record a row.

    The bytes equal those of the SageMaker Python SDK's `write_numpy_to_dense_tensor` and
    `write_spmatrix_to_sparse_tensor` (`sagemaker.serializer_utils`): float32 becomes a
    Float32Tensor, float64 a Float64Tensor, int64 an Int32Tensor. Factorization Machines is
    documented for float32 only.

    Parameters
    ----------
    features : ndarray or SciPy sparse matrix, shape (n, width)
        A sparse matrix is written with keys and shape, its stored entries as they are stored:
        explicit zeros stay, order and duplicates too.
    labels : ndarray, shape (n,), optional
        One label a row.

    Returns
    -------
    bytes
        The file's content; empty for a matrix without rows.

    Raises
    ------
    TypeError
        If `features` is neither an array nor a sparse matrix.
    ValueError
        If a shape or dtype is unsupported, or an int64 doesn't fit the Int32Tensor.
    """
    # SciPy takes long to import, and those who only read need none of it.
    import scipy.sparse

    sparse = scipy.sparse.issparse(features)
    if not sparse and not isinstance(features, numpy.ndarray):
        raise TypeError(f"features must be an array or a sparse matrix, not {type(features)}")
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"features must be a matrix with columns, not of shape {features.shape}")
    matrix = features.tocsr() if sparse else features
    tag = _tensor_tag(matrix, "features")
    blocks = _sparse_blocks(matrix) if sparse else _dense_blocks(matrix)
    return _encode(blocks, matrix.shape, sparse, tag, labels)


def encode_one_hot(keys: NDArray[Any], width: int, labels: NDArray[Any] | None = None) -> bytes:
    """Encode rows of ones at given keys, as `encode` does their sparse float32 matrix.

    Parameters
    ----------
    keys : ndarray of integers, shape (n, k)
        The columns of each row's ones, in the order in which they are written.
    width : int
        Columns of the matrix.
    labels : ndarray, shape (n,), optional
        One label a row.

    Returns
    -------
    bytes
        The file's content; empty without rows.

    Raises
    ------
    ValueError
        If the keys are no matrix of integers from 0 to below the width, or the labels' shape or
        dtype is unsupported.
    """
    if keys.ndim != 2 or keys.dtype.kind not in "iu":
        raise ValueError(
            f"keys must be a matrix of integers, not {keys.dtype} of shape {keys.shape}"
        )
    if width < 1 or (keys.size and not 0 <= int(keys.min()) <= int(keys.max()) < width):
        lowest, highest = (keys.min(), keys.max()) if keys.size else ("none", "none")
        raise ValueError(f"keys from {lowest} to {highest} for a width of {width}")
    return _encode(_one_hot_blocks(keys), (len(keys), width), True, FLOAT32_TAG, labels)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Consecutive rows of a matrix, from number `first` on.

    Row i has `values[bounds[i] : bounds[i + 1]]`, and the keys of that place.
    """

    first: int
    bounds: Integers
    values: NDArray[Any]
    keys: NDArray[Any] | None


def _sparse_blocks(matrix: scipy.sparse.csr_matrix) -> Iterator[_Rows]:
    bounds = matrix.indptr.astype(numpy.int64)
    first = 0
    while first < matrix.shape[0]:
        # As many rows as hold so many numbers, and one at least.
        fitting = int(numpy.searchsorted(bounds, bounds[first] + _BLOCK_NUMBERS, side="right")) - 1
        last = max(first + 1, min(fitting, first + BLOCK_ROWS))
        begin, end = bounds[first], bounds[last]
        numbers = matrix.data[begin:end], matrix.indices[begin:end]
        yield _Rows(first, bounds[first : last + 1] - begin, *numbers)
        first = last


def _dense_blocks(matrix: NDArray[Any]) -> Iterator[_Rows]:
    rows, width = matrix.shape
    size = max(1, min(BLOCK_ROWS, _BLOCK_NUMBERS // width))
    for first in range(0, rows, size):
        block = matrix[first : first + size]
        bounds = numpy.arange(0, block.size + 1, width)
        yield _Rows(first, bounds, numpy.ascontiguousarray(block).reshape(-1), None)


def _one_hot_blocks(keys: NDArray[Any]) -> Iterator[_Rows]:
    rows, count = keys.shape
    size = max(1, min(BLOCK_ROWS, _BLOCK_NUMBERS // max(count, 1)))
    ones = numpy.ones(size * count, dtype=numpy.float32)
    bounds = numpy.arange(size + 1) * count
    for first in range(0, rows, size):
        block = keys[first : first + size]
        yield _Rows(first, bounds[: len(block) + 1], ones[: block.size], block.reshape(-1))


def _encode(
    blocks: Iterator[_Rows],
    shape: tuple[int, int],
    sparse: bool,
    tag: int,
    labels: NDArray[Any] | None,
) -> bytes:
    rows, width = shape
    label_tag = 0
    if labels is not None:
        if labels.shape != (rows,):
            raise ValueError(f"labels must be of shape ({rows},), not {labels.shape}")
        label_tag = _tensor_tag(labels, "labels")
    encoded_width = varints.encode_one(width)
    shape_field = bytes([SHAPE_TAG, len(encoded_width)]) + encoded_width if sparse else b""
    # Memory that is new costs more than what is done with it: one block's is the next one's, and
    # the file's grows in place.
    file, scratch = io.BytesIO(), numpy.empty(0, dtype=numpy.uint8)
    for block in blocks:
        counts = numpy.diff(block.bounds)
        values = packed(block.values, tag, counts)
        keys = None if block.keys is None else Varints(block.keys, counts)
        label = None
        if labels is not None:
            of_block = labels[block.first : block.first + counts.size]
            label = packed(of_block, label_tag, numpy.ones(counts.size, dtype=numpy.int64))
        tags = tag, label_tag
        records = TemplateRecords.of(values, keys, label, shape_field, tags) or FieldRecords(
            values, keys, label, shape_field, tags
        )
        if scratch.size < records.size + varints.SLACK:
            scratch = numpy.empty(records.size + varints.SLACK, dtype=numpy.uint8)
        records.write(scratch)
        file.write(scratch.data[: records.size])
    return file.getvalue()


def _tensor_tag(numbers: Any, name: str) -> int:
    tag = _TENSOR_TAGS.get(numbers.dtype)
    if tag is None:
        raise ValueError(f"{name} of dtype {numbers.dtype}: only float32, float64 and int64")
    return tag
