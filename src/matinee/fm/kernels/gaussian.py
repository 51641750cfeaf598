"""Normal equations of one feature's vector, and a draw from the Gaussian that they describe.

A feature's parameters t = [factors (k), linear weight] have the conditional density of a Bayesian
linear regression: each record adds x = [factors' regressors (k), weight's regressor] and a target.
Records come as rows of ``width`` floats: [regressors (k), weight's regressor, target, zeros]. Sums
over records are kept as ``height`` = k rounded up to 8 rows of ``stride`` = k rounded up to 16
floats (row c: sum of x_c x, from block c // 16 on), then two rows (the sums of the weight's
regressor, and of the target, times x) and two floats, which say the same of the weight's regressor.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined
from matinee.fm.kernels.vectors import LANES, fma, load, prefetch_to_l2, splat, store, total

TILE = 8  # rows of sums that are in registers at a time

# What the prior adds to the diagonal is at least so much of the largest sum there: below, float32
# cannot tell it from rounding. Only directions of which the records say nothing feel it.
LEAST_SHARE = np.float32(1e-5)


@inlined
def whole_vectors(floats: int) -> int:
    """Return how many floats the vectors have that so many fill."""
    return (floats + LANES - 1) // LANES * LANES


@inlined
def ask(rows: NDArray[np.float32], at: int, width: int) -> None:
    """Ask for a row that is needed soon."""
    for line in range(0, width, LANES):
        prefetch_to_l2(rows, at + line)


@inlined
def sums_size(k: int) -> int:
    """Return the number of floats of a feature's sums."""
    height, stride = _shape(k)
    return (height + 2) * stride + LANES


@inlined
def _shape(k: int) -> tuple[int, int]:
    return (k + TILE - 1) // TILE * TILE, whole_vectors(k)


@inlined
def clear(sums: NDArray[np.float32], at: int, k: int) -> None:
    """Make a feature's sums those of no records."""
    zero = splat(np.float32(0))
    for offset in range(0, sums_size(k), LANES):
        store(sums, at + offset, zero)


@inlined
def accumulate(
    rows: NDArray[np.float32],
    start: int,
    count: int,
    width: int,
    k: int,
    sums: NDArray[np.float32],
    at: int,
) -> None:
    """Add ``count`` records to a feature's sums."""
    height, stride = _shape(k)
    for first in range(0, height, TILE):
        for block in range(first // LANES * LANES, stride, LANES):
            _accumulate_tile(rows, start, count, width, first, sums, at, stride, block)
    last = at + height * stride
    for block in range(0, stride, LANES):
        weight, target = load(sums, last + block), load(sums, last + stride + block)
        for row in range(start, start + count * width, width):
            x = load(rows, row + block)
            weight = fma(splat(rows[row + k]), x, weight)
            target = fma(splat(rows[row + k + 1]), x, target)
        store(sums, last + block, weight)
        store(sums, last + stride + block, target)
    last += 2 * stride
    squares, products = sums[last], sums[last + 1]
    for row in range(start, start + count * width, width):
        squares += rows[row + k] * rows[row + k]
        products += rows[row + k] * rows[row + k + 1]
    sums[last], sums[last + 1] = squares, products


@inlined
def _accumulate_tile(
    rows: NDArray[np.float32],
    start: int,
    count: int,
    width: int,
    first: int,
    sums: NDArray[np.float32],
    at: int,
    stride: int,
    block: int,
) -> None:
    """Add records to eight rows of sums, in one block of columns."""
    place = at + first * stride + block
    s0, s1 = load(sums, place), load(sums, place + stride)
    s2, s3 = load(sums, place + 2 * stride), load(sums, place + 3 * stride)
    s4, s5 = load(sums, place + 4 * stride), load(sums, place + 5 * stride)
    s6, s7 = load(sums, place + 6 * stride), load(sums, place + 7 * stride)
    for row in range(start, start + count * width, width):
        x = load(rows, row + block)
        c = row + first
        s0 = fma(splat(rows[c]), x, s0)
        s1 = fma(splat(rows[c + 1]), x, s1)
        s2 = fma(splat(rows[c + 2]), x, s2)
        s3 = fma(splat(rows[c + 3]), x, s3)
        s4 = fma(splat(rows[c + 4]), x, s4)
        s5 = fma(splat(rows[c + 5]), x, s5)
        s6 = fma(splat(rows[c + 6]), x, s6)
        s7 = fma(splat(rows[c + 7]), x, s7)
    store(sums, place, s0)
    store(sums, place + stride, s1)
    store(sums, place + 2 * stride, s2)
    store(sums, place + 3 * stride, s3)
    store(sums, place + 4 * stride, s4)
    store(sums, place + 5 * stride, s5)
    store(sums, place + 6 * stride, s6)
    store(sums, place + 7 * stride, s7)


@inlined
def draw(
    sums: NDArray[np.float32],
    at: int,
    k: int,
    noise: np.float32,
    means: NDArray[np.float32],
    precisions: NDArray[np.float32],
    normals: NDArray[np.float32],
    place: int,
    drawn: NDArray[np.float32],
    drawn_at: int,
) -> None:
    """Draw a feature's parameters, by Cholesky decomposition; its sums are used up.

    Parameters
    ----------
    noise
        Variance of a target given the parameters.
    means, precisions
        Prior of each parameter, (k + 1,).
    normals, place
        k + 1 standard normal numbers from an offset on; overwritten.
    drawn, drawn_at
        Becomes [factors, linear weight, zeros], as long as a record's row.
    """
    height, stride = _shape(k)
    heads, targets = at + height * stride, at + (height + 1) * stride
    last = targets + stride
    deviation = np.float32(math.sqrt(noise))
    largest = sums[last]
    for c in range(k):
        largest = max(largest, sums[at + c * stride + c])
    least = LEAST_SHARE * largest
    for c in range(k):
        prior = max(noise * precisions[c], least)
        sums[at + c * stride + c] += prior
        sums[targets + c] += prior * means[c]
    # The linear weight comes first in the decomposition, so that k may fill whole vectors.
    prior = max(noise * precisions[k], least)
    weight_inverse = np.float32(1) / np.float32(math.sqrt(sums[last] + prior))
    weight = (sums[last + 1] + prior * means[k]) * weight_inverse
    for block in range(0, stride, LANES):
        head = load(sums, heads + block) * splat(weight_inverse)
        store(sums, heads + block, head)
        store(sums, targets + block, fma(splat(-weight), head, load(sums, targets + block)))
    for block in range(0, whole_vectors(k + 2), LANES):
        store(drawn, drawn_at + block, splat(np.float32(0)))
    for c in range(k):
        row = at + c * stride
        for block in range(c // LANES * LANES, stride, LANES):
            rest = fma(splat(-sums[heads + c]), load(sums, heads + block), load(sums, row + block))
            for above in range(at, row, stride):
                rest = fma(splat(-sums[above + c]), load(sums, above + block), rest)
            store(sums, row + block, rest)
        # No pivot is below its part of the prior, except by rounding.
        pivot = max(sums[row + c], noise * precisions[c], least)
        inverse = np.float32(1) / np.float32(math.sqrt(pivot))
        solved = sums[targets + c] * inverse
        for block in range(c // LANES * LANES, stride, LANES):
            scaled = load(sums, row + block) * splat(inverse)
            store(sums, row + block, scaled)
            store(sums, targets + block, fma(splat(-solved), scaled, load(sums, targets + block)))
        # The diagonal is needed no more, its inverse is; as is the solution, with its noise.
        sums[row + c] = inverse
        normals[place + c] = solved + deviation * normals[place + c]
    weight += deviation * normals[place + k]
    for c in range(k - 1, -1, -1):
        row = at + c * stride
        # What is not yet drawn is zero.
        rest = splat(np.float32(0))
        for block in range(c // LANES * LANES, stride, LANES):
            rest = fma(load(sums, row + block), load(drawn, drawn_at + block), rest)
        drawn[drawn_at + c] = (normals[place + c] - total(rest)) * sums[row + c]
    rest = splat(np.float32(0))
    for block in range(0, stride, LANES):
        rest = fma(load(sums, heads + block), load(drawn, drawn_at + block), rest)
    drawn[drawn_at + k] = (weight - total(rest)) * weight_inverse
