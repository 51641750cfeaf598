"""Scores of records, and the sums of their features' factors that rankings are made of.

A score depends on the record's non-zero values, in the order of their keys, and on nothing beside
it. Pairs of features are added up as they arise, so there is no difference of squares in which
digits could cancel, and two features come to one dot product.
"""

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.losses import logistic
from matinee.fm.kernels.vectors import (
    LANES,
    fma,
    load_first,
    prefetch,
    splat,
    store_first,
    total,
)

_ZERO, _ONE = np.float32(0), np.float32(1)

_AHEAD = 12  # stored values whose rows are asked for early; found by measuring


@inlined
def _ask_for(
    key: int, linear: NDArray[np.float32], factors: NDArray[np.float32], width: int
) -> None:
    prefetch(linear, key)
    prefetch(factors, key * width)
    for column in range(LANES, width, LANES):
        prefetch(factors, key * width + column)


@kernel
def score(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    dense: bool,
    begin: int,
    end: int,
    bias: np.float32,
    linear: NDArray[np.float32],
    factors: NDArray[np.float32],
    width: int,
    scores: NDArray[np.float32],
) -> None:
    """Write ``f(x)`` of the records ``begin`` up to, not including, ``end``.

    Parameters
    ----------
    starts, keys, values
        Compressed rows; of dense records ``keys`` are those of one record.
    dense
        Whether every record holds every feature.
    begin, end
        Which records.
    bias, linear, factors
        The model: one number, (features,), (features, width).
    width
        Number of factors.
    scores
        float32 (end - begin,).
    """
    stop = starts[end]
    for record in range(begin, end):
        first = starts[record]
        last = starts[record + 1]
        shift = first if dense else 0
        if not dense:
            for at in range(first + _AHEAD, min(last + _AHEAD, stop)):
                _ask_for(keys[at], linear, factors, width)
        output = bias
        for at in range(first, last):
            output += values[at] * linear[keys[at - shift]]
        pairs = splat(_ZERO)
        for column in range(0, width, LANES):
            before = splat(_ZERO)
            for at in range(first, last):
                row = keys[at - shift] * width
                term = splat(values[at]) * load_first(factors, row + column, width - column)
                pairs = fma(term, before, pairs)
                before += term
        scores[record - begin] = output + total(pairs)


@kernel
def score_pairs(
    first: int,
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    records: int,
    bias: np.float32,
    linear: NDArray[np.float32],
    factors: NDArray[np.float32],
    width: int,
    scores: NDArray[np.float32],
) -> None:
    """Write ``f(x)`` of records of two features each, the same bits as ``score``.

    Parameters
    ----------
    first
        Where the values of the first record begin.
    keys, values, bias, linear, factors, width
        As for ``score``.
    records
        How many.
    scores
        float32 (records,).
    """
    stop = first + 2 * records
    for record in range(records):
        at = first + 2 * record
        if at + _AHEAD + 1 < stop:
            _ask_for(keys[at + _AHEAD], linear, factors, width)
            _ask_for(keys[at + _AHEAD + 1], linear, factors, width)
        one, other = keys[at], keys[at + 1]
        x, y = values[at], values[at + 1]
        output = bias + x * linear[one]
        output += y * linear[other]
        row, other_row = one * width, other * width
        pairs = splat(y) * load_first(factors, other_row, width)
        pairs *= splat(x) * load_first(factors, row, width)
        for column in range(LANES, width, LANES):
            count = width - column
            before = splat(x) * load_first(factors, row + column, count)
            term = splat(y) * load_first(factors, other_row + column, count)
            pairs = fma(term, before, pairs)
        scores[record] = output + total(pairs)


@kernel
def add_factors(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    dense: bool,
    begin: int,
    end: int,
    factors: NDArray[np.float32],
    width: int,
    sums: NDArray[np.float32],
) -> None:
    """Write each record's sum of values times factors, as float32 (end - begin, width).

    Parameters
    ----------
    starts, keys, values, dense, begin, end, factors, width
        As for ``score``.
    sums
        Receives the sums.
    """
    for record in range(begin, end):
        first = starts[record]
        shift = first if dense else 0
        for column in range(0, width, LANES):
            added = splat(_ZERO)
            for at in range(first, starts[record + 1]):
                row = keys[at - shift] * width
                added += splat(values[at]) * load_first(factors, row + column, width - column)
            store_first(sums, (record - begin) * width + column, width - column, added)


@kernel
def apply_logistic(values: NDArray[np.float32], count: int) -> None:
    """Replace each value by ``1 / (1 + exp(-value))``."""
    for at in range(count):
        values[at] = logistic(values[at])
