"""The `aialgs.data` schema for protobuf's own runtime, and a way to draw matrices.

Protobuf's serialiser and parser are the tests' independent opinion on bytes. `UnusualRecord` is the
same schema with unpacked numbers and additional fields: legal for a reader of `Record`.
"""

from typing import Any

import numpy
import scipy.sparse
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from hypothesis import strategies
from hypothesis.strategies import DrawFn, SearchStrategy

Field = descriptor_pb2.FieldDescriptorProto


def _field(message: Any, name: str, number: int, kind: int, **options: Any) -> None:
    label = Field.LABEL_REPEATED if "packed" in options else Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, type=kind, label=label)
    if "packed" in options:
        field.options.packed = options["packed"]
    if "type_name" in options:
        field.type_name = options["type_name"]


def _record_class(package: str, *, packed: bool, extended: bool) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package)
    for name, kind in (
        ("Float32Tensor", Field.TYPE_FLOAT),
        ("Float64Tensor", Field.TYPE_DOUBLE),
        ("Int32Tensor", Field.TYPE_INT32),
    ):
        tensor = file.message_type.add(name=name)
        _field(tensor, "values", 1, kind, packed=packed)
        _field(tensor, "keys", 2, Field.TYPE_UINT64, packed=packed)
        _field(tensor, "shape", 3, Field.TYPE_UINT64, packed=packed)
        if extended:
            _field(tensor, "later", 9, Field.TYPE_FIXED32)
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    members = (("float32_tensor", 2, "Float32"), ("float64_tensor", 3, "Float64"))
    for name, number, tensor in (*members, ("int32_tensor", 7, "Int32")):
        _field(value, name, number, Field.TYPE_MESSAGE, type_name=f".{package}.{tensor}Tensor")
        value.field[-1].oneof_index = 0
    record = file.message_type.add(name="Record")
    for name, number in (("features", 1), ("label", 2)):
        entry = record.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _field(entry, "key", 1, Field.TYPE_STRING)
        _field(entry, "value", 2, Field.TYPE_MESSAGE, type_name=f".{package}.Value")
        field = record.field.add(name=name, number=number, type=Field.TYPE_MESSAGE)
        field.label = Field.LABEL_REPEATED
        field.type_name = f".{package}.Record.{entry.name}"
    for name, number in (("uid", 3), ("metadata", 4), ("configuration", 5)):
        _field(record, name, number, Field.TYPE_STRING)
    if extended:
        _field(record, "counter", 900, Field.TYPE_UINT64)
        _field(record, "instant", 901, Field.TYPE_FIXED64)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Record"))


Record = _record_class("aialgs.data", packed=True, extended=False)
UnusualRecord = _record_class("unusual", packed=False, extended=True)

TENSORS = {"float32": "float32_tensor", "float64": "float64_tensor", "int64": "int32_tensor"}


def record_of(features: Any, row: int, labels: Any, kind: Any = Record) -> Any:
    """Build the message for a matrix's row."""
    record = kind()
    tensor = getattr(record.features["values"], TENSORS[str(features.dtype)])
    if scipy.sparse.issparse(features):
        stored = slice(features.indptr[row], features.indptr[row + 1])
        tensor.values.extend(features.data[stored].tolist())
        tensor.keys.extend(features.indices[stored].tolist())
        tensor.shape.append(features.shape[1])
    else:
        tensor.values.extend(features[row].tolist())
    if labels is not None:
        label = getattr(record.label["values"], TENSORS[str(labels.dtype)])
        label.values.append(labels[row].item())
    return record


def numbers(dtype: str) -> SearchStrategy[Any]:
    if dtype == "int64":
        return strategies.integers(-(2**31), 2**31 - 1)
    return strategies.floats(width=32, allow_nan=False)


def dtypes() -> SearchStrategy[str]:
    return strategies.sampled_from(list(TENSORS))


@strategies.composite
def labelled_matrices(draw: DrawFn, sparse: bool | None = None) -> tuple[Any, Any]:
    """Draw features (CSR with any order and duplicates of keys, or dense) and labels or None."""
    dtype = draw(dtypes())
    rows = draw(strategies.integers(1, 6))
    if draw(strategies.booleans()) if sparse is None else sparse:
        # Both sides of every varint length.
        width = draw(strategies.sampled_from([1, 127, 128, 129, 16_384, 16_385, 2**28, 2**35]))
        keys = strategies.lists(strategies.integers(0, width - 1), max_size=5)
        stored = draw(strategies.lists(keys, min_size=rows, max_size=rows))
        bounds = numpy.cumsum([0] + [len(row) for row in stored])
        indices = numpy.array([key for row in stored for key in row], dtype=numpy.int64)
        values = draw(
            strategies.lists(numbers(dtype), min_size=len(indices), max_size=len(indices))
        )
        parts = (numpy.array(values, dtype=dtype), indices, bounds)
        features = scipy.sparse.csr_matrix(parts, shape=(rows, width))
    else:
        width = draw(strategies.sampled_from([1, 3, 32, 200]))
        first = draw(strategies.lists(numbers(dtype), min_size=rows, max_size=rows))
        features = numpy.zeros((rows, width), dtype=dtype)
        features[:, -1] = first
    if draw(strategies.booleans()):
        return features, None
    label_dtype = draw(dtypes())
    labels = draw(strategies.lists(numbers(label_dtype), min_size=rows, max_size=rows))
    return features, numpy.array(labels, dtype=label_dtype)
