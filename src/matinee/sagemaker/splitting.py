"""Cut an object into request bodies, as batch transform's SplitType and BatchStrategy say.

MultiRecord puts as many whole records into a body as the payload limit allows; a RecordIO body then
keeps its frames. SingleRecord sends each record alone: a line without its line break, a RecordIO
record without frame and padding. A record over the limit and a broken frame are refused by place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap

# SageMaker Developer Guide, "Common Data Formats for Training": RecordIO of Apache MXNet
_MAGIC = 0xCED7230A
_HEADER = struct.Struct("<II")
# The upper three bits would say that the record goes on in the next frame.
_LENGTH_LIMIT = 1 << 29


class SplitError(ValueError):
    """An object cannot be cut into records."""


def bodies(data: mmap | bytes, split_type: str, strategy: str, limit: int) -> Iterator[bytes]:
    """Yield the bodies of the requests for an object, in order; none for an empty one.

    Parameters
    ----------
    data
        The object.
    split_type
        ``None``, ``Line`` or ``RecordIO``.
    strategy
        ``MultiRecord`` or ``SingleRecord``; without effect where nothing is split.
    limit
        Bytes a body may have.

    Raises
    ------
    SplitError
        A record is over the limit, or a RecordIO frame is broken.
    """
    if split_type == "None":
        yield from _whole(data, limit)
    elif split_type == "Line":
        yield from _lines(data, limit) if strategy == "SingleRecord" else _blocks(data, limit)
    else:
        yield from _records(data, limit) if strategy == "SingleRecord" else _frames(data, limit)


def _whole(data: mmap | bytes, limit: int) -> Iterator[bytes]:
    if len(data) > limit:
        raise SplitError(
            f"the object has {len(data)} bytes, over the payload limit of {limit}; "
            "set SplitType, or raise MaxPayloadInMB"
        )
    if len(data):
        yield data[:]


def _lines(data: mmap | bytes, limit: int) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end == -1 else end
        if end - start > limit:
            raise SplitError(f"the line at byte {start} is over the payload limit of {limit} bytes")
        if end > start:
            yield data[start:end]
        start = end + 1


def _blocks(data: mmap | bytes, limit: int) -> Iterator[bytes]:
    start, size = 0, len(data)
    while start < size:
        rest = size - start
        end = size if rest <= limit else data.rfind(b"\n", start, start + limit) + 1
        if end <= start:
            raise SplitError(f"the line at byte {start} is over the payload limit of {limit} bytes")
        yield data[start:end]
        start = end


def _records(data: mmap | bytes, limit: int) -> Iterator[bytes]:
    for start, length, _ in _walk(data, limit):
        body = start + _HEADER.size
        yield data[body : body + length]


def _frames(data: mmap | bytes, limit: int) -> Iterator[bytes]:
    first = 0
    for start, _, end in _walk(data, limit):
        if end - first > limit:
            yield data[first:start]
            first = start
    if first < len(data):
        yield data[first : len(data)]


def _walk(data: mmap | bytes, limit: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, payload length and end of each frame."""
    start, size, number = 0, len(data), 0
    while start < size:
        if size - start < _HEADER.size:
            raise _broken(number, start, f"only {size - start} bytes are left")
        magic, length = _HEADER.unpack_from(data, start)
        if magic != _MAGIC:
            raise _broken(number, start, f"it begins with {magic:#010x} and not {_MAGIC:#010x}")
        if length >= _LENGTH_LIMIT:
            raise _broken(number, start, "records of several frames are not supported")
        end = start + _HEADER.size + (length + 3) // 4 * 4
        if end > size:
            raise _broken(number, start, f"it needs {end - start} bytes, {size - start} are left")
        if end - start > limit:
            raise _broken(number, start, f"it is over the payload limit of {limit} bytes")
        yield start, length, end
        start, number = end, number + 1


def _broken(number: int, start: int, what: str) -> SplitError:
    return SplitError(f"RecordIO record {number} at byte {start}: {what}")
