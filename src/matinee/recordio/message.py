"""One `aialgs.data.Record`, read field by field: any legal protobuf, in any order and packing.

The slow road of the reader, for records that aren't laid out as the SDK writes them. Unknown fields
are skipped, repeated messages merged, the last of two equal map keys wins. Refuses wrong wire
types, lengths past the end, bad varints and proto2 groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from matinee.recordio import varints
from matinee.recordio.schema import BYTES_TAG, FLOAT32_TAG, FLOAT64_TAG, INT32_TAG

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAXIMUM_TAG = (1 << 32) - 1
_FEW_OCTETS = 16

# A map's values: the tag of the tensor that is set (0 for none) and that tensor's bytes.
Values = dict[bytes, tuple[int, bytes]]


class MessageError(ValueError):
    """Bytes that aren't a legal Record; the reader adds the record's number and offset."""


@dataclass(frozen=True, slots=True)
class Message:
    """The two maps of a Record; tensors are still serialised."""

    features: Values
    label: Values


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's fields, as stored; values cast to float32."""

    values: NDArray[numpy.float32]
    keys: varints.Naturals
    shape: varints.Naturals


def parse(payload: bytes) -> Message:
    """Read a Record's maps.

    Raises
    ------
    MessageError
        If the bytes aren't a legal Record.
    """
    message = Message({}, {})
    for number, wire_type, content in _fields(payload):
        if number in (1, 2):
            key, value = _map_entry(_delimited(content, wire_type, "map entry"))
            (message.features if number == 1 else message.label)[key] = value
        elif number in (3, 4, 5):
            _delimited(content, wire_type, "string")
    return message


def parse_tensor(value: tuple[int, bytes]) -> Tensor:
    """Read the numbers of a map's value.

    Raises
    ------
    MessageError
        If it holds no tensor, or a malformed one.
    """
    tag, body = value
    if tag == 0:
        raise MessageError("no tensor is set")
    if tag == BYTES_TAG:
        raise MessageError("the value holds bytes, not a tensor")
    numbers = {1: bytearray(), 2: bytearray(), 3: bytearray()}
    width = {FLOAT32_TAG: 4, FLOAT64_TAG: 8, INT32_TAG: 0}[tag]
    for number, wire_type, content in _fields(body):
        if number in numbers:
            size = width if number == 1 else 0
            numbers[number] += _packed(content, wire_type, size)
    keys, shape = (_unpack_varints(numbers[number]) for number in (2, 3))
    return Tensor(_unpack_values(tag, numbers[1]), keys, shape)


def _map_entry(entry: bytes) -> tuple[bytes, tuple[int, bytes]]:
    key, value = b"", b""
    for number, wire_type, content in _fields(entry):
        if number == 1:
            key = _delimited(content, wire_type, "map key")
        elif number == 2:
            # Parsing the concatenation of two messages merges them.
            value += _delimited(content, wire_type, "map value")
    return key, _value(value)


def _value(octets: bytes) -> tuple[int, bytes]:
    tag, body = 0, b""
    for number, wire_type, content in _fields(octets):
        member = number << 3 | _DELIMITED
        if member in (FLOAT32_TAG, FLOAT64_TAG, INT32_TAG, BYTES_TAG):
            tensor = _delimited(content, wire_type, "tensor")
            tag, body = member, body + tensor if member == tag else tensor
    return tag, body


def _delimited(content: bytes, wire_type: int, what: str) -> bytes:
    if wire_type != _DELIMITED:
        raise MessageError(f"wire type {wire_type} for a {what}, not {_DELIMITED}")
    return content


def _packed(content: bytes, wire_type: int, width: int) -> bytes:
    """Bring a repeated number, packed or not, to packed form; width 0 stands for varints."""
    single = {4: _FIXED32, 8: _FIXED64, 0: _VARINT}[width]
    if wire_type not in (single, _DELIMITED):
        raise MessageError(f"wire type {wire_type} for numbers, not {_DELIMITED} or {single}")
    if width and len(content) % width:
        raise MessageError(f"{len(content)} bytes of packed values, not a multiple of {width}")
    if not width and content and content[-1] > 127:
        raise MessageError("unfinished varint")
    return content


def _unpack_varints(octets: bytearray) -> varints.Naturals:
    if len(octets) < _FEW_OCTETS:
        # NumPy takes longer to begin than these few take.
        numbers, position = [], 0
        while position < len(octets):
            number, position = _read_varint(octets, position)
            numbers.append(number)
        return numpy.array(numbers, dtype=numpy.uint64)
    try:
        return varints.decode(numpy.frombuffer(octets, dtype=numpy.uint8))[0]
    except ValueError as error:
        raise MessageError(str(error)) from error


def _unpack_values(tag: int, octets: bytearray) -> NDArray[numpy.float32]:
    if tag == FLOAT32_TAG:
        return float32_of(numpy.frombuffer(octets, dtype="<f4"))
    if tag == FLOAT64_TAG:
        return float32_of(numpy.frombuffer(octets, dtype="<f8"))
    return float32_of(int32_of(_unpack_varints(octets)))


def int32_of(numbers: varints.Naturals) -> NDArray[numpy.int32]:
    """Read varints as protobuf's int32: the low 32 bits, signed."""
    return numbers.astype(numpy.uint32).view(numpy.int32)


def float32_of(numbers: NDArray[Any]) -> NDArray[numpy.float32]:
    """Cast to float32; what is too large becomes infinite, for the trainer to refuse."""
    with numpy.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(numpy.float32, copy=False)


def _fields(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Walk a message: number, wire type and bytes of each field (a varint stays encoded)."""
    position = 0
    while position < len(octets):
        tag, position = _read_varint(octets, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or tag > _MAXIMUM_TAG:
            raise MessageError(f"field number {number} isn't legal")
        start = position
        if wire_type == _VARINT:
            _, position = _read_varint(octets, position)
        elif wire_type == _DELIMITED:
            size, start = _read_varint(octets, position)
            position = start + size
        elif wire_type in _FIXED_SIZES:
            position += _FIXED_SIZES[wire_type]
        else:
            raise MessageError(f"wire type {wire_type} of field {number} isn't supported")
        if position > len(octets):
            raise MessageError(
                f"field {number} ends {position - len(octets)} bytes after its message"
            )
        yield number, wire_type, octets[start:position]


def _read_varint(octets: bytes | bytearray, position: int) -> tuple[int, int]:
    """Read one varint: its value and the position after it."""
    # Nearly all are of one byte.
    if position < len(octets) and octets[position] < 128:
        return octets[position], position + 1
    value = 0
    for index, octet in enumerate(octets[position : position + varints.MAXIMUM_SIZE]):
        value |= (octet & 127) << 7 * index
        if octet < 128:
            if value >> 64:
                raise MessageError("varint above 64 bits")
            return value, position + index + 1
    if len(octets) - position < varints.MAXIMUM_SIZE:
        raise MessageError("unfinished varint")
    raise MessageError(f"varint of more than {varints.MAXIMUM_SIZE} bytes")
