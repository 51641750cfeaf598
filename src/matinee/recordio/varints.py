"""Protobuf's base-128 varints, many at once.

Seven bits a byte, least significant first, the high bit set on all bytes but the last. Values are
64-bit; a varint that is unfinished, longer than ten bytes or above 64 bits is refused. Varints of
up to eight bytes, which are nearly all, are written and read as one word each.
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from matinee.recordio.framing import Integers, Octets
from matinee.recordio.segments import words_at

Naturals = NDArray[numpy.uint64]
Words = NDArray[numpy.uint32] | NDArray[numpy.uint64]

MAXIMUM_SIZE = 10
# What `scatter` writes after a varint at most.
SLACK = 7
_WORD_SIZE = 8
_LOW = 0x7F
_MORE = 0x8080808080808080
# By the size of a varint: its bits in a word, and the high bits of all its bytes but the last.
_BITS = numpy.array([(1 << 8 * size) - 1 for size in range(_WORD_SIZE + 1)], dtype=numpy.uint64)
_CONTINUED = numpy.array(
    [_MORE & ((1 << 8 * max(size - 1, 0)) - 1) for size in range(_WORD_SIZE + 1)], numpy.uint64
)


def encode_one(value: int) -> bytes:
    """Encode one value, 0 <= value < 2**64."""
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def bits(size: int) -> numpy.uint64:
    """Return the bits of a word that hold a varint of up to eight bytes."""
    found: numpy.uint64 = _BITS[size]
    return found


def sizes_of(values: NDArray[Any]) -> Integers:
    """Return how many bytes each of some values (integers, not negative) takes."""
    sizes = numpy.ones(values.size, dtype=numpy.int64)
    for shift in range(7, int(values.max(initial=0)).bit_length(), 7):
        sizes += values >= values.dtype.type(1 << shift)
    return sizes


def scatter(octets: Octets, at: Integers, values: NDArray[Any], sizes: Integers) -> None:
    """Write varints into an array, each at a place of its own.

    Up to `SLACK` bytes after each are written over, but for those of the next varints: write what
    follows them later, and leave as many at the end.

    Parameters
    ----------
    octets : ndarray of uint8
    at : ndarray of int64, shape (n,)
        Where each varint begins, ascending.
    values : ndarray of integers, shape (n,)
    sizes : ndarray of int64, shape (n,)
        As of `sizes_of`.
    """
    longest = int(sizes.max(initial=0))
    narrow = longest <= numpy.dtype(numpy.uint32).itemsize
    kind: Any = numpy.uint32 if narrow else numpy.uint64
    left = values.astype(kind, copy=False)
    words = left & kind(_LOW)
    for index in range(1, min(longest, _WORD_SIZE)):
        words |= (left & kind(_LOW << 7 * index)) << kind(index)
    words |= _CONTINUED.astype(kind).take(sizes, mode="clip")
    if longest > _WORD_SIZE:
        words[sizes > _WORD_SIZE] |= kind(1 << 63)
    words_at(octets, words.dtype)[at] = words
    for index in range(_WORD_SIZE, longest):
        rows = numpy.flatnonzero(sizes > index)
        low = (left[rows] >> kind(7 * index)).astype(numpy.uint8) & _LOW
        octets[at[rows] + index] = low | ((sizes[rows] > index + 1).astype(numpy.uint8) << 7)


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
    sizes = sizes_of(values)
    ends = numpy.cumsum(sizes)
    octets = numpy.empty(int(ends[-1] if ends.size else 0) + SLACK, dtype=numpy.uint8)
    scatter(octets, ends - sizes, values, sizes)
    return octets[:-SLACK], sizes


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
    sizes = numpy.diff(ends, prepend=0)
    starts = ends - sizes
    longest = int(sizes.max(initial=0))
    if longest > MAXIMUM_SIZE:
        raise ValueError(f"varint of more than {MAXIMUM_SIZE} bytes")
    kind: Any = numpy.uint32 if longest <= numpy.dtype(numpy.uint32).itemsize else numpy.uint64
    padded = numpy.empty(octets.size + SLACK, dtype=numpy.uint8)
    padded[: octets.size] = octets
    words = words_at(padded, numpy.dtype(kind))[starts]
    words &= _BITS.astype(kind).take(sizes, mode="clip")
    values = fold(words, min(longest, _WORD_SIZE)).astype(numpy.uint64, copy=False)
    for index in range(_WORD_SIZE, longest):
        rows = numpy.flatnonzero(sizes > index)
        parts = octets[starts[rows] + index]
        # Nine bytes hold 63 bits, so the tenth may only add the last one.
        if index == MAXIMUM_SIZE - 1 and parts.max() > 1:
            raise ValueError("varint above 64 bits")
        values[rows] |= (parts & _LOW).astype(numpy.uint64) << numpy.uint64(7 * index)
    return values, ends


def fold(words: Words, longest: int) -> Words:
    """Bring the seven bits of each of the first `longest` bytes of words together."""
    kind: Any = words.dtype.type
    values: Words = words & kind(_LOW)
    for index in range(1, longest):
        values |= (words & kind(_LOW << 8 * index)) >> kind(index)
    return values


def first_of(words: NDArray[numpy.uint64], longest: int) -> tuple[Integers, Integers] | None:
    """Read the varint that each word begins with; None if one has no end in `longest` bytes.

    Returns
    -------
    values, sizes : ndarray of int64, shape (n,)
    """
    low = numpy.uint64(_LOW)
    if not (words & numpy.uint64(0x80)).any():
        return (words & low).view(numpy.int64), numpy.ones(words.size, dtype=numpy.int64)
    # All bits up to the first clear high bit, which ends the varint.
    ends = ~words & numpy.uint64(_MORE & ((1 << 8 * longest) - 1))
    if not ends.all():
        return None
    bits = ends ^ (ends - numpy.uint64(1))
    sizes = (numpy.bitwise_count(bits) >> 3).astype(numpy.int64)
    values: Any = fold(words & bits, int(sizes.max()))
    return values.view(numpy.int64), sizes
