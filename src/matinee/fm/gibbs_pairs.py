"""The Gibbs sampler for records of two one-hot features: customer and video, say.

No record's score is kept: a feature's conditional distribution follows from the parameters of the
features it occurs with. Features of a field are independent of each other given the other field's,
so parts of a field are drawn by several threads, with results that do not depend on their number.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.gibbs import (
    Fill,
    Moments,
    Priors,
    Residuals,
    Workers,
    field_moments,
)
from matinee.fm.native import LANES, aligned, kernels, padded

_NARROW = LANES - 2  # most factors of a row that fits one vector
_NARROW_PART, _WIDE_PART = 4096, 1024  # features drawn at a time; they decide the random numbers
_AHEAD = 64  # keys that kernels may look at beyond the last


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One field's view of the records.

    Attributes
    ----------
    start
        The field's first feature.
    starts
        int64 (features + 1,): where each feature's records start.
    order
        int64 (n,): the records by feature.
    others
        int32 (n + ahead,): the other feature of each record.
    labels, residuals
        float32 (n,).
    """

    start: int
    starts: NDArray[np.int64]
    order: NDArray[np.int64]
    others: NDArray[np.int32]
    labels: NDArray[np.float32]
    residuals: NDArray[np.float32]

    @property
    def count(self) -> int:
        return len(self.starts) - 1


class PairSampler:
    """See ``matinee.fm.gibbs.Sampler``.

    Parameters
    ----------
    features
        Records for which ``fits`` holds.
    fields
        Two fields.
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
        self._k = factors.shape[1]
        self._narrow = self._k <= _NARROW
        self._kernels = kernels("gibbs_narrow" if self._narrow else "gibbs_wide")
        self._part = _NARROW_PART if self._narrow else _WIDE_PART
        self._width = padded(self._k + 2)
        self._rows = aligned(len(linear), self._width)
        self._rows[:, : self._k] = factors
        self._rows[:, self._k] = 1
        self._rows[:, self._k + 1] = linear
        first, second = features.indices[::2], features.indices[1::2]
        start = fields.widths[0]
        self._sides = (
            self._side(0, start, first, second, labels),
            self._side(start, fields.widths[1], second - np.int32(start), first, labels),
        )
        self._moments = field_moments(fields, linear, factors)
        self._workers = workers

    @staticmethod
    def fits(features: SparseRows, fields: Fields) -> bool:
        """Whether every record holds exactly one feature of each of two fields, of value 1."""
        if len(fields.widths) != 2 or (np.diff(features.indptr) != 2).any():
            return False
        first, second = features.indices[::2], features.indices[1::2]
        start = fields.widths[0]
        ones = features.all_ones or bool((features.data == 1).all())
        return ones and bool((first < start).all() and (second >= start).all())

    def moments(self) -> Moments:
        """Return sums over the current parameters."""
        return self._moments

    def sweep(self, bias: float, noise: float, priors: Priors, fill: Fill) -> Residuals:
        """Draw every feature's parameters once; see ``Sampler.sweep``."""
        size = self._k + 1
        sums = np.empty(0)
        for field, side in enumerate(self._sides):
            of_field = (priors.means[field], priors.precisions[field])
            draw = functools.partial(self._draw, field, bias, noise, *of_field, fill)
            sums = np.sum(self._workers.map_parts(draw, side.count, self._part), axis=0)
            self._moments.sums[field] = sums[:size]
            self._moments.squares[field] = sums[size : 2 * size]
        return Residuals(*(float(value) for value in sums[2 * size :]))

    def residuals(self) -> NDArray[np.float32]:
        """Return label less prediction of each record, (n,), in the records' order."""
        side = self._sides[-1]
        residuals = np.empty_like(side.residuals)
        residuals[side.order] = side.residuals
        return residuals

    def relabel(self, labels: NDArray[np.float32]) -> None:
        """Go on with other labels, (n,)."""
        for side in self._sides:
            np.take(labels, side.order, out=side.labels)

    def parameters(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the linear weights (d,) and the factors (d, num_factors), which sweeps change."""
        return self._rows[:, self._k + 1], self._rows[:, : self._k]

    def _side(
        self,
        start: int,
        count: int,
        keys: NDArray[np.int32],
        others: NDArray[np.int32],
        labels: NDArray[np.float32],
    ) -> _Side:
        starts = np.zeros(count + 1, dtype=np.int64)
        order = np.empty(len(keys), dtype=np.int64)
        kernels("gibbs_narrow").group(np.ascontiguousarray(keys), len(keys), count, starts, order)
        ahead = np.zeros(_AHEAD, dtype=np.int32)
        return _Side(
            start,
            starts,
            order,
            np.concatenate([others[order], ahead]),
            labels[order],
            np.empty(len(keys), dtype=np.float32),
        )

    def _draw(
        self,
        field: int,
        bias: float,
        noise: float,
        means: NDArray[np.float32],
        precisions: NDArray[np.float32],
        fill: Fill,
        first: int,
        last: int,
    ) -> NDArray[np.float64]:
        """Draw a part of a field; return sums over its features and records."""
        side, k = self._sides[field], self._k
        of_records = (side.starts, side.others, side.labels)
        given = (np.float32(bias), np.float32(noise), means, precisions)
        # Residuals are known when both sides are.
        measured = (side.residuals, side is self._sides[-1])
        sums = np.empty(2 * (k + 1) + 3)
        if self._narrow:
            numbers = padded(last - first) * (k + 1)
            drawn = self._numbers(fill, field, first, numbers)
            scratch = self._workers.room("pairs", self._kernels.scratch_size(k))
            part = (drawn, first, last, side.start)
            self._kernels.draw_features(
                self._rows, k, *of_records, *given, *part, *measured, scratch, sums
            )
            return sums
        # Features with no more records than factors are drawn in the space of the records.
        records = np.diff(side.starts[first : last + 1])
        numbers = (last - first) * (k + 1) + int(records[records <= k].sum())
        to_draw = (self._numbers(fill, field, first, numbers), k, first, last, side.start)
        scratch = self._workers.room("pairs", self._kernels.scratch_size(k, k))
        self._kernels.draw_features(
            self._rows, self._width, k, *of_records, *given, *to_draw, *measured, scratch, sums
        )
        return sums

    def _numbers(self, fill: Fill, field: int, part: int, count: int) -> NDArray[np.float32]:
        # Kernels read whole vectors, so a row more than they use.
        room = self._workers.room("numbers", count + self._width)
        fill(room[:count], field, part)
        return room
