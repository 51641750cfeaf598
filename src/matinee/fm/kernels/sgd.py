"""Stochastic gradient descent, one step a record: pairs of one-hot features, and anything else.

``train_pairs`` keeps extended rows, a first feature's of its factors, zeros, its linear term and 1,
a second feature's of its factors, zeros, 1 and its linear term: one dot product gives the score
less the constant term, and each row is the other's gradient. Its records lie in blocks of few first
features, whose rows then stay in the cache. ``train_records`` takes any CSR matrix. Both visit m
records in steps of a stride coprime to m: a new order each time without moving anything.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.losses import residual
from matinee.fm.kernels.vectors import (
    LANES,
    fma,
    load,
    prefetch,
    prefetch_to_l2,
    splat,
    store,
    total,
)

# How far ahead rows are asked for, in floats of one table; found by measuring.
_NEAR = 6 * 80  # into the first-level cache
_FAR = 32 * 80  # into the second-level cache
_ROWS_AHEAD = 8  # records, of any kind; their values and starts twice and three times as far


@inlined
def _random(counter: int) -> int:
    """Return 63 random bits of a counter (SplitMix64; Steele, Lea and Flood 2014)."""
    word = np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((word ^ (word >> np.uint64(31))) >> np.uint64(1))


@inlined
def _stride(word: int, count: int) -> int:
    """Return a number from 1 to ``count`` coprime to it, chosen by a random word."""
    stride = 1 + (word >> 31) % count
    while True:
        larger, smaller = count, stride
        while smaller:
            larger, smaller = smaller, larger % smaller
        if larger == 1:
            return stride
        stride = stride + 1 if stride < count else 1


@inlined
def _follow(place: int, stride: int, count: int) -> int:
    """Return the place to visit after ``place``."""
    place += stride
    return place - count if place >= count else place


@kernel
def count_pairs(
    keys: NDArray[np.int32],
    records: int,
    blocks: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Count the records of each block.

    Parameters
    ----------
    keys
        (2 * records,): the features of each record.
    records
        Their number.
    blocks
        By key: the first features' numbers and the second features' add up to the block's.
    counts
        (number of blocks,): is added to.
    """
    for record in range(records):
        counts[blocks[keys[2 * record]] + blocks[keys[2 * record + 1]]] += 1


@kernel
def group_pairs(
    keys: NDArray[np.int32],
    labels: NDArray[np.float32],
    records: int,
    position: int,
    rows: NDArray[np.int32],
    blocks: NDArray[np.int32],
    places: NDArray[np.int64],
    grouped_keys: NDArray[np.int32],
    grouped_labels: NDArray[np.float32],
) -> None:
    """Copy records to their blocks, as rows instead of keys, each block in a random order.

    Parameters
    ----------
    keys, labels, records, blocks
        See ``count_pairs``; labels are (records,).
    position
        Which key of a record, 0 or 1, is its first feature.
    rows
        By key: its row among the first or the second features.
    places
        (number of blocks,): where each block begins; left where it ends.
    grouped_keys, grouped_labels
        (2 * records,) and (records,): receive first and second row, and the label.
    """
    for record in range(records):
        first = keys[2 * record + position]
        second = keys[2 * record + 1 - position]
        block = blocks[first] + blocks[second]
        place = places[block]
        places[block] = place + 1
        grouped_keys[2 * place] = rows[first]
        grouped_keys[2 * place + 1] = rows[second]
        grouped_labels[place] = labels[record]


@kernel
def shuffle_pairs(
    keys: NDArray[np.int32],
    labels: NDArray[np.float32],
    starts: NDArray[np.int64],
    blocks: int,
    seed: int,
) -> None:
    """Shuffle the records inside each block (Fisher and Yates)."""
    for block in range(blocks):
        start = starts[block]
        for last in range(starts[block + 1] - 1, start, -1):
            other = start + _random(seed + last) % (last - start + 1)
            keys[2 * last], keys[2 * other] = keys[2 * other], keys[2 * last]
            keys[2 * last + 1], keys[2 * other + 1] = keys[2 * other + 1], keys[2 * last + 1]
            labels[last], labels[other] = labels[other], labels[last]


def _train_pairs(fixed_width: int, classifier: bool) -> Callable[..., None]:
    """Make a kernel for rows of one width, which the compiler then unrolls; 0 for any width."""

    @kernel
    def train(
        first_rows: NDArray[np.float32],
        second_rows: NDArray[np.float32],
        width: int,
        keys: NDArray[np.int32],
        labels: NDArray[np.float32],
        starts: NDArray[np.int64],
        visits: NDArray[np.int64],
        words: NDArray[np.int64],
        num_visits: int,
        bias: np.float32,
        rate: np.float32,
        keep: np.float32,
        tails: NDArray[np.float32],
        sums: NDArray[np.float64],
    ) -> None:
        """Make a step for every record of some blocks.

        Parameters
        ----------
        first_rows, second_rows
            Extended rows of ``width`` floats; they change.
        width
            A multiple of ``LANES``.
        keys, labels
            Of each record first and second row, and the label; block by block.
        starts
            (number of blocks + 1,): where each block begins.
        visits, words
            (num_visits,): the blocks to visit in their order; for each 63 random bits that choose
            the order of its records.
        bias
            The constant term.
        rate, keep
            A row becomes ``keep * row - rate * residual * other row``.
        tails
            (4 * LANES,): in the last lanes of a row, where the constants 1 are, that rule's rates
            and keeps by lane: rates and keeps of first rows, then those of second rows.
        sums
            Those of ``matinee.fm.metrics.Totals.add_sums``; are added to. Not finite once an output
            was not.
        """
        width = fixed_width if fixed_width else width
        last = width - LANES
        near = max(1, _NEAR // width)
        far = max(1, _FAR // width)
        first_rate, first_keep = load(tails, 0), load(tails, LANES)
        second_rate, second_keep = load(tails, 2 * LANES), load(tails, 3 * LANES)
        kept = splat(keep)
        squared, absolute = 0.0, 0.0
        for visit in range(num_visits):
            start = starts[visits[visit]]
            count = starts[visits[visit] + 1] - start
            if count == 0:
                continue
            next_start = starts[visits[min(visit + 1, num_visits - 1)]]
            stride = _stride(words[visit], count)
            place = (words[visit] & 0x7FFFFFFF) % count
            near_place = (place + near * stride) % count
            far_place = (place + far * stride) % count
            for visited in range(count):
                prefetch_to_l2(keys, 2 * (next_start + visited))
                prefetch_to_l2(labels, next_start + visited)
                first = keys[2 * (start + far_place)] * width
                second = keys[2 * (start + far_place) + 1] * width
                for column in range(0, width, LANES):
                    prefetch_to_l2(first_rows, first + column)
                    prefetch_to_l2(second_rows, second + column)
                far_place = _follow(far_place, stride, count)
                first = keys[2 * (start + near_place)] * width
                second = keys[2 * (start + near_place) + 1] * width
                for column in range(0, width, LANES):
                    prefetch(first_rows, first + column)
                    prefetch(second_rows, second + column)
                near_place = _follow(near_place, stride, count)
                first = keys[2 * (start + place)] * width
                second = keys[2 * (start + place) + 1] * width
                label = labels[start + place]
                place = _follow(place, stride, count)
                summed = load(first_rows, first + last) * load(second_rows, second + last)
                for column in range(0, last, LANES):
                    own, other = (
                        load(first_rows, first + column),
                        load(second_rows, second + column),
                    )
                    summed = fma(own, other, summed)
                output = bias + total(summed)
                if classifier:
                    gradient = residual(output, label, True, 1.0, sums)
                else:
                    # As ``residual`` does it, but with sums that stay in registers.
                    gradient = output - label
                    wide = np.float64(gradient)
                    squared += wide * wide
                    absolute += abs(wide)
                step = splat(-rate * gradient)
                for column in range(0, last, LANES):
                    own, other = (
                        load(first_rows, first + column),
                        load(second_rows, second + column),
                    )
                    store(first_rows, first + column, fma(step, other, kept * own))
                    store(second_rows, second + column, fma(step, own, kept * other))
                step = splat(-gradient)
                own, other = load(first_rows, first + last), load(second_rows, second + last)
                store(first_rows, first + last, fma(step * first_rate, other, first_keep * own))
                store(second_rows, second + last, fma(step * second_rate, own, second_keep * other))
        if not classifier:
            sums[0] += squared
            sums[1] += absolute

    return train


train_pairs = _train_pairs(0, classifier=False)
train_pairs_16 = _train_pairs(16, classifier=False)
train_pairs_32 = _train_pairs(32, classifier=False)
train_pairs_48 = _train_pairs(48, classifier=False)
train_pairs_80 = _train_pairs(80, classifier=False)
train_classifier_pairs = _train_pairs(0, classifier=True)


@kernel
def train_records(
    rows: NDArray[np.float32],
    width: int,
    num_factors: int,
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    dense: bool,
    labels: NDArray[np.float32],
    visits: NDArray[np.int64],
    records: int,
    word: int,
    bias: np.float32,
    rate: np.float32,
    keep: np.float32,
    is_factor: NDArray[np.float32],
    interactions: NDArray[np.float32],
    classifier: bool,
    sums: NDArray[np.float64],
) -> None:
    """Make a step for any kind of record; stored zeros count as absent.

    Parameters
    ----------
    rows
        Of each feature ``width`` floats: its factors, its linear term, zeros; they change.
    width
        A multiple of ``LANES`` above ``num_factors``.
    starts, keys, values, dense, labels
        The records: (records + 1,), then a key for each value, of dense records for each value of
        one record, and (records,).
    visits
        (records,): the records in an order of which ``word``, 63 random bits, chooses a variation.
    bias, rate, keep, classifier, sums
        See ``train_pairs``.
    is_factor
        (width,): 1 in the columns of factors, else 0.
    interactions
        (width,): scratch space.
    """
    kept = splat(keep)
    stride = _stride(word, records)
    place = (word & 0x7FFFFFFF) % records
    rows_place = (place + _ROWS_AHEAD * stride) % records
    values_place = (place + 2 * _ROWS_AHEAD * stride) % records
    starts_place = (place + 3 * _ROWS_AHEAD * stride) % records
    for _ in range(records):
        record = visits[starts_place]
        starts_place = _follow(starts_place, stride, records)
        prefetch_to_l2(starts, record)
        prefetch_to_l2(labels, record)
        begin = starts[visits[values_place]]
        values_place = _follow(values_place, stride, records)
        prefetch_to_l2(values, begin)
        if not dense:
            prefetch_to_l2(keys, begin)
            record = visits[rows_place]
            rows_place = _follow(rows_place, stride, records)
            for at in range(starts[record], starts[record + 1]):
                for column in range(0, width, LANES):
                    prefetch_to_l2(rows, keys[at] * width + column)
        record = visits[place]
        place = _follow(place, stride, records)
        begin, end = starts[record], starts[record + 1]
        # Dense records share one list of keys.
        shift = begin if dense else 0
        paired = splat(np.float32(0))
        for column in range(0, width, LANES):
            summed, squared = splat(np.float32(0)), splat(np.float32(0))
            for at in range(begin, end):
                term = splat(values[at]) * load(rows, keys[at - shift] * width + column)
                summed += term
                squared = fma(term, term, squared)
            store(interactions, column, summed)
            paired += load(is_factor, column) * (summed * summed - squared)
        output = bias + interactions[num_factors] + np.float32(0.5) * total(paired)
        of_output = residual(output, labels[record], classifier, 1.0, sums)
        # The linear term's gradient is of_output * x: what the loop makes of a sum of 1.
        interactions[num_factors] = np.float32(1)
        for at in range(begin, end):
            x = values[at]
            if x == 0:
                continue
            step = splat(-rate * of_output * x)
            own_value = splat(x)
            row = keys[at - shift] * width
            for column in range(0, width, LANES):
                own = load(rows, row + column)
                gradient = load(interactions, column) - own_value * load(is_factor, column) * own
                store(rows, row + column, fma(step, gradient, kept * own))
