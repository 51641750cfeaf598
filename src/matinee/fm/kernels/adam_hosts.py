"""A step of Adam that several hosts take together: one's gradients, their sum, the step itself.

Every feature of the hosts' batches has a slot, in the order in which features are first met, those
of the first host first. What a host has added up and what others send is added in that order, so
that the same hosts with the same records always reach the same bytes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.adam_steps import (
    BLOCK_VALUES,
    HASH,
    ZERO,
    correction_of,
    of_padding,
    score_record,
    step_scalar,
    step_shared,
)
from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.losses import residual
from matinee.fm.kernels.vectors import LANES, load, prefetch_to_l2, splat, store


@inlined
def _slot_of(
    key: int, table: NDArray[np.int32], table_bits: int, touched: NDArray[np.int32], count: int
) -> int:
    """Return a feature's slot; ``count``, which becomes its own, if it has none yet.

    ``table`` is a hash table with open addressing of slots, counted from 1.
    """
    spot = (key * HASH & 0xFFFFFFFF) >> (32 - table_bits)
    while table[spot] and touched[table[spot] - 1] != key:
        spot = (spot + 1) & ((1 << table_bits) - 1)
    if table[spot] == 0:
        touched[count] = key
        table[spot] = count + 1
    return int(table[spot]) - 1


@kernel
def add_batch(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    labels: NDArray[np.float32],
    n: int,
    dense: bool,
    parameters: NDArray[np.float32],
    bias: NDArray[np.float32],
    gradients: NDArray[np.float32],
    table: NDArray[np.int32],
    slots: NDArray[np.int32],
    touched: NDArray[np.int32],
    scratch: NDArray[np.float32],
    table_bits: int,
    width: int,
    mini_batch_size: int,
    classifier: bool,
    epsilons: NDArray[np.float32],  # noqa: ARG001  (the rules are passed whole)
    factors_rate: np.float32,  # noqa: ARG001
    factors_decay: np.float32,  # noqa: ARG001
    linear_rate: np.float32,  # noqa: ARG001
    linear_decay: np.float32,  # noqa: ARG001
    bias_rate: np.float32,  # noqa: ARG001
    bias_decay: np.float32,  # noqa: ARG001
    epsilon: np.float32,  # noqa: ARG001
    rescale: np.float32,
    clip: np.float32,  # noqa: ARG001
    batch: int,
    sums: NDArray[np.float64],
    bias_gradient: NDArray[np.float32],
) -> int:
    """Add a batch's gradients up in the slots, which are all 0 before.

    Parameters
    ----------
    starts, keys, values, labels, n, dense
        See ``Records`` of ``matinee.fm.layout``.
    parameters, bias, gradients, table, slots, touched, scratch, table_bits
        See ``State``; ``table`` holds nothing but zeros.
    width, mini_batch_size, classifier, epsilons, factors_rate, factors_decay, linear_rate,
    linear_decay, bias_rate, bias_decay, epsilon, rescale, clip
        See ``Rules``.
    batch
        Counted from 0 in file order.
    sums
        Those of ``matinee.fm.metrics.Totals.add_sums``, to which each record's prediction is added,
        padding included.
    bias_gradient
        float32 (1,): receives the gradient of the constant term.

    Returns
    -------
    int
        The number of slots; ``-1 - record`` for the first record whose prediction is not finite.
    """
    stride = 3 * width + LANES
    slot_stride = width + LANES
    begin = batch * mini_batch_size
    end = min(begin + mini_batch_size, n)
    origin = starts[begin]
    final = starts[end] - 1
    shared = 0
    if dense:
        # Records share one list of keys, and each feature's slot is its place in it.
        shared = starts[1] - starts[0]
    else:
        for at in range(origin, starts[end]):
            slot = _slot_of(keys[at], table, table_bits, touched, shared)
            if slot == shared:
                shared += 1
            slots[at - origin] = slot
    added = ZERO
    for record in range(begin, end):
        first = starts[record]
        shift = first if dense else 0
        output = bias[0] + score_record(
            keys, values, first, starts[record + 1], shift, parameters, width, scratch, 0
        )
        if not math.isfinite(output):
            return -1 - record
        gradient = residual(output, labels[record], classifier, 1.0, sums)
        added += gradient
        gradient = rescale * gradient
        for at in range(first, starts[record + 1]):
            x = values[at]
            if not dense:
                ahead = keys[min(at + 2 * BLOCK_VALUES, final)] * stride
                prefetch_to_l2(parameters, ahead + 3 * width)
                for column in range(0, width, LANES):
                    prefetch_to_l2(parameters, ahead + column)
            if x == 0:
                continue
            row = keys[at - shift] * stride
            slot = at - shift if dense else slots[at - origin]
            for column in range(0, width, LANES):
                others = load(scratch, column) - splat(x) * load(parameters, row + column)
                of_slot = slot * slot_stride + column
                store(gradients, of_slot, load(gradients, of_slot) + splat(gradient * x) * others)
            gradients[slot * slot_stride + width] += gradient * x
    added += of_padding(begin + mini_batch_size - end, bias, classifier, sums)
    bias_gradient[0] = rescale * added
    return shared


@kernel
def add_rows(
    keys: NDArray[np.int32],
    rows: NDArray[np.float32],
    count: int,
    dense: bool,
    features: int,
    factors: int,
    width: int,
    gradients: NDArray[np.float32],
    table: NDArray[np.int32],
    table_bits: int,
    touched: NDArray[np.int32],
    shared: int,
) -> int:
    """Add what another host has added up.

    Parameters
    ----------
    keys, rows
        int32 (count,) and float32 (count * (factors + 1),): the features, each from 0 to
        ``features - 1``, and of each the gradients of its factors and of its linear term.
    count
        How many; there is a slot for each that has none yet.
    dense
        Whether a feature's slot is its number.
    features
        Their number.
    factors, width
        Their number, and the same filled up to whole vectors.
    gradients, table, table_bits, touched
        See ``State`` of ``matinee.fm.layout``.
    shared
        Number of slots before.

    Returns
    -------
    int
        The number of slots.
    """
    for at in range(count):
        key = keys[at]
        slot = key if dense else _slot_of(key, table, table_bits, touched, shared)
        if slot >= shared:
            shared = features if dense else shared + 1
        to = slot * (width + LANES)
        given = at * (factors + 1)
        for column in range(factors):
            gradients[to + column] += rows[given + column]
        gradients[to + width] += rows[given + factors]
    return shared


@kernel
def take_step(
    parameters: NDArray[np.float32],
    bias: NDArray[np.float32],
    gradients: NDArray[np.float32],
    table: NDArray[np.int32],  # noqa: ARG001  (state and rules are passed whole)
    slots: NDArray[np.int32],  # noqa: ARG001
    touched: NDArray[np.int32],
    scratch: NDArray[np.float32],  # noqa: ARG001
    table_bits: int,  # noqa: ARG001
    width: int,
    mini_batch_size: int,  # noqa: ARG001
    classifier: bool,  # noqa: ARG001
    epsilons: NDArray[np.float32],
    factors_rate: np.float32,
    factors_decay: np.float32,
    linear_rate: np.float32,
    linear_decay: np.float32,
    bias_rate: np.float32,
    bias_decay: np.float32,
    epsilon: np.float32,
    rescale: np.float32,  # noqa: ARG001
    clip: np.float32,
    shared: int,
    step: int,
    bias_gradient: np.float32,
) -> None:
    """Take Adam's step on the features that have slots, and leave zeros in the slots.

    Parameters
    ----------
    parameters, bias, gradients, table, slots, touched, scratch, table_bits
        See ``State`` of ``matinee.fm.layout``.
    width, mini_batch_size, classifier, epsilons, factors_rate, factors_decay, linear_rate,
    linear_decay, bias_rate, bias_decay, epsilon, rescale, clip
        See ``Rules``.
    shared
        Number of slots.
    step
        Counted from 1.
    bias_gradient
        Of all hosts.
    """
    correction = correction_of(step)
    step_shared(
        shared, touched, gradients, parameters, width, clip, correction * factors_rate,
        factors_decay, epsilons, correction * linear_rate, linear_decay, epsilon,
    )  # fmt: skip
    step_scalar(bias, 0, bias_gradient, clip, correction * bias_rate, bias_decay, epsilon)
