"""Gibbs sampling of pairs as in ``gibbs_narrow``, for any number of factors.

Rows are ``width`` floats, and one feature is drawn at a time: in the space of the parameters or, if
that is smaller, of its records.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.gaussian import accumulate, ask, clear, draw, sums_size, whole_vectors
from matinee.fm.kernels.vectors import LANES, fma, load, splat, store, total

BLOCK = 64  # records whose rows are gathered at a time: they fit the first-level cache

_AHEAD = 8  # records whose rows are asked for early


@kernel
def scratch_size(k: int, most: int) -> int:
    """Return how many floats of scratch space ``draw_features`` needs."""
    stride = whole_vectors(k)
    width = whole_vectors(k + 2)
    side = whole_vectors(most)
    gathered = max(BLOCK * width, most * stride)
    return 2 * stride + width + gathered + max(sums_size(k), (most + 1) * side + LANES)


@kernel
def draw_features(
    rows: NDArray[np.float32],
    width: int,
    k: int,
    starts: NDArray[np.int64],
    others: NDArray[np.int32],
    labels: NDArray[np.float32],
    bias: np.float32,
    noise: np.float32,
    means: NDArray[np.float32],
    precisions: NDArray[np.float32],
    normals: NDArray[np.float32],
    most: int,
    first: int,
    last: int,
    base: int,
    residuals: NDArray[np.float32],
    measure: bool,
    scratch: NDArray[np.float32],
    moments: NDArray[np.float64],
) -> None:
    """Draw features ``first`` to ``last`` of a field, for any k.

    Parameters
    ----------
    normals
        Standard normal numbers, k + 1 of each feature and, if it has at most ``most`` records, one
        of each record; as many finite numbers as a row is wide must follow.
    most
        Features with at most so many records are drawn in the space of the records.
    scratch
        Room for ``scratch_size(k, most)`` floats, zeros at first.

    The other parameters are those of ``gibbs_narrow.draw_features``.
    """
    stride = whole_vectors(k)
    spreads = 0  # offsets in scratch
    scales = spreads + stride
    drawn = scales + stride
    gathered = drawn + width
    sums = gathered + max(BLOCK * width, most * stride)
    deviation = np.float32(math.sqrt(noise))
    for c in range(k):
        scratch[spreads + c] = np.float32(1) / np.float32(math.sqrt(precisions[c]))
        scratch[scales + c] = scratch[spreads + c] / deviation
    for c in range(2 * (k + 1) + 3):
        moments[c] = 0.0
    place = 0
    for feature in range(first, last):
        begin, end = starts[feature], starts[feature + 1]
        if end - begin <= most:
            _draw_by_records(
                rows,
                width,
                k,
                others,
                labels,
                bias,
                deviation,
                means,
                precisions,
                normals,
                place,
                begin,
                end,
                residuals,
                scratch,
                spreads,
                scales,
                drawn,
                gathered,
                sums,
            )
            place += end - begin
        else:
            clear(scratch, sums, k)
            for block in range(begin, end, BLOCK):
                stop = min(block + BLOCK, end)
                for n in range(block, stop):
                    ask(rows, others[n + _AHEAD] * width, width)
                    row, copy = others[n] * width, gathered + (n - block) * width
                    for offset in range(0, width, LANES):
                        store(scratch, copy + offset, load(rows, row + offset))
                    residuals[n] = labels[n] - bias - rows[row + k + 1]
                    scratch[copy + k + 1] = residuals[n]
                accumulate(scratch, gathered, stop - block, width, k, scratch, sums)
            draw(scratch, sums, k, noise, means, precisions, normals, place, scratch, drawn)
        place += k + 1
        row = (base + feature) * width
        for c in range(k):
            parameter = scratch[drawn + c]
            rows[row + c] = parameter
            moments[c] += float(parameter)
            moments[k + 1 + c] += float(parameter) * float(parameter)
        weight = scratch[drawn + k]
        rows[row + k + 1] = weight
        moments[k] += float(weight)
        moments[2 * k + 1] += float(weight) * float(weight)
        if measure:
            _measure(
                rows,
                width,
                others,
                begin,
                end,
                residuals,
                scratch,
                drawn,
                stride,
                weight,
                k,
                moments,
            )


@inlined
def _draw_by_records(
    rows: NDArray[np.float32],
    width: int,
    k: int,
    others: NDArray[np.int32],
    labels: NDArray[np.float32],
    bias: np.float32,
    deviation: np.float32,
    means: NDArray[np.float32],
    precisions: NDArray[np.float32],
    normals: NDArray[np.float32],
    place: int,
    begin: int,
    end: int,
    residuals: NDArray[np.float32],
    scratch: NDArray[np.float32],
    spreads: int,
    scales: int,
    drawn: int,
    gathered: int,
    gram: int,
) -> None:
    """Draw a feature with few records, by decomposing a matrix of the size of their number.

    A draw from the prior is corrected by what the records say of it (Bhattacharya, Chakraborty and
    Mallick 2016).
    """
    stride = whole_vectors(k)
    count = end - begin
    side = whole_vectors(count)
    targets = gram + count * side
    for offset in range(0, stride, LANES):
        guess = load(normals, place + offset) * load(scratch, spreads + offset)
        store(scratch, drawn + offset, guess)
    for c in range(k):
        scratch[drawn + c] += means[c]
    weight_spread = np.float32(1) / np.float32(math.sqrt(precisions[k]))
    weight = means[k] + weight_spread * normals[place + k]
    for n in range(begin, end):
        ask(rows, others[n + _AHEAD] * width, width)
        row, copy = others[n] * width, gathered + (n - begin) * stride
        predicted = splat(np.float32(0))
        for offset in range(0, stride, LANES):
            x = load(rows, row + offset)
            store(scratch, copy + offset, x * load(scratch, scales + offset))
            predicted = fma(x, load(scratch, drawn + offset), predicted)
        target = labels[n] - bias - rows[row + k + 1]
        residuals[n] = target
        rest = (target - total(predicted) - weight) / deviation
        scratch[targets + n - begin] = rest - normals[place + k + 1 + n - begin]
    constant = weight_spread * weight_spread / (deviation * deviation)
    for i in range(count):
        one = gathered + i * stride
        for j in range(i, count):
            other = gathered + j * stride
            product = load(scratch, one) * load(scratch, other)
            for offset in range(LANES, stride, LANES):
                product = fma(load(scratch, one + offset), load(scratch, other + offset), product)
            scratch[gram + i * side + j] = total(product) + constant
        scratch[gram + i * side + i] += np.float32(1)
    _solve(scratch, gram, count, side, targets)
    for offset in range(0, stride, LANES):
        change = splat(np.float32(0))
        for i in range(count):
            answer = splat(scratch[targets + i])
            change = fma(answer, load(scratch, gathered + i * stride + offset), change)
        corrected = fma(change, load(scratch, spreads + offset), load(scratch, drawn + offset))
        store(scratch, drawn + offset, corrected)
    for i in range(count):
        weight += scratch[targets + i] * weight_spread * weight_spread / deviation
    # Beside the factors, where only they may be read as vectors.
    scratch[drawn + k] = weight


@inlined
def _solve(a: NDArray[np.float32], at: int, count: int, side: int, b: int) -> None:
    """Solve a system (identity + positive semidefinite, upper half given); b becomes x."""
    for i in range(count):
        row = at + i * side
        for block in range(i // LANES * LANES, count, LANES):
            rest = load(a, row + block)
            for above in range(at, row, side):
                rest = fma(splat(-a[above + i]), load(a, above + block), rest)
            store(a, row + block, rest)
        # No pivot is below 1, except by rounding.
        inverse = np.float32(1) / np.float32(math.sqrt(max(a[row + i], np.float32(1))))
        solved = a[b + i] * inverse
        for j in range(i + 1, count):
            a[row + j] *= inverse
            a[b + j] -= solved * a[row + j]
        a[row + i] = inverse
        a[b + i] = solved
    for i in range(count - 1, -1, -1):
        row = at + i * side
        rest = a[b + i]
        for j in range(i + 1, count):
            rest -= a[row + j] * a[b + j]
        a[b + i] = rest * a[row + i]


@inlined
def _measure(
    rows: NDArray[np.float32],
    width: int,
    others: NDArray[np.int32],
    begin: int,
    end: int,
    residuals: NDArray[np.float32],
    scratch: NDArray[np.float32],
    drawn: int,
    stride: int,
    weight: np.float32,
    k: int,
    moments: NDArray[np.float64],
) -> None:
    """Turn the targets of a feature's records into residuals, and sum them up."""
    # The weight's place may be inside the last vector of the factors.
    scratch[drawn + k] = np.float32(0)
    sum_, squares, sizes = 0.0, 0.0, 0.0
    for n in range(begin, end):
        row = others[n] * width
        predicted = load(rows, row) * load(scratch, drawn)
        for offset in range(LANES, stride, LANES):
            predicted = fma(load(rows, row + offset), load(scratch, drawn + offset), predicted)
        residual = residuals[n] - total(predicted) - weight
        residuals[n] = residual
        sum_ += float(residual)
        squares += float(residual) * float(residual)
        sizes += abs(float(residual))
    at = 2 * (k + 1)
    moments[at] += sum_
    moments[at + 1] += squares
    moments[at + 2] += sizes
