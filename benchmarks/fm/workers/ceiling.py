"""How many records a second memory itself allows: rows read and written, nothing calculated.

A row is what a solver moves for one feature, in whole cache lines: for ``sgd`` its factors, weight
and a constant, for ``adam`` three times the factors (values and two moments) and a line for the
weights. ``adam`` moves each feature of a batch once, in order of appearance; ``sgd``, which groups
records by customer, both rows of each record, one customer after the other, although that is more
regular than it can be. One thread.
"""

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.fm import touch
from benchmarks.fm.workers.task import Answer, Stopwatch, Task, load, serve, timed, widths
from matinee.fm import native
from matinee.fm.kernels.build import compile_kernels
from matinee.fm.kernels.vectors import LANES

# How many rows ahead to prefetch, and how near, is chosen by trying.
AHEAD = (1, 2, 4, 8, 16, 32, 64)
SAMPLE = 200_000


def work(task: Task) -> Answer:
    keys, _ = load(task.data, "train")
    if task.method == "adam":
        order = batches(keys, task.options["batch"])
        width = 3 * native.padded(task.num_factors) + LANES
    else:
        order = keys[np.argsort(keys[:, 0], kind="stable")].ravel()
        width = native.padded(task.num_factors + 2)
    rows = native.aligned(sum(widths(task.data)) * width)
    rows[:] = 1
    kernels = native.load(compile_kernels(touch))
    padded = np.append(order, np.zeros(max(AHEAD), dtype=np.int32))

    def move(stop: int, ahead: int, near: bool) -> None:
        kernels.touch(rows, padded, stop, width, ahead, near)

    sample = min(SAMPLE, len(order))
    ways = itertools.product(AHEAD, (False, True))
    ahead, near = min(ways, key=lambda way: timed(lambda: move(sample, *way))[1][0])
    watch = Stopwatch()
    for _ in range(task.epochs):
        move(len(order), ahead, near)
        watch.lap()
    cpu, wall = (sum(part) for part in zip(*watch.laps, strict=True))
    return Answer(watch.laps, (cpu, wall), math.nan)


def batches(keys: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """Return the features of each batch of ``size`` records, each once a batch."""
    distinct = []
    for start in range(0, len(keys), size):
        batch = keys[start : start + size].ravel()
        _, first = np.unique(batch, return_index=True)
        distinct.append(batch[np.sort(first)])
    return np.concatenate(distinct)


if __name__ == "__main__":
    serve(work)
