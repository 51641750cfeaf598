"""Records that differ in their numbers alone, written by a template for each of few kinds.

The kind of a record is how many bytes its values, keys and label take: it decides where they lie
and what is around them. The rows of a recommender, with as many features each, are of a handful of
kinds; records of many kinds are better written by `fields`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from matinee.recordio import varints
from matinee.recordio.fields import Numbers
from matinee.recordio.framing import HEADER_SIZE, Integers, Octets, frame
from matinee.recordio.schema import (
    ENTRY_VALUE_TAG,
    FEATURES_TAG,
    KEYS_TAG,
    LABEL_TAG,
    VALUES_KEY,
    VALUES_TAG,
)
from matinee.recordio.segments import scatter_equal

# A kind costs as much as so many records.
_LEAST_ROWS = 64
_MOST_CODES = 1 << 12


class TemplateRecords:
    """Records of few kinds, one after the other in frames; made by `of`."""

    def __init__(
        self,
        numbers: Sequence[Numbers | None],
        templates: Sequence[tuple[_Template, Integers | slice]],
        rows: int,
    ) -> None:
        self._numbers, self._templates, self._rows = numbers, templates, rows
        self._sizes = numpy.empty(rows, dtype=numpy.int64)
        for template, of_kind in templates:
            self._sizes[of_kind] = len(template.octets)
        self.size = int(self._sizes.sum())

    @classmethod
    def of(
        cls,
        values: Numbers,
        keys: Numbers | None,
        label: Numbers | None,
        shape: bytes,
        tags: tuple[int, int],
    ) -> TemplateRecords | None:
        """Return the records of some rows, or None if they are of too many kinds.

        Parameters
        ----------
        values : Numbers
        keys, label : Numbers, optional
        shape : bytes
            The features' field of that name.
        tags : tuple of int
            Of the features' tensor, and of the label's.
        """
        numbers = values, keys, label
        kinds = _kinds([each for each in numbers if each is not None])
        if kinds is None:
            return None
        templates = []
        for rows in kinds:
            sizes = [0 if each is None else int(each.sizes[rows][0]) for each in numbers]
            templates.append((_Template(sizes, shape, tags), rows))
        return cls(numbers, templates, values.sizes.size)

    def write(self, octets: Octets) -> None:
        """Write them over the beginning of an array."""
        if len(self._templates) == 1:
            [(template, rows)] = self._templates
            template.fill(octets[: self.size].reshape(self._rows, -1), rows, self._numbers)
            return
        starts = numpy.cumsum(self._sizes) - self._sizes
        for template, rows in self._templates:
            of_rows = starts[rows]
            records = numpy.empty((of_rows.size, len(template.octets)), dtype=numpy.uint8)
            template.fill(records, rows, self._numbers)
            scatter_equal(octets, of_rows, records)


class _Template:
    """A framed record with zeros for its numbers, and where those begin.

    `sizes` are the bytes of its values, keys and label.
    """

    def __init__(self, sizes: Sequence[int], shape: bytes, tags: tuple[int, int]) -> None:
        values_size, keys_size, label_size = sizes
        values, keys = _packed(VALUES_TAG, values_size), _packed(KEYS_TAG, keys_size)
        features = _map(FEATURES_TAG, tags[0], values + keys + shape)
        label = _map(LABEL_TAG, tags[1], _packed(VALUES_TAG, label_size)) if label_size else b""
        self.octets = frame(features + label)
        features_end = HEADER_SIZE + len(features)
        keys_end = features_end - len(shape)
        ends = keys_end - len(keys), keys_end, features_end + len(label)
        self._places = [end - size for end, size in zip(ends, sizes, strict=True)]

    def fill(
        self, records: Octets, rows: Integers | slice, numbers: Sequence[Numbers | None]
    ) -> None:
        """Make `records` (n, bytes) as many copies, with the numbers of some rows."""
        count, size = records.shape
        records.reshape(-1).view(f"V{size}")[:] = numpy.void(self.octets)
        for at, each in zip(self._places, numbers, strict=True):
            parts = None if each is None else each.of(rows)
            if parts is not None and parts.shape[1]:
                kind = numpy.dtype(f"V{parts.shape[1]}")
                column = numpy.ndarray((count,), kind, records.data, at, (size,))
                column[:] = parts.view(kind).reshape(-1)


def _kinds(numbers: Sequence[Numbers]) -> list[Integers | slice] | None:
    """Divide rows by the sizes of their numbers; None if the kinds are too many."""
    code, number = numpy.zeros(1, dtype=numpy.int64), 1
    for each in numbers:
        least = int(each.sizes.min())
        span = int(each.sizes.max()) - least + 1
        if span > 1:
            code, number = code * span + (each.sizes - least), number * span
        if number > _MOST_CODES:
            return None
    if number == 1:
        return [slice(None)]
    found = numpy.flatnonzero(numpy.bincount(code))
    if found.size * _LEAST_ROWS > code.size:
        return None
    return [numpy.flatnonzero(code == kind) for kind in found]


def _map(map_tag: int, tensor_tag: int, tensor: bytes) -> bytes:
    value = _field(ENTRY_VALUE_TAG, _field(tensor_tag, tensor))
    return _field(map_tag, VALUES_KEY + value)


def _packed(tag: int, size: int) -> bytes:
    """A packed field of `size` zero bytes; protobuf leaves an empty one out."""
    return _field(tag, bytes(size)) if size else b""


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + varints.encode_one(len(content)) + content
