"""The vector operations against NumPy's float32, lane by lane."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.fm import native
from matinee.fm.kernels.build import compile_kernels, kernel
from matinee.fm.kernels.vectors import (
    LANES,
    at_least,
    clamp,
    fma,
    load,
    load_first,
    prefetch,
    prefetch_to_l2,
    splat,
    square_root,
    store,
    store_first,
    total,
)

FIRST = np.linspace(-3, 5, LANES, dtype=np.float32)
SECOND = np.linspace(0.1, 7, LANES, dtype=np.float32)


@kernel
def calculate(
    first: NDArray[np.float32], second: NDArray[np.float32], results: NDArray[np.float32]
) -> None:
    a, b = load(first, 0), load(second, 0)
    prefetch(results, 0)
    prefetch_to_l2(results, 0)
    store(results, 0 * LANES, a + b)
    store(results, 1 * LANES, a - b)
    store(results, 2 * LANES, a * b)
    store(results, 3 * LANES, a / b)
    store(results, 4 * LANES, square_root(b))
    store(results, 5 * LANES, fma(a, b, a))
    store(results, 6 * LANES, clamp(a, splat(np.float32(2))))
    sums = splat(np.float32(0))
    for _ in range(3):
        sums += a
    store(results, 7 * LANES, sums)
    store(results, 8 * LANES, at_least(a, b))


@kernel
def add_up(first: NDArray[np.float32], offset: int) -> np.float32:
    return total(load(first, offset))  # type: ignore[no-any-return]


@kernel
def copy_first(
    source: NDArray[np.float32], offset: int, count: int, target: NDArray[np.float32]
) -> None:
    store_first(target, offset, count, load_first(source, offset, count))


@kernel
def fill_up(source: NDArray[np.float32], count: int, target: NDArray[np.float32]) -> None:
    store(target, 0, load_first(source, 0, count))


@pytest.fixture(scope="module")
def compiled() -> Any:
    return native.load(compile_kernels(sys.modules[__name__]))


def test_every_operation_is_that_of_ieee_float32(compiled: Any) -> None:
    results = np.empty((9, LANES), dtype=np.float32)
    compiled.calculate(FIRST, SECOND, results)
    fused = (FIRST.astype(np.float64) * SECOND + FIRST).astype(np.float32)
    expected = [
        FIRST + SECOND,
        FIRST - SECOND,
        FIRST * SECOND,
        FIRST / SECOND,
        np.sqrt(SECOND),
        fused,
        np.clip(FIRST, -2, 2),
        FIRST + FIRST + FIRST,
        np.maximum(FIRST, SECOND),
    ]
    np.testing.assert_array_equal(results, expected)


def test_nan_passes_through_bounds(compiled: Any) -> None:
    results = np.empty((9, LANES), dtype=np.float32)
    compiled.calculate(np.full(LANES, np.nan, dtype=np.float32), SECOND, results)
    assert np.isnan(results[[6, 8]]).all()


def test_lanes_are_added_up_by_halves(compiled: Any) -> None:
    values = FIRST
    while len(values) > 1:
        values = values[: len(values) // 2] + values[len(values) // 2 :]
    shifted = np.concatenate([np.ones(3, dtype=np.float32), FIRST])
    assert compiled.add_up(shifted, 3) == values[0]


@pytest.mark.parametrize("count", [0, 1, 7, 16, 20])
def test_only_the_first_lanes_are_read_and_written(compiled: Any, count: int) -> None:
    written, filled = np.full((2, 2 * LANES), -1, dtype=np.float32)
    source = np.concatenate([SECOND, SECOND])
    present = np.arange(LANES) < count

    compiled.copy_first(source, 3, count, written)
    compiled.fill_up(source, count, filled)

    expected = np.full(2 * LANES, -1, dtype=np.float32)
    expected[3 : 3 + LANES][present] = source[3 : 3 + LANES][present]
    np.testing.assert_array_equal(written, expected)
    np.testing.assert_array_equal(filled[:LANES], np.where(present, SECOND, 0))
