"""RecordIO frames: magic, payload length, payload, zero padding to a multiple of four bytes.

Finds where every record of a file begins and refuses a file whose frames don't close exactly.
Frames are followed by their lengths, because the SageMaker SDK never escapes the magic inside a
payload. Records split over several frames (a set continuation flag) are refused.
"""

import struct
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
    offsets = _chained_frames(octets)
    return _walked_frames(octets) if offsets is None else offsets


def payload_sizes(octets: Octets, offsets: Integers) -> Integers:
    """Read the payload length of each frame that begins at `offsets` (int64, bytes)."""
    words = octets[: octets.size // 4 * 4].view("<u4")
    return words[offsets // 4 + 1].astype(numpy.int64)


def _chained_frames(octets: Octets) -> Integers | None:
    """Find all frames at once: every aligned magic must begin the frame after the one before.

    None when they don't chain, be it for a payload that holds the magic or for a malformed frame.
    """
    if octets.size == 0 or octets.size % 4:
        return None
    words = octets.view("<u4")
    starts = numpy.flatnonzero(words == MAGIC)
    if starts.size == 0 or starts[0] != 0 or starts[-1] == words.size - 1:
        return None
    sizes = words[starts + 1].astype(numpy.int64)
    following = starts + 2 + (sizes + 3) // 4
    if (
        sizes.max() > MAXIMUM_PAYLOAD
        or following[-1] != words.size
        or not numpy.array_equal(following[:-1], starts[1:])
    ):
        return None
    used = sizes % 4
    padded = used > 0
    if (words[following[padded] - 1].astype(numpy.int64) >> (8 * used[padded])).any():
        return None
    return numpy.append(starts, words.size) * 4


def _walked_frames(octets: Octets) -> Integers:
    """Follow the frames one by one, to read any legal file and to name the first bad frame."""
    data = octets.data
    offsets = [0]
    while (offset := offsets[-1]) < len(data):
        record = len(offsets) - 1
        if len(data) - offset < HEADER_SIZE:
            raise RecordIOError(
                record, offset, f"truncated header: {len(data) - offset} of {HEADER_SIZE} bytes"
            )
        magic, size = _HEADER.unpack_from(data, offset)
        if magic != MAGIC:
            raise RecordIOError(record, offset, f"bad magic 0x{magic:08X}, not 0x{MAGIC:08X}")
        if size > MAXIMUM_PAYLOAD:
            raise RecordIOError(
                record, offset, f"continuation flag {size >> 29} is set: multi-part record"
            )
        end = offset + HEADER_SIZE + size
        if end > len(data):
            left = len(data) - offset - HEADER_SIZE
            raise RecordIOError(record, offset, f"truncated payload: {left} of {size} bytes")
        padding = bytes(data[end : end + -size % 4])
        if padding != bytes(-size % 4):
            raise RecordIOError(
                record,
                offset,
                f"bad padding after the payload: {padding.hex() or 'nothing'}, "
                f"not {-size % 4} zero bytes",
            )
        offsets.append(end + len(padding))
    return numpy.array(offsets, dtype=numpy.int64)
