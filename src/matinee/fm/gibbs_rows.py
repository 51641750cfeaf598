"""The Gibbs sampler for records of any kind: side features, histories, real values.

Of each record the residual and the sum of its features' factors are kept. Fields come in blocks
(``matinee.fm.patterns``); a block is drawn record by record or, where that is less work, pattern by
pattern. Threads share what is independent, so results do not depend on their number.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows, compressed
from matinee.fm.fields import Fields
from matinee.fm.gibbs import (
    Fill,
    Moments,
    Priors,
    Residuals,
    Workers,
    field_moments,
)
from matinee.fm.model import Model
from matinee.fm.native import aligned, kernels, padded
from matinee.fm.patterns import Block, find_blocks

_PART = 1024  # features or patterns at a time; of features, it decides the random numbers
_LARGEST_SUMS = 2**30  # bytes of a block's sums
_PATTERN_WORK = 3  # for one feature of a pattern, in that for one of a record


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """Where a field's features are: in which rows of a sparse matrix.

    Attributes
    ----------
    field, start
        The field's number and first feature.
    starts
        int64 (features + 1,): where each feature's places start.
    places, values
        int32, float32: rows, and the feature's values there.
    independent
        Whether no row holds two of the features.
    """

    field: int
    start: int
    starts: NDArray[np.int64]
    places: NDArray[np.int32]
    values: NDArray[np.float32]
    independent: bool

    @property
    def count(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, slots=True, eq=False)
class _Patterns:
    """The patterns of a block that is drawn pattern by pattern.

    Attributes
    ----------
    starts, records
        Of each pattern, where its records start; the records' numbers.
    parts
        float32 (patterns, width): the sum of the factors of each pattern's features.
    sums, effects
        float32: see ``matinee.fm.kernels.gibbs_rows``.
    """

    starts: NDArray[np.int64]
    records: NDArray[np.int32]
    parts: NDArray[np.float32]
    sums: NDArray[np.float32]
    effects: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A block of fields, drawn through records or, if there are any, through patterns."""

    columns: Sequence[_Column]
    patterns: _Patterns | None


class RowSampler:
    """See ``matinee.fm.gibbs.Sampler``.

    Parameters
    ----------
    features
        Any records.
    fields
        Any fields.
    labels
        (n,).
    linear, factors
        Where to start: (d,) and (d, num_factors).
    workers
        Who does the work.
    """

    def __init__(
        self,
        features: SparseRows,
        fields: Fields,
        labels: NDArray[np.float32],
        linear: NDArray[np.float32],
        factors: NDArray[np.float32],
        workers: Workers,
    ) -> None:
        self._kernels = kernels("gibbs_rows")
        self._workers = workers
        self._k = k = factors.shape[1]
        self._width = padded(k + 2)
        self._labels = labels
        self._bias = 0.0
        self._parameters = aligned(len(linear), self._width)
        self._parameters[:, :k] = factors
        self._parameters[:, k] = linear
        self._rows = aligned(len(labels), self._width)
        self._rows[:, :k] = _sums(features, factors)
        self._rows[:, k] = 1
        self._rows[:, k + 1] = labels - Model(0.0, linear, factors, "regressor").outputs(features)
        self._moments = field_moments(fields, linear, factors)
        self._steps = [
            self._step(block, features, fields, factors) for block in find_blocks(features, fields)
        ]

    def moments(self) -> Moments:
        """Return sums over the current parameters."""
        return self._moments

    def sweep(self, bias: float, noise: float, priors: Priors, fill: Fill) -> Residuals:
        """Draw every feature's parameters once; see ``Sampler.sweep``."""
        self._shift(self._bias - bias)
        self._bias = bias
        self._go_through(noise, priors, fill, relative=False)
        return self._shift(0.0)

    def improve(self, strength: float) -> None:
        """Move every feature's parameters once to where the squares of residuals are least.

        Parameters
        ----------
        strength
            Of the pull to where they are, in records of size 1.
        """
        shape = self._moments.sums.shape
        nowhere = Priors(np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.float32))
        self._go_through(strength, nowhere, _fill_with_zeros, relative=True)

    def _go_through(self, noise: float, priors: Priors, fill: Fill, *, relative: bool) -> None:
        for step in self._steps:
            patterns = step.patterns
            old_parts = aligned(0)
            if patterns is not None:
                sum_up = functools.partial(self._sum_up, patterns)
                self._workers.map_parts(sum_up, patterns.count, _PART)
                old_parts = patterns.parts.copy()
            for column in step.columns:
                of_field = (priors.means[column.field], priors.precisions[column.field])
                draw = functools.partial(
                    self._draw, column, patterns, noise, *of_field, fill, relative
                )
                together = column.independent and patterns is None
                workers = self._workers if together else _ALONE
                sums = np.sum(workers.map_parts(draw, column.count, _PART), axis=0)
                if not relative:
                    self._moments.sums[column.field] = sums[: self._k + 1]
                    self._moments.squares[column.field] = sums[self._k + 1 :]
            if patterns is not None:
                move = functools.partial(self._move, patterns, old_parts)
                self._workers.map_parts(move, patterns.count, _PART)

    def residuals(self) -> NDArray[np.float32]:
        """Return label less prediction of each record, (n,), in the records' order."""
        return self._rows[:, self._k + 1].copy()

    def relabel(self, labels: NDArray[np.float32]) -> None:
        """Go on with other labels, (n,)."""
        self._rows[:, self._k + 1] += labels - self._labels
        self._labels = labels

    def parameters(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the linear weights (d,) and the factors (d, num_factors), which sweeps change."""
        return self._parameters[:, self._k], self._parameters[:, : self._k]

    def _shift(self, by: float) -> Residuals:
        """Add to all residuals; return their sums."""
        sums = np.empty(3)
        self._kernels.measure(self._rows, self._k, len(self._rows), np.float32(by), sums)
        return Residuals(*(float(value) for value in sums))

    def _sum_up(self, patterns: _Patterns, first: int, last: int) -> None:
        scratch = self._workers.room("rows", self._kernels.scratch_size(self._k))
        self._kernels.sum_patterns(
            self._rows,
            self._k,
            patterns.starts,
            patterns.records,
            patterns.parts,
            patterns.sums,
            first,
            last,
            scratch,
        )
        patterns.effects[first:last] = 0

    def _move(
        self, patterns: _Patterns, old_parts: NDArray[np.float32], first: int, last: int
    ) -> None:
        self._kernels.move_records(
            self._rows,
            self._k,
            patterns.starts,
            patterns.records,
            old_parts,
            patterns.parts,
            patterns.effects,
            first,
            last,
        )

    def _draw(
        self,
        column: _Column,
        patterns: _Patterns | None,
        noise: float,
        means: NDArray[np.float32],
        precisions: NDArray[np.float32],
        fill: Fill,
        relative: bool,
        first: int,
        last: int,
    ) -> NDArray[np.float64]:
        """Draw a part of a field; return sums over its features."""
        k = self._k
        numbers = self._workers.room("numbers", _PART * (k + 1))[: (last - first) * (k + 1)]
        fill(numbers, column.field, first)
        scratch = self._workers.room("rows", self._kernels.scratch_size(k))
        places = (column.starts, column.places, column.values)
        given = (np.float32(noise), means, precisions, numbers)
        to_draw = (*given, first, last, column.start, relative)
        sums = np.empty(2 * (k + 1))
        if patterns is None:
            self._kernels.draw_by_records(
                self._parameters, self._rows, k, *places, *to_draw, scratch, sums
            )
        else:
            state = (patterns.sums, patterns.parts, patterns.effects)
            self._kernels.draw_by_patterns(
                self._parameters, k, *places, *state, *to_draw, scratch, sums
            )
        return sums

    def _step(
        self, block: Block, features: SparseRows, fields: Fields, factors: NDArray[np.float32]
    ) -> _Step:
        own = _select(features, block, fields)
        records = np.bincount(block.pattern_of, minlength=own.shape[0])
        by_records = int(records @ np.diff(own.indptr))
        by_patterns = features.shape[0] + _PATTERN_WORK * len(own.indices)
        size = self._kernels.sums_of(self._k)
        if by_patterns >= by_records or size * own.shape[0] * 4 > _LARGEST_SUMS:
            return _Step([self._column(field, features, fields) for field in block.fields], None)
        parts = aligned(own.shape[0], self._width)
        parts[:, : self._k] = _sums(own, factors)
        patterns = _Patterns(
            np.concatenate(([0], np.cumsum(records))).astype(np.int64),
            np.argsort(block.pattern_of, kind="stable").astype(np.int32),
            parts,
            aligned(own.shape[0] * size),
            np.zeros(own.shape[0], dtype=np.float32),
        )
        return _Step([self._column(field, own, fields) for field in block.fields], patterns)

    def _column(self, field: int, rows: SparseRows, fields: Fields) -> _Column:
        begin, end = (int(start) for start in fields.starts[field : field + 2])
        starts = np.zeros(end - begin + 1, dtype=np.int64)
        given = (rows.indptr, rows.indices)
        count = rows.shape[0]
        independent = self._kernels.count_places(*given, count, begin, end, starts)
        places = np.empty(starts[-1], dtype=np.int32)
        values = np.empty(starts[-1], dtype=np.float32)
        self._kernels.find_places(*given, rows.data, count, begin, end, starts, places, values)
        return _Column(field, begin, starts, places, values, bool(independent))


_ALONE = Workers(1)


def _fill_with_zeros(out: NDArray[np.float32], *_: int) -> None:
    out[:] = 0


def _sums(rows: SparseRows, factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each row's sum of values times factors, (rows, num_factors)."""
    sums = np.empty((rows.shape[0], factors.shape[1]), dtype=np.float32)
    given = np.ascontiguousarray(factors)
    kernels("scoring").add_factors(*compressed(rows), 0, len(sums), given, factors.shape[1], sums)
    return sums


def _select(features: SparseRows, block: Block, fields: Fields) -> SparseRows:
    """Return a block's patterns, each as a row of its features."""
    starts, ends = features.indptr[block.examples], features.indptr[block.examples + 1]
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    places = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
    keys = features.indices[places]
    field_of = np.searchsorted(fields.starts, keys, side="right") - 1
    kept = np.isin(field_of, block.fields)
    of_pattern = np.repeat(np.arange(len(lengths)), lengths)[kept]
    counts = np.bincount(of_pattern, minlength=len(lengths))
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    shape = (len(lengths), features.shape[1])
    return SparseRows(indptr, keys[kept], features.data[places][kept], shape)
