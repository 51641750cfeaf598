"""RecordIO frames: magic, payload length, payload, zero padding to a multiple of four bytes.

Finds where every record of a file begins and refuses a file whose frames don't close exactly.
Frames are followed by their lengths, because the SageMaker SDK never escapes the magic inside a
payload. Records split over several frames (a set continuation flag) are refused.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from mmap import mmap

import numpy
from numpy.typing import NDArray

MAGIC = 0xCED7230A
HEADER_SIZE = 8
# The three high bits of the length are dmlc's continuation flag.
MAXIMUM_PAYLOAD = (1 << 29) - 1

Buffer = bytes | bytearray | memoryview | mmap
Octets = NDArray[numpy.uint8]
Integers = NDArray[numpy.int64]

_HEADER = struct.Struct("<II")
# Bytes looked through at once: bounds what is kept of a file, and stays in the cache.
_WINDOW = 1 << 20


class RecordIOError(ValueError):
    """A file that isn't legal RecordIO-protobuf, at one of its records.

    Attributes
    ----------
    record : int
        Number of the record in the file, from 0.
    offset : int
        Byte offset of the record's frame in the file.
    problem : str
        What is wrong with it.
    """

    def __init__(self, record: int, offset: int, problem: str) -> None:
        super().__init__(record, offset, problem)
        self.record = record
        self.offset = offset
        self.problem = problem

    def __str__(self) -> str:
        return f"record {self.record} at byte {self.offset}: {self.problem}"


def frame(payload: bytes) -> bytes:
    """Frame one payload.

    Parameters
    ----------
    payload : bytes
        A serialised record, below 512 MiB.

    Returns
    -------
    bytes
        Header, payload and padding.

    Raises
    ------
    ValueError
        If the payload is too long for a frame's 29-bit length.
    """
    check_payload_size(len(payload))
    return _HEADER.pack(MAGIC, len(payload)) + payload + bytes(-len(payload) % 4)


def frames(data: Buffer) -> Integers:
    """Find the frames of a file.

    Parameters
    ----------
    data : bytes, bytearray, memoryview or mmap
        A whole RecordIO file.

    Returns
    -------
    ndarray of int64, shape (records + 1,)
        Byte offset of each frame; the last element is the length of the file.

    Raises
    ------
    RecordIOError
        At the first frame that is truncated, has a wrong magic, a set continuation flag, or
        padding that isn't zero.
    """
    return find_frames(as_octets(data))


def as_octets(data: Buffer) -> Octets:
    """View a buffer as an array of bytes, without copying it."""
    return numpy.frombuffer(data, dtype=numpy.uint8)


def check_payload_size(size: int) -> None:
    """Refuse a payload of `size` bytes that a frame cannot hold."""
    if size > MAXIMUM_PAYLOAD:
        raise ValueError(f"a record of {size} bytes is above the limit of {MAXIMUM_PAYLOAD}")


def find_frames(octets: Octets) -> Integers:
    """Find the frames of a file given as an array; see `frames`."""
    windows = [offsets[:-1] for offsets in frame_windows(octets)]
    return numpy.concatenate([*windows, numpy.array([octets.size], dtype=numpy.int64)])


def frame_windows(octets: Octets) -> Iterator[Integers]:
    """Find the frames of a file, about a megabyte of it at a time.

    Yields
    ------
    ndarray of int64, shape (frames + 1,)
        Byte offset of each of some consecutive frames, and where the last of them ends.

    Raises
    ------
    RecordIOError
        As `frames` does, when the bad frame is reached.
    """
    record, start = 0, 0
    while start < octets.size:
        offsets = _chained_frames(octets, start)
        if offsets is None:
            offsets = _walked_frames(octets, start, record)
        yield offsets
        record, start = record + offsets.size - 1, int(offsets[-1])


def frame_size(data: bytes, offset: int = 0) -> int:
    """Read the size of the frame that begins at an offset; 0 without a whole, legal header."""
    if len(data) - offset < HEADER_SIZE:
        return 0
    magic, size = _HEADER.unpack_from(data, offset)
    return HEADER_SIZE + size + -size % 4 if magic == MAGIC and size <= MAXIMUM_PAYLOAD else 0


def whole_frames(data: bytes) -> int:
    """Find how many bytes of the beginning of a file hold only whole frames, if it is well-formed.

    The last whole frame may be left out. Of a malformed file these are all bytes, so that who reads
    them comes upon what is wrong.
    """
    octets = as_octets(data)
    words = octets[: octets.size // 4 * 4].view("<u4")
    starts = numpy.flatnonzero(words == MAGIC)
    if starts.size > 1:
        # The last magic begins a frame, unless it is inside a payload.
        end = int(starts[-1]) * 4
        with suppress(RecordIOError):
            for _ in frame_windows(octets[:end]):
                pass
            return end
    offset = 0
    while offset + HEADER_SIZE <= len(data):
        size = frame_size(data, offset)
        if not size:
            return len(data)
        if offset + size > len(data):
            break
        offset += size
    return offset


def payload_sizes(octets: Octets, offsets: Integers) -> Integers:
    """Read the payload length of each frame that begins at `offsets` (int64, bytes)."""
    words = octets[: octets.size // 4 * 4].view("<u4")
    sizes: Integers = words[(offsets >> 2) + 1].astype(numpy.int64)
    return sizes


def _chained_frames(octets: Octets, start: int) -> Integers | None:
    """Find a window's frames at once: each aligned magic must begin the frame after the last one.

    None when they don't chain, be it for a payload that holds the magic or for a malformed frame.
    """
    words = octets[: octets.size // 4 * 4].view("<u4")
    first = start // 4
    # The last word of a window is left to the next one: a frame's length follows its magic.
    last = min(first + _WINDOW // 4, words.size - 1)
    starts = first + numpy.flatnonzero(words[first:last] == MAGIC)
    if starts.size == 0 or starts[0] != first:
        return None
    sizes = words[starts + 1].astype(numpy.int64)
    following = starts + 2 + ((sizes + 3) >> 2)
    if (
        sizes.max() > MAXIMUM_PAYLOAD
        or following[-1] > words.size
        or not numpy.array_equal(following[:-1], starts[1:])
    ):
        return None
    used = sizes & 3
    padded = used > 0
    if (words[following[padded] - 1].astype(numpy.int64) >> (8 * used[padded])).any():
        return None
    return numpy.append(starts, following[-1]) * 4


def _walked_frames(octets: Octets, start: int, record: int) -> Integers:
    """Follow a window's frames one by one, to read any legal file and to name the first bad frame.

    `record` is the number of the first one in the file.
    """
    data = octets.data
    offsets = [start]
    while (offset := offsets[-1]) < min(start + _WINDOW, len(data)):
        number = record + len(offsets) - 1
        if len(data) - offset < HEADER_SIZE:
            raise RecordIOError(
                number, offset, f"truncated header: {len(data) - offset} of {HEADER_SIZE} bytes"
            )
        magic, size = _HEADER.unpack_from(data, offset)
        if magic != MAGIC:
            raise RecordIOError(number, offset, f"bad magic 0x{magic:08X}, not 0x{MAGIC:08X}")
        if size > MAXIMUM_PAYLOAD:
            raise RecordIOError(
                number, offset, f"continuation flag {size >> 29} is set: multi-part record"
            )
        end = offset + HEADER_SIZE + size
        if end > len(data):
            left = len(data) - offset - HEADER_SIZE
            raise RecordIOError(number, offset, f"truncated payload: {left} of {size} bytes")
        padding = bytes(data[end : end + -size % 4])
        if padding != bytes(-size % 4):
            raise RecordIOError(
                number,
                offset,
                f"bad padding after the payload: {padding.hex() or 'nothing'}, "
                f"not {-size % 4} zero bytes",
            )
        offsets.append(end + len(padding))
    return numpy.array(offsets, dtype=numpy.int64)
