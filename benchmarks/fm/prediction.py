"""How fast a model scores many records, and ranks a whole catalogue.

    python -m benchmarks.fm.prediction [--quick]

Records are the reference shape's, shuffled; figures are medians of CPU time on one thread, over
rounds in which all take turns. Beside ``Model.predict`` stand the memory ceiling, which reads both
rows of each record and calculates nothing, and the same scores by SciPy's products. Rankings of the
ten best of all videos, for a thousand customers, stand beside predicting every video for one.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

# One thread of the matrix library too, which reads this when it is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from benchmarks.fm.data import CUSTOMERS, VIDEOS, reference_shape
from matinee.fm import native
from matinee.fm.data import SparseRows
from matinee.fm.kernels.build import compile_kernels, kernel
from matinee.fm.kernels.vectors import LANES, load, prefetch, splat, total
from matinee.fm.model import Model
from matinee.fm.ranking import top

SEED = 20_240_607
FACTORS = (8, 64, 512)
ROUNDS = 5
BEST, RANKED_FOR = 10, 1000
# How many records ahead the ceiling prefetches is chosen by trying.
AHEAD = (1, 2, 4, 8, 16)

_FEATURES = CUSTOMERS + VIDEOS
_AT_A_TIME = 8192


@kernel
def read_rows(
    factors: NDArray[np.float32], keys: NDArray[np.int32], pairs: int, width: int, ahead: int
) -> np.float32:
    """Read both rows of each pair of keys and return the sum of all that was read.

    Up to 15 floats after a row are read too; rows of the pair ``ahead`` are prefetched.
    """
    added = splat(np.float32(0))
    for pair in range(pairs):
        if pair + ahead < pairs:
            for side in range(2):
                start = keys[2 * (pair + ahead) + side] * width
                for column in range(0, width, LANES):
                    prefetch(factors, start + column)
        for side in range(2):
            start = keys[2 * pair + side] * width
            for column in range(0, width, LANES):
                added += load(factors, start + column)
    return total(added)  # type: ignore[no-any-return]


def with_scipy(model: Model, rows: scipy.sparse.csr_matrix) -> NDArray[np.float32]:
    """Score records by sparse matrix products, in parts that stay in the cache."""
    squared_factors = np.square(model.factors).sum(axis=1)
    scores = np.empty(rows.shape[0], dtype=np.float32)
    for start in range(0, rows.shape[0], _AT_A_TIME):
        part = rows[start : start + _AT_A_TIME]
        pairs = np.square(part @ model.factors).sum(axis=1)
        pairs -= part.multiply(part).tocsr() @ squared_factors
        scores[start : start + _AT_A_TIME] = model.bias + part @ model.linear + pairs / 2
    return scores


def medians(rounds: int, tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the CPU seconds of each task, after a first time that does not count."""
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            started = time.thread_time()
            task()
            seconds[name].append(time.thread_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def one_hot(keys: NDArray[np.int32]) -> SparseRows:
    """Return records (n, features) that hold the features of keys (n, any number)."""
    n, values = keys.shape
    starts = np.arange(0, keys.size + 1, values)
    ones = np.ones(keys.size, dtype=np.float32)
    return SparseRows(starts, np.ascontiguousarray(keys).reshape(-1), ones, (n, _FEATURES))


def compare(num_factors: int, keys: NDArray[np.int32], rounds: int) -> str:
    """Measure a model of so many factors on records of two one-hot features; return a line."""
    rng = np.random.default_rng(SEED)
    # The ceiling's last vector may reach behind the last row.
    shape = (_FEATURES + LANES, num_factors)
    factors = rng.standard_normal(shape, dtype=np.float32)[:_FEATURES]
    linear = rng.standard_normal(_FEATURES, dtype=np.float32)
    model = Model(0.5, linear, factors, "regressor")
    memory = native.load(compile_kernels(sys.modules[__name__]))

    def read(ahead: int) -> None:
        memory.read_rows(factors, keys, len(keys), num_factors, ahead)

    ahead = min(AHEAD, key=lambda tried: medians(1, {"": lambda: read(tried)})[""])
    rows = one_hot(keys)
    matrix = scipy.sparse.csr_matrix(
        (rows.data, rows.indices, rows.indptr.astype(np.int32)), shape=rows.shape
    )
    scoring = medians(
        rounds,
        {
            "memory": lambda: read(ahead),
            "predict": lambda: model.predict(rows),
            "SciPy": lambda: with_scipy(model, matrix),
        },
    )
    customers = one_hot(rng.choice(CUSTOMERS, (RANKED_FOR, 1)).astype(np.int32))
    videos = one_hot(np.arange(CUSTOMERS, _FEATURES, dtype=np.int32)[:, None])
    every_video = one_hot(np.stack([np.zeros_like(videos.indices), videos.indices], axis=1))
    ranking = medians(
        rounds,
        {
            "top": lambda: top(model, customers, videos, BEST),
            "predict": lambda: model.predict(every_video),
        },
    )
    rates = [f"{name} {len(keys) / seconds / 1e6:.1f}" for name, seconds in scoring.items()]
    return (
        f"k={num_factors:<4} {', '.join(rates)}; {scoring['memory'] / scoring['predict']:.0%} of "
        f"memory; top {ranking['top'] / RANKED_FOR * 1e3:.3f} ms, predict every video "
        f"{ranking['predict'] * 1e3:.3f} ms"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the records, one round")
    quick = parser.parse_args(arguments).quick

    keys = np.ascontiguousarray(reference_shape(SEED)[0].keys()[:: 10 if quick else 1])
    print(
        f"{len(keys):,} records, in millions a second; "
        f"the {BEST} best of {VIDEOS:,} videos, for a customer"
    )
    for num_factors in FACTORS[:1] if quick else FACTORS:
        print(compare(num_factors, keys, rounds=1 if quick else ROUNDS), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
