"""Protobuf's base-128 varints, many at once.

Seven bits a byte, least significant first, the high bit set on all bytes but the last. Values are
64-bit; a varint that is unfinished, longer than ten bytes or above 64 bits is refused.
"""

import numpy
from numpy.typing import NDArray

from matinee.recordio.framing import Integers, Octets

Naturals = NDArray[numpy.uint64]

MAXIMUM_SIZE = 10


def encode_one(value: int) -> bytes:
    """Encode one value, 0 <= value < 2**64."""
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode(values: Naturals) -> tuple[Octets, Integers]:
    """Encode values one after another.

    Parameters
    ----------
    values : ndarray of uint64, shape (n,)

    Returns
    -------
    octets : ndarray of uint8
        The varints, concatenated.
    sizes : ndarray of int64, shape (n,)
        Bytes of each varint.
    """
    sizes = numpy.ones(values.size, dtype=numpy.int64)
    largest = int(values.max(initial=0))
    for shift in range(7, largest.bit_length(), 7):
        sizes += values >= numpy.uint64(1 << shift)
    starts = numpy.cumsum(sizes) - sizes
    octets = numpy.empty(int(sizes.sum()), dtype=numpy.uint8)
    longest = int(sizes.max(initial=0))
    for index in range(longest):
        rows = slice(None) if index == 0 else numpy.flatnonzero(sizes > index)
        low = (values[rows] >> numpy.uint64(7 * index)).astype(numpy.uint8) & 127
        octets[starts[rows] + index] = low | ((sizes[rows] > index + 1).astype(numpy.uint8) << 7)
    return octets, sizes


def decode(octets: Octets) -> tuple[Naturals, Integers]:
    """Decode varints that follow each other without a gap.

    Parameters
    ----------
    octets : ndarray of uint8

    Returns
    -------
    values : ndarray of uint64, shape (n,)
    ends : ndarray of int64, shape (n,)
        Where each varint ends in `octets` (exclusive).

    Raises
    ------
    ValueError
        If the last varint is unfinished or one doesn't fit 64 bits.
    """
    ends = numpy.flatnonzero(octets < 128) + 1
    if octets.size != (ends[-1] if ends.size else 0):
        raise ValueError("unfinished varint")
    starts = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), ends])[:-1]
    sizes = ends - starts
    longest = int(sizes.max(initial=0))
    if longest > MAXIMUM_SIZE:
        raise ValueError(f"varint of more than {MAXIMUM_SIZE} bytes")
    values = numpy.zeros(ends.size, dtype=numpy.uint64)
    for index in range(longest):
        rows = slice(None) if index == 0 else numpy.flatnonzero(sizes > index)
        parts = octets[starts[rows] + index]
        # Nine bytes hold 63 bits, so the tenth may only add the last one.
        if index == MAXIMUM_SIZE - 1 and parts.max() > 1:
            raise ValueError("varint above 64 bits")
        values[rows] |= (parts & 127).astype(numpy.uint64) << numpy.uint64(7 * index)
    return values, ends
