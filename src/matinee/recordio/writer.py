"""Write matrices as RecordIO-protobuf, byte for byte as the SageMaker Python SDK does.

Rows whose variable parts have the same lengths share one template; the values, keys and labels are
then copied into it for all of them at once. Refuses dtypes the SDK refuses.
"""

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from matinee.recordio import varints
from matinee.recordio.framing import HEADER_SIZE, Integers, Octets, check_payload_size, frame
from matinee.recordio.schema import (
    ENTRY_VALUE_TAG,
    FEATURES_TAG,
    FLOAT32_TAG,
    FLOAT64_TAG,
    INT32_TAG,
    KEYS_TAG,
    LABEL_TAG,
    SHAPE_TAG,
    VALUES_KEY,
    VALUES_TAG,
)
from matinee.recordio.segments import gather_equal, scatter_equal

# Records written in one go: few enough for their bytes to stay in the cache.
BLOCK_ROWS = 16_384

# The tensor that the SDK writes for a dtype.
_TENSOR_TAGS = {
    numpy.dtype("float32"): FLOAT32_TAG,
    numpy.dtype("float64"): FLOAT64_TAG,
    numpy.dtype("int64"): INT32_TAG,
}


@dataclass(frozen=True, slots=True)
class _Column:
    """One packed field of every row: `octets[offsets[i] : offsets[i + 1]]` belongs to row i."""

    octets: Octets
    offsets: Integers

    @property
    def sizes(self) -> Integers:
        return numpy.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class _Template:
    """A framed record with zeros for its variable parts, and where those begin."""

    octets: bytes
    values_at: int
    keys_at: int
    label_at: int


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
    rows, width = matrix.shape
    tag = _tensor_tag(matrix, "features")
    label_tag = None
    if labels is not None:
        if labels.shape != (rows,):
            raise ValueError(f"labels must be of shape ({rows},), not {labels.shape}")
        label_tag = _tensor_tag(labels, "labels")
    shape = _field(SHAPE_TAG, varints.encode_one(width)) if sparse else b""
    blocks = []
    for first in range(0, rows, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, rows)
        if sparse:
            begin, end = matrix.indptr[first], matrix.indptr[last]
            bounds = matrix.indptr[first : last + 1].astype(numpy.int64) - begin
            values = _column(matrix.data[begin:end], tag, bounds)
            keys = _varint_column(matrix.indices[begin:end].astype(numpy.uint64), bounds)
        else:
            bounds = numpy.arange(last - first + 1, dtype=numpy.int64) * width
            values = _column(matrix[first:last].reshape(-1), tag, bounds)
            keys = _no_column(last - first)
        if labels is None or label_tag is None:
            label = _no_column(last - first)
        else:
            label = _column(labels[first:last], label_tag, numpy.arange(last - first + 1))
        blocks.append(_encode_block(values, keys, label, shape, tag, label_tag))
    return b"".join(blocks)


def _tensor_tag(numbers: Any, name: str) -> int:
    tag = _TENSOR_TAGS.get(numbers.dtype)
    if tag is None:
        raise ValueError(f"{name} of dtype {numbers.dtype}: only float32, float64 and int64")
    return tag


def _column(numbers: NDArray[Any], tag: int, bounds: Integers) -> _Column:
    """Serialise numbers; row i has those from `bounds[i]` to `bounds[i + 1]`."""
    if tag != INT32_TAG:
        octets = numpy.ascontiguousarray(numbers).view(numpy.uint8)
        return _Column(octets, bounds * numbers.itemsize)
    limits = numpy.iinfo(numpy.int32)
    unfit = numbers[(numbers < limits.min) | (numbers > limits.max)]
    if unfit.size:
        raise ValueError(f"{unfit[0]} doesn't fit the 32-bit integers of an Int32Tensor")
    return _varint_column(numpy.ascontiguousarray(numbers).view(numpy.uint64), bounds)


def _varint_column(numbers: varints.Naturals, bounds: Integers) -> _Column:
    octets, sizes = varints.encode(numbers)
    ends = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), numpy.cumsum(sizes)])
    return _Column(octets, ends[bounds])


def _no_column(rows: int) -> _Column:
    return _Column(numpy.empty(0, numpy.uint8), numpy.zeros(rows + 1, dtype=numpy.int64))


def _encode_block(
    values: _Column, keys: _Column, label: _Column, shape: bytes, tag: int, label_tag: int | None
) -> bytes:
    """Write records group by group: a group's variable parts have equal lengths."""
    sizes = numpy.stack([values.sizes, keys.sizes, label.sizes])
    radix = sizes.max(axis=1) + 1
    code = (sizes[0] * radix[1] + sizes[1]) * radix[2] + sizes[2]
    order = numpy.argsort(code, kind="stable")
    groups = numpy.split(order, numpy.flatnonzero(numpy.diff(code[order])) + 1)
    templates = []
    for group in groups:
        values_size, keys_size, label_size = sizes[:, group[0]].tolist()
        templates.append(_template(values_size, keys_size, label_size, shape, tag, label_tag))
    if len(groups) == 1:
        return _fill(templates[0], groups[0], values, keys, label).tobytes()
    lengths = numpy.empty(code.size, dtype=numpy.int64)
    for template, group in zip(templates, groups, strict=True):
        lengths[group] = len(template.octets)
    starts = numpy.cumsum(lengths) - lengths
    block = numpy.empty(int(lengths.sum()), dtype=numpy.uint8)
    for template, group in zip(templates, groups, strict=True):
        scatter_equal(block, starts[group], _fill(template, group, values, keys, label))
    return block.tobytes()


def _fill(
    template: _Template, group: Integers, values: _Column, keys: _Column, label: _Column
) -> Octets:
    """Copy the variable parts of the rows `group` into as many copies of the template."""
    records = numpy.empty((group.size, len(template.octets)), dtype=numpy.uint8)
    records[:] = numpy.frombuffer(template.octets, dtype=numpy.uint8)
    parts = ((values, template.values_at), (keys, template.keys_at), (label, template.label_at))
    for column, at in parts:
        starts = column.offsets[group]
        size = int(column.offsets[group[0] + 1] - starts[0])
        if size:
            records[:, at : at + size] = gather_equal(column.octets, starts, size)
    return records


def _template(
    values_size: int,
    keys_size: int,
    label_size: int,
    shape: bytes,
    tag: int,
    label_tag: int | None,
) -> _Template:
    values = _packed(VALUES_TAG, values_size)
    keys = _packed(KEYS_TAG, keys_size)
    features = _map_entry(FEATURES_TAG, tag, values + keys + shape)
    label = (
        b""
        if label_tag is None
        else _map_entry(LABEL_TAG, label_tag, _packed(VALUES_TAG, label_size))
    )
    check_payload_size(len(features) + len(label))
    octets = frame(features + label)
    features_end = HEADER_SIZE + len(features)
    values_end = features_end - len(shape) - len(keys)
    return _Template(
        octets,
        values_at=values_end - values_size,
        keys_at=values_end + len(keys) - keys_size,
        label_at=features_end + len(label) - label_size,
    )


def _map_entry(map_tag: int, tensor_tag: int, tensor: bytes) -> bytes:
    value = _field(ENTRY_VALUE_TAG, _field(tensor_tag, tensor))
    return _field(map_tag, VALUES_KEY + value)


def _packed(tag: int, size: int) -> bytes:
    """A packed field of `size` zero bytes; protobuf leaves an empty one out."""
    return _field(tag, bytes(size)) if size else b""


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + varints.encode_one(len(content)) + content
