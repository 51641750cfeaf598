"""Gibbs sampling for records of any kind: any number of features in a record, with any values.

Of each record a row of ``width`` floats is kept current: [sums (k), 1, residual, zeros], the sums
being those of its features' factors times values. Features are rows too: [factors (k), linear
weight, zeros]. ``draw_by_records`` draws a feature by going through the records that hold it.
Records with the same features in some fields follow the same pattern there; ``draw_by_patterns``
goes through the patterns that hold a feature, whose records are summed up once for all features by
``sum_patterns`` and follow by ``move_records`` (relation blocks: Rendle 2013, here for whole
vectors). A pattern's sums are those of ``gaussian``, of rows with the pattern's own part taken out.
"""

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined, kernel
from matinee.fm.kernels.gaussian import TILE, accumulate, ask, clear, draw, sums_size, whole_vectors
from matinee.fm.kernels.vectors import LANES, fma, load, splat, store, total

BLOCK = 64  # records gathered at a time: they fit the first-level cache

_AHEAD = 8  # records whose rows are asked for early


@kernel
def sums_of(k: int) -> int:
    """Return how many floats a pattern's sums take."""
    return sums_size(k)


@kernel
def scratch_size(k: int) -> int:
    """Return how many floats of scratch space the kernels need."""
    return sums_size(k) + (BLOCK + 4) * whole_vectors(k + 2)


@kernel
def hash_records(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.uint32],
    count: int,
    field_of: NDArray[np.int32],
    fields: int,
    hashes: NDArray[np.uint64],
) -> None:
    """Add to ``hashes`` (count, fields) what tells records apart in each field.

    ``values`` are the bits of the records' values; ``field_of`` is each feature's field.
    """
    for n in range(count):
        for place in range(starts[n], starts[n + 1]):
            word = (np.uint64(keys[place]) << np.uint64(32)) | np.uint64(values[place])
            # The finalizer of splitmix64: every bit of a word reaches every bit of its hash.
            word += np.uint64(0x9E3779B97F4A7C15)
            word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            hashes[n * fields + field_of[keys[place]]] += word ^ (word >> np.uint64(31))


@kernel
def count_places(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    count: int,
    begin: int,
    end: int,
    column_starts: NDArray[np.int64],
) -> bool:
    """Count the rows of a sparse matrix that hold each feature from ``begin`` to ``end``.

    ``column_starts`` (end - begin + 1 zeros) becomes where each feature's places start. Returns
    whether no row holds two of the features.
    """
    alone = True
    for n in range(count):
        found = 0
        for place in range(starts[n], starts[n + 1]):
            if begin <= keys[place] < end:
                column_starts[keys[place] - begin + 1] += 1
                found += 1
        alone = alone and found < 2
    for feature in range(end - begin):
        column_starts[feature + 1] += column_starts[feature]
    return alone


@kernel
def find_places(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    count: int,
    begin: int,
    end: int,
    column_starts: NDArray[np.int64],
    places: NDArray[np.int32],
    column_values: NDArray[np.float32],
) -> None:
    """Write each feature's rows, in order, and its values there; see ``count_places``."""
    for n in range(count):
        for place in range(starts[n], starts[n + 1]):
            feature = keys[place] - begin
            if 0 <= feature < end - begin:
                places[column_starts[feature]] = n
                column_values[column_starts[feature]] = values[place]
                column_starts[feature] += 1
    for feature in range(end - begin, 0, -1):
        column_starts[feature] = column_starts[feature - 1]
    column_starts[0] = 0


@kernel
def draw_by_records(
    parameters: NDArray[np.float32],
    rows: NDArray[np.float32],
    k: int,
    starts: NDArray[np.int64],
    records: NDArray[np.int32],
    values: NDArray[np.float32],
    noise: np.float32,
    means: NDArray[np.float32],
    precisions: NDArray[np.float32],
    normals: NDArray[np.float32],
    first: int,
    last: int,
    base: int,
    relative: bool,
    scratch: NDArray[np.float32],
    moments: NDArray[np.float64],
) -> None:
    """Draw features ``first`` to ``last`` of a field, one after the other.

    Parameters
    ----------
    starts, records, values
        Of each feature of the field, where its records start; of each of these, its number and the
        feature's value.
    noise
        Variance of a label given the parameters.
    means, precisions
        Prior of the field, (k + 1,).
    normals
        k + 1 standard normal numbers of each feature from ``first`` on; overwritten.
    base
        The field's first feature.
    relative
        Whether it is changes of the parameters that are drawn, and that have the prior.
    scratch
        Room for ``scratch_size(k)`` floats.
    moments
        Becomes the sums of the parameters drawn (k + 1) and of their squares (k + 1).
    """
    width = whole_vectors(k + 2)
    for c in range(2 * (k + 1)):
        moments[c] = 0.0
    gathered = sums_size(k)
    drawn = gathered + BLOCK * width
    for feature in range(first, last):
        own = (base + feature) * width
        begin, end = starts[feature], starts[feature + 1]
        clear(scratch, 0, k)
        for block in range(begin, end, BLOCK):
            stop = min(block + BLOCK, end)
            for place in range(block, stop):
                ask(rows, records[min(place + _AHEAD, end - 1)] * width, width)
                row, copy = records[place] * width, gathered + (place - block) * width
                value = values[place]
                explained = _regressors(parameters, own, rows, row, value, width, k, scratch, copy)
                scratch[copy + k] = value
                residual = rows[row + k + 1]
                if not relative:
                    residual += explained + value * parameters[own + k]
                scratch[copy + k + 1] = residual
            accumulate(scratch, gathered, stop - block, width, k, scratch, 0)
        chance = (feature - first) * (k + 1)
        draw(scratch, 0, k, noise, means, precisions, normals, chance, scratch, drawn)
        # What is drawn becomes the change.
        _count(scratch, drawn, k, moments)
        if not relative:
            for offset in range(0, width, LANES):
                old = load(parameters, own + offset)
                store(scratch, drawn + offset, load(scratch, drawn + offset) - old)
        for place in range(begin, end):
            row, value = records[place] * width, values[place]
            effect = _move(parameters, own, rows, row, value, width, k, scratch, drawn)
            rows[row + k + 1] -= effect + value * scratch[drawn + k]
        for offset in range(0, width, LANES):
            new = load(parameters, own + offset) + load(scratch, drawn + offset)
            store(parameters, own + offset, new)


@inlined
def _regressors(
    parameters: NDArray[np.float32],
    own: int,
    rows: NDArray[np.float32],
    row: int,
    value: np.float32,
    width: int,
    k: int,
    copies: NDArray[np.float32],
    copy: int,
) -> np.float32:
    """Copy a record's regressors of a feature's factors; return what these explain so far."""
    explained = splat(np.float32(0))
    for offset in range(0, width, LANES):
        factors = load(parameters, own + offset)
        x = splat(value) * fma(splat(-value), factors, load(rows, row + offset))
        store(copies, copy + offset, x)
        explained = fma(x, factors, explained)
    # Beyond the factors rows hold something else.
    rest: np.float32 = total(explained) - copies[copy + k] * parameters[own + k]
    return rest


@inlined
def _move(
    parameters: NDArray[np.float32],
    own: int,
    rows: NDArray[np.float32],
    row: int,
    value: np.float32,
    width: int,
    k: int,
    changes: NDArray[np.float32],
    change_at: int,
) -> np.float32:
    """Follow a change of a feature's factors in a record's sums; return its effect."""
    effect = splat(np.float32(0))
    # Where changes hold the weight's, rows hold what must stay.
    weight = changes[change_at + k]
    changes[change_at + k] = np.float32(0)
    for offset in range(0, width, LANES):
        change = load(changes, change_at + offset)
        sums = load(rows, row + offset)
        x = splat(value) * fma(splat(-value), load(parameters, own + offset), sums)
        effect = fma(x, change, effect)
        store(rows, row + offset, fma(splat(value), change, sums))
    changes[change_at + k] = weight
    sum_: np.float32 = total(effect)
    return sum_


@kernel
def sum_patterns(
    rows: NDArray[np.float32],
    k: int,
    starts: NDArray[np.int64],
    records: NDArray[np.int32],
    parts: NDArray[np.float32],
    sums: NDArray[np.float32],
    first: int,
    last: int,
    scratch: NDArray[np.float32],
) -> None:
    """Sum up the records of patterns ``first`` to ``last``.

    Parameters
    ----------
    starts, records
        Of each pattern, where its records start; the records' numbers.
    parts
        (patterns, width): what each pattern's own features add to its records' sums, then zeros.
    sums
        (patterns, sums_of(k)): become what ``draw_by_patterns`` needs.
    scratch
        Room for ``scratch_size(k)`` floats.
    """
    width = whole_vectors(k + 2)
    for pattern in range(first, last):
        at = pattern * sums_size(k)
        clear(sums, at, k)
        begin, end = starts[pattern], starts[pattern + 1]
        for block in range(begin, end, BLOCK):
            stop = min(block + BLOCK, end)
            for place in range(block, stop):
                ask(rows, records[min(place + _AHEAD, end - 1)] * width, width)
                row, copy = records[place] * width, (place - block) * width
                for offset in range(0, width, LANES):
                    rest = load(rows, row + offset) - load(parts, pattern * width + offset)
                    store(scratch, copy + offset, rest)
            accumulate(scratch, 0, stop - block, width, k, sums, at)


@kernel
def draw_by_patterns(
    parameters: NDArray[np.float32],
    k: int,
    starts: NDArray[np.int64],
    patterns: NDArray[np.int32],
    values: NDArray[np.float32],
    sums: NDArray[np.float32],
    parts: NDArray[np.float32],
    effects: NDArray[np.float32],
    noise: np.float32,
    means: NDArray[np.float32],
    precisions: NDArray[np.float32],
    normals: NDArray[np.float32],
    first: int,
    last: int,
    base: int,
    relative: bool,
    scratch: NDArray[np.float32],
    moments: NDArray[np.float64],
) -> None:
    """Draw features ``first`` to ``last`` of a field, one after the other.

    Parameters
    ----------
    starts, patterns, values
        Of each feature of the field, where its patterns start; of each of these, its number and the
        feature's value.
    sums, parts
        As ``sum_patterns`` made and had them; follow the draws.
    effects
        (patterns,): what draws added to the predictions of each pattern's records, less what the
        change of the pattern's part does together with the records' other features.

    The other parameters are those of ``draw_by_records``.
    """
    width = whole_vectors(k + 2)
    for c in range(2 * (k + 1)):
        moments[c] = 0.0
    size, stride = sums_size(k), whole_vectors(k)
    height = (k + TILE - 1) // TILE * TILE
    others, weighted = size, size + width  # offsets in scratch
    drawn, products = size + 2 * width, size + 3 * width
    for feature in range(first, last):
        own = (base + feature) * width
        clear(scratch, 0, k)
        for place in range(starts[feature], starts[feature + 1]):
            at, part = patterns[place] * size, patterns[place] * width
            value = values[place]
            square = value * value
            heads, targets = at + height * stride, at + (height + 1) * stride
            count, residual = sums[targets + stride], sums[targets + stride + 1]
            # The pattern's other features shift its records' regressors by d, which turns
            # S = sum of z z' into S + h d' + d h' + count d d', h being the sum of z.
            for offset in range(0, stride, LANES):
                factors = load(parameters, own + offset)
                d = fma(splat(-value), factors, load(parts, part + offset))
                store(scratch, others + offset, d)
            # Beyond the factors there is the weight.
            for c in range(k, stride):
                scratch[others + c] = np.float32(0)
            for offset in range(0, stride, LANES):
                d = load(scratch, others + offset)
                h = fma(splat(count), d, load(sums, heads + offset))
                store(scratch, weighted + offset, splat(square) * h)
                head = height * stride + offset
                store(scratch, head, fma(splat(square), h, load(scratch, head)))
                target = fma(splat(residual), d, load(sums, targets + offset))
                head += stride
                store(scratch, head, fma(splat(value), target, load(scratch, head)))
            scratch[size - LANES] += square * count
            scratch[size - LANES + 1] += value * residual
            for c in range(k):
                shift = splat(scratch[others + c])
                h = splat(square * sums[heads + c])
                for offset in range(c // LANES * LANES, stride, LANES):
                    row = c * stride + offset
                    total_ = fma(splat(square), load(sums, at + row), load(scratch, row))
                    total_ = fma(h, load(scratch, others + offset), total_)
                    total_ = fma(shift, load(scratch, weighted + offset), total_)
                    store(scratch, row, total_)
        heads, targets = height * stride, (height + 1) * stride
        if not relative:
            # From residuals to targets: what the feature explains now is to be explained anew.
            weight = parameters[own + k]
            for offset in range(0, width, LANES):
                store(scratch, drawn + offset, load(parameters, own + offset))
            scratch[drawn + k] = np.float32(0)
            _multiply(scratch, 0, k, scratch, drawn, scratch, products)
            explained = splat(np.float32(0))
            for offset in range(0, stride, LANES):
                head = load(scratch, heads + offset)
                explained = fma(head, load(scratch, drawn + offset), explained)
                target = load(scratch, targets + offset) + load(scratch, products + offset)
                store(scratch, targets + offset, fma(splat(weight), head, target))
            scratch[size - LANES + 1] += total(explained) + scratch[size - LANES] * weight
        chance = (feature - first) * (k + 1)
        draw(scratch, 0, k, noise, means, precisions, normals, chance, scratch, drawn)
        _count(scratch, drawn, k, moments)
        if not relative:
            for offset in range(0, width, LANES):
                old = load(parameters, own + offset)
                store(scratch, drawn + offset, load(scratch, drawn + offset) - old)
        weight = scratch[drawn + k]
        scratch[drawn + k] = np.float32(0)
        for place in range(starts[feature], starts[feature + 1]):
            at, part = patterns[place] * size, patterns[place] * width
            value = values[place]
            heads, targets = at + height * stride, at + (height + 1) * stride
            last_ = targets + stride
            sum_d, sum_h = splat(np.float32(0)), splat(np.float32(0))
            for offset in range(0, stride, LANES):
                change = load(scratch, drawn + offset)
                factors = load(parameters, own + offset)
                d = fma(splat(-value), factors, load(parts, part + offset))
                sum_d = fma(d, change, sum_d)
                sum_h = fma(load(sums, heads + offset), change, sum_h)
            effect = total(sum_d) + weight
            effects[patterns[place]] += value * effect
            _multiply(sums, at, k, scratch, drawn, scratch, products)
            for offset in range(0, stride, LANES):
                moved = fma(
                    splat(effect), load(sums, heads + offset), load(scratch, products + offset)
                )
                target = fma(splat(-value), moved, load(sums, targets + offset))
                store(sums, targets + offset, target)
                change = load(scratch, drawn + offset)
                sum_ = fma(splat(value), change, load(parts, part + offset))
                store(parts, part + offset, sum_)
            sums[last_ + 1] -= value * (total(sum_h) + sums[last_] * effect)
        scratch[drawn + k] = weight
        for offset in range(0, width, LANES):
            new = load(parameters, own + offset) + load(scratch, drawn + offset)
            store(parameters, own + offset, new)


@kernel
def move_records(
    rows: NDArray[np.float32],
    k: int,
    starts: NDArray[np.int64],
    records: NDArray[np.int32],
    old_parts: NDArray[np.float32],
    parts: NDArray[np.float32],
    effects: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Make the records of patterns ``first`` to ``last`` follow what was drawn for the patterns."""
    width = whole_vectors(k + 2)
    for pattern in range(first, last):
        end = starts[pattern + 1]
        for place in range(starts[pattern], end):
            ask(rows, records[min(place + _AHEAD, end - 1)] * width, width)
            row = records[place] * width
            effect = splat(np.float32(0))
            for offset in range(0, width, LANES):
                part = pattern * width + offset
                old = load(old_parts, part)
                change = load(parts, part) - old
                sums = load(rows, row + offset)
                effect = fma(change, sums - old, effect)
                store(rows, row + offset, sums + change)
            rows[row + k + 1] -= total(effect) + effects[pattern]


@kernel
def measure(
    rows: NDArray[np.float32],
    k: int,
    count: int,
    shift: np.float32,
    moments: NDArray[np.float64],
) -> None:
    """Add ``shift`` to residuals; sum up them, their squares and absolute values (``moments``)."""
    width = whole_vectors(k + 2)
    sum_, squares, sizes = 0.0, 0.0, 0.0
    for row in range(0, count * width, width):
        residual = rows[row + k + 1] + shift
        rows[row + k + 1] = residual
        sum_ += float(residual)
        squares += float(residual) * float(residual)
        sizes += abs(float(residual))
    moments[0], moments[1], moments[2] = sum_, squares, sizes


@inlined
def _multiply(
    sums: NDArray[np.float32],
    at: int,
    k: int,
    vector: NDArray[np.float32],
    vector_at: int,
    products: NDArray[np.float32],
    products_at: int,
) -> None:
    """Multiply symmetric sums, kept from the block of the diagonal on, by a vector of factors."""
    stride = whole_vectors(k)
    for offset in range(0, stride, LANES):
        product = splat(np.float32(0))
        # Rows that have this block: those up to its end.
        for c in range(min(offset + LANES, k)):
            product = fma(
                splat(vector[vector_at + c]), load(sums, at + c * stride + offset), product
            )
        store(products, products_at + offset, product)
    for c in range(min(k, stride - LANES)):
        rest = splat(np.float32(0))
        for offset in range(c // LANES * LANES + LANES, stride, LANES):
            row = load(sums, at + c * stride + offset)
            rest = fma(row, load(vector, vector_at + offset), rest)
        products[products_at + c] += total(rest)


@inlined
def _count(drawn: NDArray[np.float32], at: int, k: int, moments: NDArray[np.float64]) -> None:
    for c in range(k + 1):
        parameter = float(drawn[at + c])
        moments[c] += parameter
        moments[k + 1 + c] += parameter * parameter
