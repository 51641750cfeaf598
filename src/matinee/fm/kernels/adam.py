"""Mini-batches with MXNet's Adam, lazily: only features with a stored key in a batch move.

``train_pairs`` takes records of two features of value 1, ``train_records`` any; both do the same
sums, but ``train_records`` finds a feature's gradient as a difference, with other roundings. A
batch is millions of floats in random places, so what counts is to touch each once, and to ask for
it long before: a feature that one record of the batch holds is updated with that record; only what
several hold adds its gradients up in a slot until the batch's end. Float32, single-threaded, in a
fixed order: NaN and infinity are seen and regressors train to the same bytes on any processor.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.adam_steps import (
    BLOCK_VALUES,
    HASH,
    ZERO,
    column_at,
    correction_of,
    of_padding,
    prefetch_columns,
    score_record,
    step_scalar,
    step_shared,
    step_vector,
)
from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.losses import residual
from matinee.fm.kernels.vectors import LANES, fma, load, prefetch_to_l2, splat, store, total

# Records are cut into blocks of at most BLOCK_VALUES values, and so many columns of their rows. A
# block's scores are made before its updates, so that one score need not wait for another, and its
# rows are asked for two blocks before. Found by measuring.
_BLOCK_COLUMNS = 1024


@inlined
def _find_shared(
    keys: NDArray[np.int32],
    first: int,
    last: int,
    table: NDArray[np.int32],
    table_bits: int,
    slots: NDArray[np.int32],
    touched: NDArray[np.int32],
) -> int:
    """Give a slot to each feature that is stored twice or more from ``first`` up to ``last``.

    ``slots`` receives each stored value's slot, -1 for a feature of its own, ``touched`` the
    feature of each slot. Returns the number of slots. The features seen are kept in a hash table
    with open addressing, which stays in the cache where an array over all features would not.
    """
    for spot in range(1 << table_bits):
        table[spot] = 0
    shared = 0
    for at in range(first, last):
        key = keys[at]
        spot = (key * HASH & 0xFFFFFFFF) >> (32 - table_bits)
        # Entries are places after ``first``, counted from 1.
        while table[spot] and keys[first - 1 + table[spot]] != key:
            spot = (spot + 1) & ((1 << table_bits) - 1)
        slot = -1
        if table[spot]:
            before = table[spot] - 1
            slot = slots[before]
            if slot < 0:
                slot = slots[before] = shared
                touched[shared] = key
                shared += 1
        else:
            table[spot] = at - first + 1
        slots[at - first] = slot
    return shared


@kernel
def train_pairs(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],  # noqa: ARG001  (one signature for both)
    labels: NDArray[np.float32],
    n: int,
    dense: bool,  # noqa: ARG001
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
    epsilons: NDArray[np.float32],
    factors_rate: np.float32,
    factors_decay: np.float32,
    linear_rate: np.float32,
    linear_decay: np.float32,
    bias_rate: np.float32,
    bias_decay: np.float32,
    epsilon: np.float32,
    rescale: np.float32,
    clip: np.float32,
    first_batch: int,
    last_batch: int,
    step: int,
    sums: NDArray[np.float64],
) -> int:
    """Train on batches of records that hold two features each, of value 1.

    Parameters and result are those of ``train_records``.
    """
    stride = 3 * width + LANES
    slot_stride = width + LANES
    block_size = max(1, min(BLOCK_VALUES, _BLOCK_COLUMNS // width) // 2)
    final = min(last_batch * mini_batch_size, n) - 1
    for batch in range(first_batch, last_batch):
        begin = batch * mini_batch_size
        end = min(begin + mini_batch_size, n)
        shared = _find_shared(keys, starts[begin], starts[end], table, table_bits, slots, touched)
        step += 1
        correction = correction_of(step)
        rate = correction * factors_rate
        bias_gradient = ZERO
        for block in range(begin, end, block_size):
            block_end = min(block + block_size, end)
            for record in range(block, block_end):
                first = keys[starts[record]] * stride
                second = keys[starts[record] + 1] * stride
                pairs = splat(ZERO)
                for column in range(0, width, LANES):
                    weights = load(parameters, first + column)
                    pairs = fma(weights, load(parameters, second + column), pairs)
                linear = parameters[first + 3 * width] + parameters[second + 3 * width]
                output = bias[0] + (linear + total(pairs))
                if not math.isfinite(output):
                    return record
                gradient = residual(output, labels[record], classifier, 1.0, sums)
                bias_gradient += gradient
                scratch[record - block] = rescale * gradient
            for record in range(block, block_end):
                first = keys[starts[record]] * stride
                second = keys[starts[record] + 1] * stride
                first_slot = slots[2 * (record - begin)]
                second_slot = slots[2 * (record - begin) + 1]
                ahead = min(record + 2 * block_size, final)
                first_ahead = keys[starts[ahead]] * stride
                second_ahead = keys[starts[ahead] + 1] * stride
                gradient = scratch[record - block]
                prefetch_to_l2(parameters, first_ahead + 3 * width)
                prefetch_to_l2(parameters, second_ahead + 3 * width)
                for turn in range(0, width, LANES):
                    column = column_at(turn, width)
                    prefetch_columns(parameters, first_ahead, width, column)
                    prefetch_columns(parameters, second_ahead, width, column)
                    # Both before either changes: each is the other's gradient.
                    first_weights = load(parameters, first + column)
                    second_weights = load(parameters, second + column)
                    first_gradient = splat(gradient) * second_weights
                    second_gradient = splat(gradient) * first_weights
                    if first_slot < 0:
                        step_vector(
                            parameters, first + column, width, first_weights, first_gradient,
                            splat(clip), splat(rate), splat(factors_decay), load(epsilons, column),
                        )  # fmt: skip
                    else:
                        at = first_slot * slot_stride + column
                        store(gradients, at, load(gradients, at) + first_gradient)
                    if second_slot < 0:
                        step_vector(
                            parameters, second + column, width, second_weights, second_gradient,
                            splat(clip), splat(rate), splat(factors_decay), load(epsilons, column),
                        )  # fmt: skip
                    else:
                        at = second_slot * slot_stride + column
                        store(gradients, at, load(gradients, at) + second_gradient)
                for row, slot in ((first, first_slot), (second, second_slot)):
                    if slot < 0:
                        step_scalar(
                            parameters, row + 3 * width, gradient, clip, correction * linear_rate,
                            linear_decay, epsilon,
                        )  # fmt: skip
                    else:
                        gradients[slot * slot_stride + width] += gradient
        bias_gradient += of_padding(begin + mini_batch_size - end, bias, classifier, sums)
        step_shared(
            shared, touched, gradients, parameters, width, clip, rate, factors_decay, epsilons,
            correction * linear_rate, linear_decay, epsilon,
        )  # fmt: skip
        step_scalar(
            bias, 0, rescale * bias_gradient, clip, correction * bias_rate, bias_decay, epsilon
        )
    return -1


@kernel
def train_records(
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
    epsilons: NDArray[np.float32],
    factors_rate: np.float32,
    factors_decay: np.float32,
    linear_rate: np.float32,
    linear_decay: np.float32,
    bias_rate: np.float32,
    bias_decay: np.float32,
    epsilon: np.float32,
    rescale: np.float32,
    clip: np.float32,
    first_batch: int,
    last_batch: int,
    step: int,
    sums: NDArray[np.float64],
) -> int:
    """Train on batches ``first_batch`` up to, not including, ``last_batch`` of an epoch.

    Parameters
    ----------
    starts, keys, values, labels, n, dense
        See ``Records`` of ``matinee.fm.layout``.
    parameters, bias, gradients, table, slots, touched, scratch, table_bits
        See ``State``.
    width, mini_batch_size, classifier, epsilons, factors_rate, factors_decay, linear_rate,
    linear_decay, bias_rate, bias_decay, epsilon, rescale, clip
        See ``Rules``.
    first_batch, last_batch
        Counted from 0 in file order.
    step
        Number of updates made before.
    sums
        Those of ``matinee.fm.metrics.Totals.add_sums``, to which each record's prediction before
        its batch's update is added, padding included.

    Returns
    -------
    int
        -1, or the first record whose prediction is not finite; training stopped there.
    """
    stride = 3 * width + LANES
    slot_stride = width + LANES
    most = max(1, min(BLOCK_VALUES, _BLOCK_COLUMNS // width))
    final = starts[min(last_batch * mini_batch_size, n)] - 1
    for batch in range(first_batch, last_batch):
        begin = batch * mini_batch_size
        end = min(begin + mini_batch_size, n)
        origin = starts[begin]
        if dense:
            # Records share one list of keys, and each feature's slot is its place in it.
            shared = starts[1] - starts[0]
        else:
            shared = _find_shared(keys, origin, starts[end], table, table_bits, slots, touched)
        step += 1
        correction = correction_of(step)
        rate = correction * factors_rate
        bias_gradient = ZERO
        block = begin
        while block < end:
            block_end = block
            while block_end < end and block_end - block < most:
                if starts[block_end + 1] - starts[block] > most and block_end > block:
                    break
                first = starts[block_end]
                shift = first if dense else 0
                of_record = (block_end - block) * width
                output = bias[0] + score_record(
                    keys, values, first, starts[block_end + 1], shift, parameters, width,
                    scratch, of_record,
                )  # fmt: skip
                if not math.isfinite(output):
                    return block_end
                gradient = residual(output, labels[block_end], classifier, 1.0, sums)
                bias_gradient += gradient
                scratch[most * width + block_end - block] = rescale * gradient
                block_end += 1
            for record in range(block, block_end):
                first = starts[record]
                shift = first if dense else 0
                of_record = (record - block) * width
                gradient = scratch[most * width + record - block]
                for at in range(first, starts[record + 1]):
                    x = values[at]
                    row = keys[at - shift] * stride
                    slot = at - shift if dense else slots[at - origin]
                    if x == 0 and slot >= 0:
                        continue
                    ahead = row if dense else keys[min(at + 2 * most, final)] * stride
                    if not dense:
                        prefetch_to_l2(parameters, ahead + 3 * width)
                    for turn in range(0, width, LANES):
                        column = column_at(turn, width)
                        if not dense:
                            prefetch_columns(parameters, ahead, width, column)
                        weights = load(parameters, row + column)
                        others = load(scratch, of_record + column) - splat(x) * weights
                        term = splat(gradient * x) * others
                        if slot < 0:
                            step_vector(
                                parameters, row + column, width, weights, term, splat(clip),
                                splat(rate), splat(factors_decay), load(epsilons, column),
                            )  # fmt: skip
                        else:
                            of_slot = slot * slot_stride + column
                            store(gradients, of_slot, load(gradients, of_slot) + term)
                    if slot < 0:
                        step_scalar(
                            parameters, row + 3 * width, gradient * x, clip,
                            correction * linear_rate, linear_decay, epsilon,
                        )  # fmt: skip
                    else:
                        gradients[slot * slot_stride + width] += gradient * x
            block = block_end
        bias_gradient += of_padding(begin + mini_batch_size - end, bias, classifier, sums)
        step_shared(
            shared, touched, gradients, parameters, width, clip, rate, factors_decay, epsilons,
            correction * linear_rate, linear_decay, epsilon,
        )  # fmt: skip
        step_scalar(
            bias, 0, rescale * bias_gradient, clip, correction * bias_rate, bias_decay, epsilon
        )
    return -1
