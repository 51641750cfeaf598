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
from matinee.recordio.segments import gather, gather_equal

_FIXED_TYPES: dict[int, numpy.dtype[Any]] = {
    FLOAT32_TAG: numpy.dtype("<f4"),
    FLOAT64_TAG: numpy.dtype("<f8"),
}
_VALUES_KEY_WORD = int.from_bytes(VALUES_KEY, "little")
# Lengths and shapes stay below this, so that sums of them cannot overflow 64 bits.
_LENGTH_BITS = 35
LARGEST_WIDTH = (1 << 63) - 1
_EVERY_ROW = slice(None)


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
        self.octets = octets
        self.at = starts.copy()

    def tensors(self, map_tag: int) -> _Tensors:
        """Pass a map's only entry, `values`, with the tensor it holds."""
        entry_end = self._open(map_tag)
        if self.at.max() + len(VALUES_KEY) > self.octets.size:
            raise _UnusualError
        words = gather_equal(self.octets, self.at, len(VALUES_KEY)).view("<u8")
        if (words != _VALUES_KEY_WORD).any():
            raise _UnusualError
        self.at += len(VALUES_KEY)
        self.expect(self._open(ENTRY_VALUE_TAG), entry_end)
        tag = int(self._peek()[0])
        if tag not in (FLOAT32_TAG, FLOAT64_TAG, INT32_TAG):
            raise _UnusualError
        self.expect(self._open(tag), entry_end)
        values = self._packed(VALUES_TAG, entry_end)
        keys = self._packed(KEYS_TAG, entry_end)
        shape = self._packed(SHAPE_TAG, entry_end)
        # Positions only grow: when the last one is right, no field was read past its message.
        self.expect(self.at, entry_end)
        return _Tensors(tag, values, keys, shape)

    def expect(self, positions: Integers, expected: Integers) -> None:
        if not numpy.array_equal(positions, expected):
            raise _UnusualError

    def _peek(self, rows: Integers | slice = _EVERY_ROW) -> Octets:
        positions = self.at[rows]
        if positions.max(initial=0) >= self.octets.size:
            raise _UnusualError
        return self.octets[positions]

    def _open(self, tag: int) -> Integers:
        """Pass the tag and length of a message; give where it ends."""
        if (self._peek() != tag).any():
            raise _UnusualError
        self.at += 1
        size = self._varint(_EVERY_ROW)
        return self.at + size

    def _packed(self, tag: int, ends: Integers) -> _Segments:
        """Pass a packed field; where a record lacks it, its segment is empty."""
        inside = numpy.minimum(self.at, self.octets.size - 1)
        present = (self.at < ends) & (self.octets[inside] == tag)
        rows = _EVERY_ROW if present.all() else numpy.flatnonzero(present)
        self.at[rows] += 1
        sizes = numpy.zeros(self.at.size, dtype=numpy.int64)
        sizes[rows] = self._varint(rows)
        starts = self.at.copy()
        self.at += sizes
        return _Segments(starts, sizes)

    def _varint(self, rows: Integers | slice) -> Integers:
        """Read a varint in the given rows and pass it."""
        parts = self._peek(rows)
        self.at[rows] += 1
        values = (parts & 127).astype(numpy.int64)
        unfinished = numpy.flatnonzero(parts > 127)
        if unfinished.size == 0:
            return values
        places = unfinished if isinstance(rows, slice) else rows[unfinished]
        for shift in range(7, _LENGTH_BITS, 7):
            parts = self._peek(places)
            self.at[places] += 1
            values[unfinished] |= (parts & 127).astype(numpy.int64) << shift
            more = parts > 127
            unfinished, places = unfinished[more], places[more]
            if unfinished.size == 0:
                return values
        raise _UnusualError


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
    try:
        cursors = _Cursors(octets, starts)
        features = cursors.tensors(FEATURES_TAG)
        label = None if numpy.array_equal(cursors.at, ends) else cursors.tensors(LABEL_TAG)
        cursors.expect(cursors.at, ends)
        labels = None if label is None else _read_labels(octets, label)
        return _read_features(octets, features, labels)
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
    keys, key_counts = _read_varints(octets, features.keys)
    shapes, shape_counts = _read_varints(octets, features.shape)
    width = int(shapes[0] if shapes.size else counts[0])
    if not 0 < width <= LARGEST_WIDTH or (shapes != width).any():
        raise _UnusualError
    if keys.size == 0 and counts.all():
        if (counts != width).any() or (shape_counts > 1).any():
            raise _UnusualError
        return Block(width, values, None, None, labels)
    if (shape_counts != 1).any() or (counts != key_counts).any() or (keys >= width).any():
        raise _UnusualError
    return Block(width, values, counts, keys.astype(numpy.int64), labels)


def _read_values(octets: Octets, tensors: _Tensors) -> tuple[NDArray[numpy.float32], Integers]:
    """Numbers of all tensors one after another, and how many each has."""
    if tensors.tag == INT32_TAG:
        numbers, counts = _read_varints(octets, tensors.values)
        return float32_of(int32_of(numbers)), counts
    dtype = _FIXED_TYPES[tensors.tag]
    counts, rest = numpy.divmod(tensors.values.sizes, dtype.itemsize)
    if rest.any():
        raise _UnusualError
    numbers = gather(octets, tensors.values.starts, tensors.values.sizes).view(dtype)
    return float32_of(numbers), counts


def _read_varints(octets: Octets, segments: _Segments) -> tuple[varints.Naturals, Integers]:
    """Varints of all segments one after another, and how many each has."""
    parts = gather(octets, segments.starts, segments.sizes)
    try:
        numbers, varint_ends = varints.decode(parts)
    except ValueError as error:
        raise _UnusualError from error
    # How many varints end by the end of each segment; one must end right there.
    segment_ends = numpy.cumsum(segments.sizes)
    finished = numpy.searchsorted(varint_ends, segment_ends, side="right")
    filled = finished > 0
    if (varint_ends[finished[filled] - 1] != segment_ends[filled]).any():
        raise _UnusualError
    return numbers, numpy.diff(finished, prepend=0)
