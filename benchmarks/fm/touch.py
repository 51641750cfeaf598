"""Kernels that only move memory: what training would cost if arithmetic were free."""

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import kernel
from matinee.fm.kernels.vectors import LANES, load, prefetch, prefetch_to_l2, splat, store


@kernel
def touch(
    rows: NDArray[np.float32],
    order: NDArray[np.int32],
    count: int,
    width: int,
    ahead: int,
    near: bool,
) -> None:
    """Read and write rows of ``width`` floats, a multiple of 16, in an order of their numbers.

    While a row is moved, the one ``ahead`` is prefetched line by line, into the first-level cache
    if ``near``, else into the second; ``order`` goes on so far.
    """
    one = splat(np.float32(1))
    for at in range(count):
        start = np.int64(order[at]) * width
        later = np.int64(order[at + ahead]) * width
        for turn in range(0, width, LANES):
            # Neighbours change places, so that the hardware sees no stream that it would follow
            # beyond the row's end.
            column = turn ^ LANES
            if column >= width:
                column = turn
            if near:
                prefetch(rows, later + column)
            else:
                prefetch_to_l2(rows, later + column)
            store(rows, start + column, load(rows, start + column) + one)
