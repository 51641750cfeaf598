"""Gibbs sampling where every record holds two one-hot features, one of each of two fields.

Features are rows of 16 floats, [factors (k), 1, linear weight, zeros], so that a feature's records
are a Bayesian linear regression on the rows of their other features: no score of a record is kept.
Features of one field do not depend on each other: any ranges of them may run at once. Sixteen are
decomposed at a time, one a lane. For k above 14 there is ``gibbs_wide``.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.gaussian import LEAST_SHARE
from matinee.fm.kernels.vectors import (
    LANES,
    at_least,
    fma,
    load,
    prefetch_to_l2,
    splat,
    square_root,
    store,
    total,
)

_AHEAD = 16  # records whose rows are asked for early; found by measuring


@kernel
def group(
    keys: NDArray[np.int32],
    count: int,
    key_count: int,
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
) -> None:
    """Sort records by key, keeping their order within a key, by counting.

    ``starts`` (key_count + 1 zeros) becomes where each key's records start in ``order``.
    """
    for n in range(count):
        starts[keys[n] + 1] += 1
    for key in range(key_count):
        starts[key + 1] += starts[key]
    for n in range(count):
        order[starts[keys[n]]] = n
        starts[keys[n]] += 1
    for key in range(key_count, 0, -1):
        starts[key] = starts[key - 1]
    starts[0] = 0


@kernel
def scratch_size(k: int) -> int:
    """Return how many floats of scratch space ``draw_features`` needs."""
    size = k + 1
    sums = LANES * ((k + 7) // 8 * 8 + 1) * LANES
    return sums + (size * (size + 1) // 2 + 3 * size + 1) * LANES


@kernel
def draw_features(
    rows: NDArray[np.float32],
    k: int,
    starts: NDArray[np.int64],
    others: NDArray[np.int32],
    labels: NDArray[np.float32],
    bias: np.float32,
    noise: np.float32,
    means: NDArray[np.float32],
    precisions: NDArray[np.float32],
    normals: NDArray[np.float32],
    first: int,
    last: int,
    base: int,
    residuals: NDArray[np.float32],
    measure: bool,
    scratch: NDArray[np.float32],
    moments: NDArray[np.float64],
) -> None:
    """Draw features ``first`` to ``last`` of a field, k at most 14.

    Parameters
    ----------
    starts, others, labels
        Of each feature of the field, where its records start; of each record, its other feature's
        row, and its label.
    noise
        Variance of a label given the parameters.
    means, precisions
        Prior of the field, (k + 1,).
    normals
        Standard normal numbers: of each 16 features from ``first`` on, k + 1 times 16.
    base
        The row of the field's first feature.
    residuals
        Label less prediction of each record: current afterwards if ``measure``.
    scratch
        Room for ``scratch_size(k)`` floats.
    moments
        Becomes the sums of the parameters drawn (k + 1), of their squares (k + 1) and, if
        ``measure``, of residuals, their squares and absolute values.
    """
    size = k + 1
    tiles = (k + 7) // 8
    height = tiles * 8 + 1
    packed = LANES * height * LANES  # offsets in scratch
    right = packed + size * (size + 1) // 2 * LANES
    inverses = right + size * LANES
    drawn = inverses + size * LANES
    row_of_one = drawn + size * LANES
    for c in range(2 * size + 3):
        moments[c] = 0.0
    deviation = splat(np.float32(math.sqrt(noise)))
    for batch in range(first, last, LANES):
        lanes = min(LANES, last - batch)
        for lane in range(lanes):
            begin, end = starts[batch + lane], starts[batch + lane + 1]
            at = lane * height * LANES
            _gather_targets(rows, k, others, labels, bias, begin, end, residuals, scratch, at)
            if tiles == 2:
                _gather_tile(rows, others, begin, end, scratch, at + 9 * LANES)
            sums = at + LANES  # the first row is the targets'
            place = packed + lane
            for c in range(k):
                for d in range(c + 1):
                    scratch[place] = scratch[sums + c * LANES + d]
                    place += LANES
                scratch[right + c * LANES + lane] = scratch[at + c]
            for d in range(k):
                scratch[place] = scratch[sums + d * LANES + k]
                place += LANES
            scratch[place] = np.float32(end - begin)
            scratch[right + k * LANES + lane] = scratch[at + k]
        for lane in range(lanes, LANES):
            for place in range(packed, inverses, LANES):
                scratch[place + lane] = np.float32(0)
        largest = splat(np.float32(0))
        row = packed
        for c in range(size):
            largest = at_least(largest, load(scratch, row + c * LANES))
            row += (c + 1) * LANES
        least = splat(LEAST_SHARE) * largest
        # Cholesky decomposition and forward substitution, a lane a feature.
        row = packed
        for c in range(size):
            prior = at_least(splat(noise * precisions[c]), least)
            other = packed
            for d in range(c):
                rest = load(scratch, row + d * LANES)
                for e in range(0, d * LANES, LANES):
                    rest -= load(scratch, row + e) * load(scratch, other + e)
                store(scratch, row + d * LANES, rest * load(scratch, inverses + d * LANES))
                other += (d + 1) * LANES
            rest = load(scratch, row + c * LANES) + prior
            solved = fma(prior, splat(means[c]), load(scratch, right + c * LANES))
            for e in range(0, c * LANES, LANES):
                above = load(scratch, row + e)
                rest -= above * above
                solved -= above * load(scratch, right + e)
            # No pivot is below its part of the prior, except by rounding.
            inverse = splat(np.float32(1)) / square_root(at_least(rest, prior))
            store(scratch, inverses + c * LANES, inverse)
            store(scratch, right + c * LANES, solved * inverse)
            row += (c + 1) * LANES
        chance = (batch - first) * size
        for c in range(size - 1, -1, -1):
            rest = fma(
                deviation, load(normals, chance + c * LANES), load(scratch, right + c * LANES)
            )
            below = packed + (c + 1) * (c + 2) // 2 * LANES + c * LANES
            for d in range(c + 1, size):
                rest -= load(scratch, below) * load(scratch, drawn + d * LANES)
                below += (d + 1) * LANES
            store(scratch, drawn + c * LANES, rest * load(scratch, inverses + c * LANES))
        for c in range(size):
            for lane in range(lanes, LANES):
                scratch[drawn + c * LANES + lane] = np.float32(0)
            parameters = load(scratch, drawn + c * LANES)
            moments[c] += float(total(parameters))
            moments[size + c] += float(total(parameters * parameters))
        for lane in range(lanes):
            row = (base + batch + lane) * LANES
            for c in range(k):
                rows[row + c] = scratch[drawn + c * LANES + lane]
            rows[row + k + 1] = scratch[drawn + k * LANES + lane]
            if measure:
                store(scratch, row_of_one, load(rows, row))
                scratch[row_of_one + k] = rows[row + k + 1]
                scratch[row_of_one + k + 1] = np.float32(0)
                parameters = load(scratch, row_of_one)
                begin, end = starts[batch + lane], starts[batch + lane + 1]
                sum_, squares, sizes = 0.0, 0.0, 0.0
                for n in range(begin, end):
                    residual = residuals[n] - total(parameters * load(rows, others[n] * LANES))
                    residuals[n] = residual
                    sum_ += float(residual)
                    squares += float(residual) * float(residual)
                    sizes += abs(float(residual))
                moments[2 * size] += sum_
                moments[2 * size + 1] += squares
                moments[2 * size + 2] += sizes


@inlined
def _gather_targets(
    rows: NDArray[np.float32],
    k: int,
    others: NDArray[np.int32],
    labels: NDArray[np.float32],
    bias: np.float32,
    begin: int,
    end: int,
    targets: NDArray[np.float32],
    sums: NDArray[np.float32],
    at: int,
) -> None:
    """Sum up records: the row of targets, then the first eight rows; note the targets."""
    t = splat(np.float32(0))
    s0, s1, s2, s3, s4, s5, s6, s7 = t, t, t, t, t, t, t, t
    for n in range(begin, end):
        prefetch_to_l2(rows, others[n + _AHEAD] * LANES)
        row = others[n] * LANES
        x = load(rows, row)
        target = labels[n] - bias - rows[row + k + 1]
        targets[n] = target
        t = fma(splat(target), x, t)
        s0 = fma(splat(rows[row]), x, s0)
        s1 = fma(splat(rows[row + 1]), x, s1)
        s2 = fma(splat(rows[row + 2]), x, s2)
        s3 = fma(splat(rows[row + 3]), x, s3)
        s4 = fma(splat(rows[row + 4]), x, s4)
        s5 = fma(splat(rows[row + 5]), x, s5)
        s6 = fma(splat(rows[row + 6]), x, s6)
        s7 = fma(splat(rows[row + 7]), x, s7)
    store(sums, at, t)
    _store_tile(sums, at + LANES, s0, s1, s2, s3, s4, s5, s6, s7)


@inlined
def _gather_tile(
    rows: NDArray[np.float32],
    others: NDArray[np.int32],
    begin: int,
    end: int,
    sums: NDArray[np.float32],
    at: int,
) -> None:
    """Sum up records: the second eight rows."""
    s0 = splat(np.float32(0))
    s1, s2, s3, s4, s5, s6, s7 = s0, s0, s0, s0, s0, s0, s0
    for n in range(begin, end):
        row = others[n] * LANES
        x = load(rows, row)
        s0 = fma(splat(rows[row + 8]), x, s0)
        s1 = fma(splat(rows[row + 9]), x, s1)
        s2 = fma(splat(rows[row + 10]), x, s2)
        s3 = fma(splat(rows[row + 11]), x, s3)
        s4 = fma(splat(rows[row + 12]), x, s4)
        s5 = fma(splat(rows[row + 13]), x, s5)
        s6 = fma(splat(rows[row + 14]), x, s6)
        s7 = fma(splat(rows[row + 15]), x, s7)
    _store_tile(sums, at, s0, s1, s2, s3, s4, s5, s6, s7)


@inlined
def _store_tile(
    sums: NDArray[np.float32],
    at: int,
    s0: Any,
    s1: Any,
    s2: Any,
    s3: Any,
    s4: Any,
    s5: Any,
    s6: Any,
    s7: Any,
) -> None:
    store(sums, at, s0)
    store(sums, at + LANES, s1)
    store(sums, at + 2 * LANES, s2)
    store(sums, at + 3 * LANES, s3)
    store(sums, at + 4 * LANES, s4)
    store(sums, at + 5 * LANES, s5)
    store(sums, at + 6 * LANES, s6)
    store(sums, at + 7 * LANES, s7)
