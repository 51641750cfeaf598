"""Cut an object into request bodies, as batch transform's SplitType and BatchStrategy say.

MultiRecord puts as many whole records into a body as the payload limit allows; RecordIO and
TFRecord bodies then keep their frames. SingleRecord sends each record alone: a line without its
line break, a record without frame and padding. A record over the limit and a broken frame are
refused by place. The bodies are views of the object: nothing is copied. What TFRecord frames say of
their length is checked; the check sum of their data is for the container to look at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

Body = memoryview | bytes

# SageMaker Developer Guide, "Common Data Formats for Training": RecordIO of Apache MXNet
_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_HEADER = struct.Struct("<II")
# The upper three bits of the length say which part of a record a frame is.
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
# TensorFlow, "TFRecord and tf.train.Example": length, its check sum, data, their check sum
_TF_HEADER, _TF_FOOTER_BYTES = struct.Struct("<QI"), 4


class SplitError(ValueError):
    """An object cannot be cut into records."""


class _Record(NamedTuple):
    """Where a record begins and ends with its frames, and where its parts are."""

    start: int
    end: int
    parts: list[slice]


def bodies(data: mmap | bytes, split_type: str, strategy: str, limit: float) -> Iterator[Body]:
    """Yield the bodies of the requests for an object, in order; none for an empty one.

    Parameters
    ----------
    data
        The object.
    split_type
        ``None``, ``Line``, ``RecordIO`` or ``TFRecord``.
    strategy
        ``MultiRecord`` or ``SingleRecord``; without effect where nothing is split.
    limit
        Bytes a body may have; infinity for no limit.

    Raises
    ------
    SplitError
        A record is over the limit, or a frame is broken.
    """
    is_single = strategy == "SingleRecord"
    if split_type == "None":
        yield from _whole(data, limit)
    elif split_type == "Line":
        yield from _lines(data, limit) if is_single else _blocks(data, limit)
    else:
        read = _recordio if split_type == "RecordIO" else _tfrecord
        records = read(data, limit)
        yield from _payloads(data, records) if is_single else _frames(data, records, limit)


def _whole(data: mmap | bytes, limit: float) -> Iterator[Body]:
    if len(data) > limit:
        raise SplitError(
            f"the object has {len(data)} bytes, over the payload limit of {limit}; "
            "set SplitType, or raise MaxPayloadInMB"
        )
    if len(data):
        yield memoryview(data)


def _lines(data: mmap | bytes, limit: float) -> Iterator[Body]:
    view, start = memoryview(data), 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end == -1 else end
        if end - start > limit:
            raise _long_line(start, limit)
        if end > start:
            yield view[start:end]
        start = end + 1


def _blocks(data: mmap | bytes, limit: float) -> Iterator[Body]:
    view, start, size = memoryview(data), 0, len(data)
    while start < size:
        fits = size - start <= limit
        end = size if fits else data.rfind(b"\n", start, start + int(limit)) + 1
        if end <= start:
            raise _long_line(start, limit)
        yield view[start:end]
        start = end


def _long_line(start: int, limit: float) -> SplitError:
    return SplitError(f"the line at byte {start} is over the payload limit of {limit} bytes")


def _payloads(data: mmap | bytes, records: Iterator[_Record]) -> Iterator[Body]:
    view = memoryview(data)
    for record in records:
        if len(record.parts) == 1:
            yield view[record.parts[0]]
        else:
            # A writer cuts a record where it holds the magic number, and leaves that out.
            yield _MAGIC_BYTES.join(view[part] for part in record.parts)


def _frames(data: mmap | bytes, records: Iterator[_Record], limit: float) -> Iterator[Body]:
    view, first = memoryview(data), 0
    for record in records:
        if record.end - first > limit:
            yield view[first : record.start]
            first = record.start
    if first < len(data):
        yield view[first : len(data)]


def _recordio(data: mmap | bytes, limit: float) -> Iterator[_Record]:
    start, size, number = 0, len(data), 0
    while start < size:
        end, parts = start, list[slice]()
        while True:
            where = f"RecordIO record {number} at byte {start}"
            part, flag, end = _recordio_frame(data, end, where)
            if flag not in ((_MIDDLE, _LAST) if parts else (_WHOLE, _FIRST)):
                raise SplitError(f"{where}: its frames are not in order")
            parts.append(part)
            if flag in {_WHOLE, _LAST}:
                break
        if end - start > limit:
            raise SplitError(f"{where}: it is over the payload limit of {limit} bytes")
        yield _Record(start, end, parts)
        start, number = end, number + 1


def _recordio_frame(data: mmap | bytes, start: int, where: str) -> tuple[slice, int, int]:
    """Return the place of a frame's data, which part of a record it is, and its end."""
    left = len(data) - start
    if left < _HEADER.size:
        raise SplitError(f"{where}: only {left} bytes are left")
    magic, word = _HEADER.unpack_from(data, start)
    if magic != _MAGIC:
        raise SplitError(f"{where}: it begins with {magic:#010x} and not {_MAGIC:#010x}")
    flag, length = divmod(word, 1 << _LENGTH_BITS)
    needed = _HEADER.size + (length + 3) // 4 * 4
    if needed > left:
        raise SplitError(f"{where}: it needs {needed} bytes, {left} are left")
    begin = start + _HEADER.size
    return slice(begin, begin + length), flag, start + needed


def _tfrecord(data: mmap | bytes, limit: float) -> Iterator[_Record]:
    start, size, number = 0, len(data), 0
    while start < size:
        where, left = f"TFRecord record {number} at byte {start}", size - start
        if left < _TF_HEADER.size + _TF_FOOTER_BYTES:
            raise SplitError(f"{where}: only {left} bytes are left")
        length, check = _TF_HEADER.unpack_from(data, start)
        if _masked_crc32c(data[start : start + 8]) != check:
            raise SplitError(f"{where}: its length does not fit its check sum")
        begin = start + _TF_HEADER.size
        end = begin + length + _TF_FOOTER_BYTES
        if end > size:
            raise SplitError(f"{where}: it needs {end - start} bytes, {left} are left")
        if end - start > limit:
            raise SplitError(f"{where}: it is over the payload limit of {limit} bytes")
        yield _Record(start, end, [slice(begin, begin + length)])
        start, number = end, number + 1


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            # The polynomial of Castagnoli, its bits in reverse order
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _crc32c_table()


def _masked_crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC32C[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
