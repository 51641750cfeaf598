"""What every way to train with MXNet's Adam does: a record's output, the moments, the steps.

Gradients are complete when a step is taken: multiplied and summed up, without L2 and clipping.
``matinee.fm.kernels.adam`` trains alone, ``matinee.fm.kernels.adam_hosts`` together with others.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined
from matinee.fm.kernels.losses import residual
from matinee.fm.kernels.vectors import (
    LANES,
    VectorType,
    clamp,
    fma,
    load,
    prefetch_to_l2,
    splat,
    square_root,
    store,
    total,
)

_BETA1 = 0.9
_BETA2 = 0.999
_KEEP1, _KEEP2 = np.float32(_BETA1), np.float32(_BETA2)
_GAIN1, _GAIN2 = np.float32(1) - _KEEP1, np.float32(1) - _KEEP2
ZERO = np.float32(0)
HASH = 0x9E3779B1
"""2^32 divided by the golden ratio (Knuth 1973, 6.4)."""

BLOCK_VALUES = 16
"""So many values ahead rows are asked for. Found by measuring."""


@inlined
def correction_of(step: int) -> np.float32:
    """Return what evens out the moments' start at zero, for a step counted from 1."""
    return np.float32(math.sqrt(1 - _BETA2**step) / (1 - _BETA1**step))


@inlined
def of_padding(
    padding: int, bias: NDArray[np.float32], classifier: bool, sums: NDArray[np.float64]
) -> np.float32:
    """Score the records that fill up a batch; return what they add to the bias's gradient."""
    if padding == 0:
        return ZERO
    gradient = residual(bias[0], ZERO, classifier, float(padding), sums)
    return np.float32(padding) * gradient


@inlined
def step_vector(
    parameters: NDArray[np.float32],
    at: int,
    width: int,
    weight: VectorType,
    gradient: VectorType,
    clip: VectorType,
    rate: VectorType,
    decay: VectorType,
    epsilon: VectorType,
) -> None:
    """Take Adam's step on the factors at an offset; ``weight`` is what is there."""
    g = clamp(fma(decay, weight, gradient), clip)
    m = fma(splat(_KEEP1), load(parameters, at + width), splat(_GAIN1) * g)
    s = fma(splat(_KEEP2), load(parameters, at + 2 * width), splat(_GAIN2) * (g * g))
    store(parameters, at, weight - rate * m / (square_root(s) + epsilon))
    store(parameters, at + width, m)
    store(parameters, at + 2 * width, s)


@inlined
def step_scalar(
    parameters: NDArray[np.float32],
    at: int,
    gradient: np.float32,
    clip: np.float32,
    rate: np.float32,
    decay: np.float32,
    epsilon: np.float32,
) -> None:
    """Take Adam's step on one weight, which its moments follow."""
    g = gradient + decay * parameters[at]
    # Comparisons that are false for NaN, which passes through the clipping.
    if g > clip:
        g = clip
    elif g < -clip:
        g = -clip
    m = _KEEP1 * parameters[at + 1] + _GAIN1 * g
    s = _KEEP2 * parameters[at + 2] + _GAIN2 * (g * g)
    parameters[at] -= rate * m / (math.sqrt(s) + epsilon)
    parameters[at + 1] = m
    parameters[at + 2] = s


@inlined
def step_shared(
    shared: int,
    touched: NDArray[np.int32],
    gradients: NDArray[np.float32],
    parameters: NDArray[np.float32],
    width: int,
    clip: np.float32,
    rate: np.float32,
    decay: np.float32,
    epsilons: NDArray[np.float32],
    linear_rate: np.float32,
    linear_decay: np.float32,
    epsilon: np.float32,
) -> None:
    """Take Adam's step on the features that have slots, and leave zeros in the slots."""
    stride = 3 * width + LANES
    for slot in range(shared):
        row = touched[slot] * stride
        gradient = slot * (width + LANES)
        ahead = touched[min(slot + BLOCK_VALUES, shared - 1)] * stride
        for turn in range(0, width, LANES):
            column = column_at(turn, width)
            prefetch_columns(parameters, ahead, width, column)
            weight, total_ = load(parameters, row + column), load(gradients, gradient + column)
            step_vector(
                parameters, row + column, width, weight, total_, splat(clip), splat(rate),
                splat(decay), load(epsilons, column),
            )  # fmt: skip
            store(gradients, gradient + column, splat(ZERO))
        step_scalar(
            parameters, row + 3 * width, gradients[gradient + width], clip, linear_rate,
            linear_decay, epsilon,
        )  # fmt: skip
        gradients[gradient + width] = ZERO


@inlined
def column_at(turn: int, width: int) -> int:
    """Return the columns whose turn it is: the last ones first, then the others in order.

    Without the detour the hardware takes a row for a stream and fetches what lies behind it, which
    no record asked for: a fifth of the time for 64 factors.
    """
    return turn - LANES if turn else width - LANES


@inlined
def prefetch_columns(parameters: NDArray[np.float32], row: int, width: int, column: int) -> None:
    """Ask for some of a row's factors and their moments."""
    prefetch_to_l2(parameters, row + column)
    prefetch_to_l2(parameters, row + column + width)
    prefetch_to_l2(parameters, row + column + 2 * width)


@inlined
def score_record(
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    first: int,
    last: int,
    shift: int,
    parameters: NDArray[np.float32],
    width: int,
    summed: NDArray[np.float32],
    of_record: int,
) -> np.float32:
    """Return a record's output without the constant term; write its sums of ``x_i * v_i``."""
    stride = 3 * width + LANES
    linear = ZERO
    for at in range(first, last):
        linear += values[at] * parameters[keys[at - shift] * stride + 3 * width]
    pairs = splat(ZERO)
    for column in range(0, width, LANES):
        before = splat(ZERO)
        for at in range(first, last):
            weights = load(parameters, keys[at - shift] * stride + column)
            term = splat(values[at]) * weights
            # Each value with those before it: no squares whose digits could cancel.
            pairs = fma(before, term, pairs)
            before += term
        store(summed, of_record + column, before)
    return np.float32(linear + total(pairs))
