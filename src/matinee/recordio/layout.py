"""The layout the SageMaker SDK writes, read for a block of records at once.

A cursor per record moves over the same fields in the same order, all cursors in step. The least
deviation in any record makes `read_block` give up, without judging it: the reader then reads the
block record by record, and either accepts it or names the record at fault.
"""

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from matinee.recordio import varints
from matinee.recordio.framing import Integers, Octets
from matinee.recordio.message import float32_of, int32_of
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
from matinee.recordio.segments import gather, gather_equal, words_at

_FIXED_TYPES: dict[int, numpy.dtype[Any]] = {
    FLOAT32_TAG: numpy.dtype("<f4"),
    FLOAT64_TAG: numpy.dtype("<f8"),
}
_VALUES_KEY_WORD = int.from_bytes(VALUES_KEY, "little")
_WORD_SIZE = 8
# Keys of each record that are read one after the other, without a copy of them all.
_FEW = 4
_OCTET = numpy.uint64(0xFF)
# Lengths have no more bytes, so that sums of them cannot overflow 64 bits.
_LENGTH_SIZE = 5
LARGEST_WIDTH = (1 << 63) - 1
_TENSOR_TAGS = (FLOAT32_TAG, FLOAT64_TAG, INT32_TAG)

# What is before a tensor's values, with zeros for both tags that vary and for lengths of one byte.
_HEAD = bytes(2) + VALUES_KEY + bytes([ENTRY_VALUE_TAG, 0, 0, 0, VALUES_TAG, 0])
_HEAD_SIZE = len(_HEAD)


def _words(octets: bytes | bytearray) -> NDArray[numpy.uint64]:
    return numpy.frombuffer(octets, dtype="<u8")


# The bits of it that are known: of a length, that it has no second byte.
_HEAD_FIXED = _words(bytes(0x80 if at in (1, 11, 13, 15) else 0xFF for at in range(_HEAD_SIZE)))


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of one kind and width.

    `counts` (n,) stored values of each record and `keys` (counts.sum(),) are None for dense
    records; `labels` (n,) is None when the records have none.
    """

    width: int
    values: NDArray[numpy.float32]
    counts: Integers | None
    keys: Integers | None
    labels: NDArray[numpy.float32] | None


class _UnusualError(Exception):
    """Some record isn't laid out as the SDK does it."""


@dataclass(frozen=True, slots=True)
class _Segments:
    starts: Integers
    sizes: Integers


@dataclass(frozen=True, slots=True)
class _Tensors:
    """One tensor of every record: where its packed fields lie."""

    tag: int
    values: _Segments
    keys: _Segments
    shape: _Segments


class _Cursors:
    """A position in each record; all move on together."""

    def __init__(self, octets: Octets, starts: Integers) -> None:
        self._octets = octets
        self._words = words_at(octets, "<u8")
        self.at = starts

    def tensors(self, map_tag: int) -> _Tensors:
        """Pass a map's only entry, `values`, with the tensor it holds."""
        tag, values, entry_end = self._short_head(map_tag) or self._head(map_tag)
        if numpy.array_equal(self.at, entry_end):
            none = _Segments(self.at, numpy.zeros(self.at.size, dtype=numpy.int64))
            return _Tensors(tag, values, none, none)
        keys = self._packed(KEYS_TAG, entry_end)
        shape = self._packed(SHAPE_TAG, entry_end)
        # Positions only grow: when the last one is right, no field was read past its message.
        self.expect(self.at, entry_end)
        return _Tensors(tag, values, keys, shape)

    def expect(self, positions: Integers, expected: Integers) -> None:
        if not numpy.array_equal(positions, expected):
            raise _UnusualError

    def _short_head(self, map_tag: int) -> tuple[int, _Segments, Integers] | None:
        """Pass the same as `_head`, where each of its lengths is of one byte; else pass nothing."""
        if self.at.max() + _HEAD_SIZE > self._octets.size:
            return None
        heads = gather_equal(self._octets, self.at, _HEAD_SIZE).view("<u8")
        first, second = numpy.ascontiguousarray(heads.T)
        tag = int(second[0] >> numpy.uint64(32) & _OCTET)
        expected = bytearray(_HEAD)
        expected[0], expected[12] = map_tag, tag
        known = _words(expected)
        if (
            tag not in _TENSOR_TAGS
            or ((first & _HEAD_FIXED[0]) != known[0]).any()
            or ((second & _HEAD_FIXED[1]) != known[1]).any()
        ):
            return None
        first, second = first.view(numpy.int64), second.view(numpy.int64)
        entry_size = (first >> 8) & 127
        # Where each message ends is where the one around it does.
        self.expect((second >> 24) & 127, entry_size - 10)
        self.expect((second >> 40) & 127, entry_size - 12)
        entry_end = self.at + (entry_size + 2)
        starts = self.at + _HEAD_SIZE
        sizes = second >> 56
        self.at = starts + sizes
        return tag, _Segments(starts, sizes), entry_end

    def _head(self, map_tag: int) -> tuple[int, _Segments, Integers]:
        """Pass what is before a tensor's keys: its tag, its values and where all of it ends."""
        entry_end = self._open(map_tag)
        if (self._peek() != _VALUES_KEY_WORD).any():
            raise _UnusualError
        self.at = self.at + len(VALUES_KEY)
        self.expect(self._open(ENTRY_VALUE_TAG), entry_end)
        tag = int(self._peek()[0] & _OCTET)
        if tag not in _TENSOR_TAGS:
            raise _UnusualError
        self.expect(self._open(tag), entry_end)
        return tag, self._packed(VALUES_TAG, entry_end), entry_end

    def _peek(self) -> NDArray[numpy.uint64]:
        """Read eight bytes from each position, those after it not yet known to be the record's."""
        if self.at.max() >= self._words.size:
            raise _UnusualError
        return self._words[self.at]

    def _open(self, tag: int) -> Integers:
        """Pass the tag and length of a message; give where it ends."""
        words = self._peek()
        if ((words & _OCTET) != tag).any():
            raise _UnusualError
        sizes, passed = self._length(words)
        self.at = self.at + passed
        return self.at + sizes

    def _packed(self, tag: int, ends: Integers) -> _Segments:
        """Pass a packed field; where a record lacks it, its segment is empty."""
        words = self._peek()
        present = ((words & _OCTET) == tag) & (self.at < ends)
        if present.all():
            sizes, passed = self._length(words)
        elif not present.any():
            return _Segments(self.at, numpy.zeros(self.at.size, dtype=numpy.int64))
        else:
            sizes, passed = self._length(numpy.where(present, words, 0))
            sizes, passed = sizes * present, passed * present
        starts = self.at + passed
        self.at = starts + sizes
        return _Segments(starts, sizes)

    def _length(self, words: NDArray[numpy.uint64]) -> tuple[Integers, Integers]:
        """Read the length that follows a tag; also give how many bytes both have."""
        found = varints.first_of(words >> numpy.uint64(8), _LENGTH_SIZE)
        if found is None:
            raise _UnusualError
        sizes, passed = found
        passed += 1
        return sizes, passed


def read_block(octets: Octets, starts: Integers, ends: Integers) -> Block | None:
    """Read records that are laid out as the SDK writes them.

    Parameters
    ----------
    octets : ndarray of uint8
        The file.
    starts, ends : ndarray of int64, shape (n,), n > 0
        Where each record's payload begins and ends in it.

    Returns
    -------
    Block or None
        None if any record is laid out otherwise, differs from the others in kind, width or having
        a label, or is malformed.
    """
    first, last = int(starts[0]), int(ends[-1])
    # A word begins at every byte of the records: after the file's last one, in a copy.
    block = octets[first : last + _WORD_SIZE]
    if block.size < last - first + _WORD_SIZE:
        block = numpy.concatenate([octets[first:last], numpy.zeros(_WORD_SIZE, numpy.uint8)])
    ends = ends - first
    try:
        cursors = _Cursors(block, starts - first)
        features = cursors.tensors(FEATURES_TAG)
        label = None if numpy.array_equal(cursors.at, ends) else cursors.tensors(LABEL_TAG)
        cursors.expect(cursors.at, ends)
        labels = None if label is None else _read_labels(block, label)
        return _read_features(block, features, labels)
    except _UnusualError:
        return None


def _read_labels(octets: Octets, label: _Tensors) -> NDArray[numpy.float32]:
    values, counts = _read_values(octets, label)
    if (counts != 1).any() or label.keys.sizes.any() or label.shape.sizes.any():
        raise _UnusualError
    return values


def _read_features(
    octets: Octets, features: _Tensors, labels: NDArray[numpy.float32] | None
) -> Block:
    values, counts = _read_values(octets, features)
    width, shape_counts = _read_width(octets, features.shape)
    if width is None:
        width = int(counts[0])
    if not 0 < width <= LARGEST_WIDTH:
        raise _UnusualError
    if not features.keys.sizes.any() and counts.all():
        if (counts != width).any() or (shape_counts > 1).any():
            raise _UnusualError
        return Block(width, values, None, None, labels)
    keys = _read_keys(octets, features.keys, counts)
    if (shape_counts != 1).any() or (keys >= width).any():
        raise _UnusualError
    return Block(width, values, counts, keys.view(numpy.int64), labels)


def _read_width(octets: Octets, shapes: _Segments) -> tuple[int | None, Integers]:
    """Read the one size that all shapes are of, if there is any, and how many sizes each has."""
    size = int(shapes.sizes[0])
    if 0 < size <= _WORD_SIZE and (shapes.sizes == size).all():
        words = words_at(octets, "<u8")[shapes.starts] & varints.bits(size)
        first = varints.first_of(words[:1], size)
        if first is not None and first[1][0] == size and (words == words[0]).all():
            return int(first[0][0]), numpy.ones(shapes.sizes.size, dtype=numpy.int64)
    numbers, counts = _read_varints(octets, shapes)
    if (numbers != numbers[:1]).any():
        raise _UnusualError
    return (int(numbers[0]) if numbers.size else None), counts


def _read_keys(octets: Octets, keys: _Segments, counts: Integers) -> varints.Naturals:
    """Read as many varints of each segment as it must have."""
    if (counts == counts[0]).all() and counts[0] <= _FEW:
        columns = _read_columns(octets, keys, int(counts[0]))
        if columns is not None:
            return columns
    numbers, varint_ends = _decode_varints(octets, keys)
    if numbers.size != counts.sum():
        raise _UnusualError
    bounds = numpy.cumsum(counts)
    filled = bounds > 0
    if not filled.all():
        bounds = bounds[filled]
    if (varint_ends[bounds - 1] != numpy.cumsum(keys.sizes)[filled]).any():
        raise _UnusualError
    return numbers


def _read_values(octets: Octets, tensors: _Tensors) -> tuple[NDArray[numpy.float32], Integers]:
    """Numbers of all tensors one after another, and how many each has."""
    if tensors.tag == INT32_TAG:
        numbers, counts = _read_varints(octets, tensors.values)
        return float32_of(int32_of(numbers)), counts
    dtype = _FIXED_TYPES[tensors.tag]
    counts = tensors.values.sizes // dtype.itemsize
    if (tensors.values.sizes & (dtype.itemsize - 1)).any():
        raise _UnusualError
    numbers = gather(octets, tensors.values.starts, tensors.values.sizes, dtype.itemsize).view(
        dtype
    )
    return float32_of(numbers), counts


def _read_columns(octets: Octets, keys: _Segments, count: int) -> varints.Naturals | None:
    """Read the same few varints of each segment, one after the other; None if one is too long."""
    words = words_at(octets, "<u8")
    found = numpy.empty((keys.sizes.size, count), dtype=numpy.uint64)
    at, ends = keys.starts, keys.starts + keys.sizes
    for column in range(count):
        if (at >= ends).any():
            raise _UnusualError
        read = varints.first_of(words[at], _WORD_SIZE)
        if read is None:
            return None
        found[:, column], passed = read
        at = at + passed
    if (at != ends).any():
        raise _UnusualError
    return found.reshape(-1)


def _read_varints(octets: Octets, segments: _Segments) -> tuple[varints.Naturals, Integers]:
    """Varints of all segments one after another, and how many each has."""
    numbers, varint_ends = _decode_varints(octets, segments)
    # How many varints end by the end of each segment; one must end right there.
    segment_ends = numpy.cumsum(segments.sizes)
    finished = numpy.searchsorted(varint_ends, segment_ends, side="right")
    filled = finished > 0
    if (varint_ends[finished[filled] - 1] != segment_ends[filled]).any():
        raise _UnusualError
    return numbers, numpy.diff(finished, prepend=0)


def _decode_varints(octets: Octets, segments: _Segments) -> tuple[varints.Naturals, Integers]:
    """Varints of all segments one after another, and where each ends among the segments' bytes."""
    try:
        return varints.decode(gather(octets, segments.starts, segments.sizes))
    except ValueError as error:
        raise _UnusualError from error
