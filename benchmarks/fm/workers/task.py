"""What a worker is asked and what it answers: JSON files named on its command line.

Runs with the peers' interpreters too: it needs NumPy and nothing of matinee.
"""

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST_STARS, HIGHEST_STARS = 1, 5


@dataclass(frozen=True, slots=True)
class Task:
    """One training run.

    Attributes
    ----------
    data
        A folder that ``benchmarks.fm.data.write`` wrote.
    method
        The worker's word for how to train.
    num_factors, epochs, threads, seed
        As everywhere.
    options
        Further settings of the method, by the system's own names.
    """

    data: str
    method: str
    num_factors: int
    epochs: int
    threads: int = 1
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """What came of it.

    Attributes
    ----------
    epochs
        (CPU seconds, seconds) of each measured epoch.
    training
        (CPU seconds, seconds) of the whole training, without loading and scoring.
    rmse
        Of test predictions, kept within the stars.
    peak_bytes
        Most memory that the process held.
    """

    epochs: list[tuple[float, float]]
    training: tuple[float, float]
    rmse: float
    peak_bytes: int = 0


class Stopwatch:
    """CPU seconds of this process and seconds, lap by lap."""

    def __init__(self) -> None:
        self.laps: list[tuple[float, float]] = []
        self._last = self._now()

    def lap(self) -> None:
        now = self._now()
        self.laps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()


def timed(work: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """Return a call's result and its CPU seconds and seconds."""
    watch = Stopwatch()
    result = work()
    watch.lap()
    return result, watch.laps[0]


def load(folder: str, part: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return ``"train"`` or ``"test"``: keys int32 (n, 2) and stars float32 (n,)."""
    path = Path(folder)
    return np.load(path / f"{part}_keys.npy"), np.load(path / f"{part}_stars.npy")


def one_hot(folder: str, part: str) -> tuple[Any, NDArray[np.float32]]:
    """Return ``"train"`` or ``"test"`` as a SciPy CSR matrix of customers and videos, and stars."""
    from scipy.sparse import csr_matrix  # not every peer brings SciPy

    keys, stars = load(folder, part)
    starts = np.arange(0, keys.size + 1, 2, dtype=np.int32)
    ones = np.ones(keys.size, dtype=np.float32)
    return csr_matrix((ones, keys.ravel(), starts), shape=(len(keys), sum(widths(folder)))), stars


def widths(folder: str) -> tuple[int, int]:
    """Return how many customers and videos there are."""
    customers, videos = np.load(Path(folder) / "widths.npy").tolist()
    return customers, videos


def rmse(scores: NDArray[Any], stars: NDArray[np.float32]) -> float:
    """Return the root mean squared error of predictions, kept within the stars."""
    kept = np.clip(scores.astype(np.float64), LOWEST_STARS, HIGHEST_STARS)
    return float(np.sqrt(np.square(kept - stars).mean()))


def serve(work: Callable[[Task], Answer]) -> None:
    """Read the task, do it, write the answer; both files are the program's arguments."""
    asked, answered = map(Path, sys.argv[1:])
    answer = work(Task(**json.loads(asked.read_text())))
    answer.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answered.write_text(json.dumps(dataclasses.asdict(answer)))
