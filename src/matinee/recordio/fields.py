"""The fields of many records, written at once.

What is before a record's numbers (tags, lengths and the map's key) is the same for most records but
for the lengths' values; the numbers are copied, or written as varints, wherever they belong. Every
part knows its size in each record before it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from matinee.recordio import varints
from matinee.recordio.framing import HEADER_SIZE, MAGIC, Integers, Octets, check_payload_size
from matinee.recordio.schema import (
    ENTRY_VALUE_TAG,
    FEATURES_TAG,
    INT32_TAG,
    KEYS_TAG,
    LABEL_TAG,
    VALUES_KEY,
    VALUES_TAG,
)
from matinee.recordio.segments import gather_equal, scatter, scatter_equal, words_at

# Lengths below are of one byte.
_SHORT = 128


class Fixed:
    """Numbers of a fixed size; of row i there are `counts[i]`."""

    def __init__(self, numbers: NDArray[Any], counts: Integers) -> None:
        self._octets = numpy.ascontiguousarray(numbers).view(numpy.uint8)
        self._item = numbers.itemsize
        self.sizes: Integers = counts * self._item

    def write(self, octets: Octets, starts: Integers) -> None:
        """Write each row's numbers from its start on."""
        scatter(octets, starts, self.sizes, self._octets, self._item)

    def of(self, rows: Integers | slice) -> Octets:
        """Return the bytes of rows that have as many, of shape (rows, bytes)."""
        return _of_equal(self._octets, self.sizes, rows)


class Varints:
    """Numbers as varints; of row i there are `counts[i]`."""

    def __init__(self, numbers: NDArray[Any], counts: Integers) -> None:
        self._numbers, self._counts = numbers, counts
        self._number_sizes = varints.sizes_of(numbers)
        self._ends = numpy.zeros(numbers.size + 1, dtype=numpy.int64)
        numpy.cumsum(self._number_sizes, out=self._ends[1:])
        self._row_ends = self._ends[numpy.cumsum(counts)]
        self.sizes: Integers = numpy.diff(self._row_ends, prepend=0)

    def write(self, octets: Octets, starts: Integers) -> None:
        """Write each row's numbers from its start on, and zeros over a few bytes after them."""
        places = numpy.repeat(starts - (self._row_ends - self.sizes), self._counts)
        places += self._ends[:-1]
        varints.scatter(octets, places, self._numbers, self._number_sizes)

    def of(self, rows: Integers | slice) -> Octets:
        """Return the bytes of rows that have as many, of shape (rows, bytes)."""
        return _of_equal(self._encoded, self.sizes, rows)

    @functools.cached_property
    def _encoded(self) -> Octets:
        octets = numpy.empty(int(self._ends[-1]) + varints.SLACK, dtype=numpy.uint8)
        varints.scatter(octets, self._ends[:-1], self._numbers, self._number_sizes)
        return octets[: -varints.SLACK]


Numbers = Fixed | Varints


class _Prefix:
    """Tags and lengths that stand one after the other before each row's numbers.

    A field without content is left out, with its tag.
    """

    def __init__(self, *fields: tuple[bytes, Integers]) -> None:
        self._fields = [(tag, lengths, _length_sizes(lengths)) for tag, lengths in fields]
        self.sizes: Integers | int = 0
        for tag, _, sizes in self._fields:
            self.sizes = self.sizes + sizes + len(tag) * (sizes > 0)

    def write(self, octets: Octets, starts: Integers) -> None:
        """Write each row's from its start on."""
        columns = [sizes for _, _, sizes in self._fields if not isinstance(sizes, int)]
        for rows in _alike(columns) if columns else (slice(None),):
            template, places = b"", []
            for tag, lengths, sizes in self._fields:
                size = sizes if isinstance(sizes, int) else int(sizes[rows][0])
                if size:
                    template += tag
                    places.append((len(template), size, lengths[rows]))
                    template += bytes(size)
            if template:
                of_rows = starts[rows]
                copies = numpy.frombuffer(template, f"V{len(template)}").repeat(of_rows.size)
                prefixes = copies.view(numpy.uint8).reshape(of_rows.size, -1)
                for at, size, lengths in places:
                    for index in range(size):
                        more = 0x80 if index < size - 1 else 0
                        prefixes[:, at + index] = (lengths >> 7 * index) & 0x7F | more
                scatter_equal(octets, of_rows, prefixes)


class _Map:
    """One map of every record: its only entry, `values`, and the tensor in it.

    Parameters
    ----------
    map_tag, tensor_tag : int
    values : Numbers
    keys : Numbers, optional
    shape : bytes
        The tensor's field of that name, the same in all records.
    """

    def __init__(
        self,
        map_tag: int,
        tensor_tag: int,
        values: Numbers,
        keys: Numbers | None = None,
        shape: bytes = b"",
    ) -> None:
        self._values, self._keys, self._shape = values, keys, shape
        tensor = _field_sizes(values.sizes) + len(shape)
        if keys is not None:
            self._before_keys = _Prefix((bytes([KEYS_TAG]), keys.sizes))
            tensor += keys.sizes
            tensor += self._before_keys.sizes
        value = _field_sizes(tensor)
        entry = _field_sizes(value) + len(VALUES_KEY)
        self._before_values = _Prefix(
            (bytes([map_tag]), entry),
            (VALUES_KEY + bytes([ENTRY_VALUE_TAG]), value),
            (bytes([tensor_tag]), tensor),
            (bytes([VALUES_TAG]), values.sizes),
        )
        self.sizes: Integers = _field_sizes(entry)

    def write(self, octets: Octets, starts: Integers) -> None:
        """Write each record's from its start on, and zeros over a few bytes after it."""
        self._before_values.write(octets, starts)
        at = starts + self._before_values.sizes
        self._values.write(octets, at)
        at = at + self._values.sizes
        if self._keys is not None:
            self._before_keys.write(octets, at)
            at = at + self._before_keys.sizes
            self._keys.write(octets, at)
            at = at + self._keys.sizes
        if self._shape:
            words_at(octets, f"V{len(self._shape)}")[at] = numpy.void(self._shape)


class FieldRecords:
    """Records of any sizes, one after the other in frames, written field by field.

    Parameters
    ----------
    values : Numbers
    keys, label : Numbers, optional
    shape : bytes
        The features' field of that name.
    tags : tuple of int
        Of the features' tensor, and of the label's.
    """

    def __init__(
        self,
        values: Numbers,
        keys: Numbers | None,
        label: Numbers | None,
        shape: bytes,
        tags: tuple[int, int],
    ) -> None:
        self._maps = [_Map(FEATURES_TAG, tags[0], values, keys, shape)]
        self._payloads = self._maps[0].sizes
        if label is not None:
            self._maps.append(_Map(LABEL_TAG, tags[1], label))
            self._payloads = self._payloads + self._maps[1].sizes
        check_payload_size(int(self._payloads.max()))
        ends = numpy.cumsum((self._payloads + (HEADER_SIZE + 3)) & ~3)
        self._starts = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), ends[:-1]])
        self.size = int(ends[-1])

    def write(self, octets: Octets) -> None:
        """Write them over the beginning of an array, and zeros over a few bytes after them."""
        # Frames are filled up with zeros.
        octets[: self.size] = 0
        at = self._starts + HEADER_SIZE
        for each in self._maps:
            each.write(octets, at)
            at = at + each.sizes
        # The headers last, as what is before them may have been written over.
        headers = self._payloads.astype("<u8")
        headers <<= numpy.uint64(32)
        headers |= numpy.uint64(MAGIC)
        words_at(octets, "<u8")[self._starts] = headers


def packed(numbers: NDArray[Any], tag: int, counts: Integers) -> Numbers:
    """Serialise the numbers of a tensor; of row i there are `counts[i]`.

    Raises
    ------
    ValueError
        If one does not fit an Int32Tensor.
    """
    if tag != INT32_TAG:
        return Fixed(numbers, counts)
    limits = numpy.iinfo(numpy.int32)
    unfit = numbers[(numbers < limits.min) | (numbers > limits.max)]
    if unfit.size:
        raise ValueError(f"{unfit[0]} doesn't fit the 32-bit integers of an Int32Tensor")
    return Varints(numpy.ascontiguousarray(numbers).view(numpy.uint64), counts)


def _of_equal(octets: Octets, sizes: Integers, rows: Integers | slice) -> Octets:
    """Return the segments of rows that are of one size, of so many that follow each other."""
    if isinstance(rows, slice):
        return octets.reshape(sizes.size, -1)
    size = int(sizes[rows[0]])
    if not size:
        return numpy.empty((rows.size, 0), dtype=numpy.uint8)
    if (sizes == size).all():
        return gather_equal(octets, rows * size, size)
    return gather_equal(octets, (numpy.cumsum(sizes) - sizes)[rows], size)


def _length_sizes(lengths: Integers) -> Integers | int:
    """Return the bytes of each length, none where nothing follows it; a number if all have it."""
    least, most = int(lengths.min()), int(lengths.max())
    if most < _SHORT and (least > 0 or most == 0):
        return min(most, 1)
    sizes = varints.sizes_of(lengths)
    return sizes if least else sizes * (lengths > 0)


def _field_sizes(lengths: Integers) -> Integers:
    """Return the bytes of a field with its tag and length, none where it has no content."""
    sizes = _length_sizes(lengths)
    if isinstance(sizes, int):
        return lengths + (1 + sizes) if sizes else lengths
    fields = lengths + sizes
    fields += sizes > 0
    return fields


def _alike(columns: Sequence[Integers]) -> Iterator[Integers | slice]:
    """Divide rows into groups that have the same in each of some columns."""
    code = columns[0]
    for column in columns[1:]:
        code = code * (varints.MAXIMUM_SIZE + 1) + column
    if (code == code[0]).all():
        yield slice(None)
        return
    for value in numpy.flatnonzero(numpy.bincount(code)):
        yield numpy.flatnonzero(code == value)
