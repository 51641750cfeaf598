"""What the tasks of a run cost: their seconds and their memory, for the run's report."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # It loads what draws charts.
    from matinee.workflow.report import Step

# In which the report names them.
ORDER = [
    "preprocess",
    "check",
    "drift",
    "prepare",
    "train",
    "train_each",
    "tune",
    "choose",
    "predict",
    "evaluate",
    "recommend",
    "register",
    "gate",
    "deploy",
    "reject",
]


@contextmanager
def measured(
    name: str, tell: Callable[[Step], None], clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Measure what is done within, and tell it if that succeeds.

    Parameters
    ----------
    name : str
        The step's.
    tell : callable
        Takes the step.
    clock : callable
        Time, in seconds.
    """
    began = clock()
    yield
    # Kilobytes on Linux, bytes on macOS: getrusage(2) of each.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    tell({"name": name, "seconds": clock() - began, "peak_memory_mb": peak})


def together(name: str, steps: Sequence[Step]) -> Step:
    """Sum up the instances of one step, which may have run at a time."""
    peaks = [step["peak_memory_mb"] for step in steps if step["peak_memory_mb"] is not None]
    return {
        "name": name,
        "seconds": sum(step["seconds"] for step in steps),
        "peak_memory_mb": max(peaks, default=None),
    }


def in_order(told: Mapping[str, Sequence[Step]]) -> list[Step]:
    """Return a run's steps as the report names them, from the instances of each by its name."""
    return [together(name, told[name]) for name in ORDER if told.get(name)]
