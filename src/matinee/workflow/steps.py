"""What a run's steps cost: the seconds and the memory of a task, the billable seconds of a job.

For the report of a run, which shows them side by side.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict


class Step(TypedDict):
    """One step of a run.

    `peak_memory_mb` is the largest resident size of its process so far in MB, null for jobs; the
    three others are of jobs alone. `billable_seconds` are wall-clock seconds, as AWS counts them:
    each of the `instance_count` instances costs so many.
    """

    name: str
    seconds: float
    peak_memory_mb: float | None
    instance_type: str | None
    instance_count: int | None
    billable_seconds: int | None


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
    tell(
        {
            "name": name,
            "seconds": clock() - began,
            "peak_memory_mb": peak,
            "instance_type": None,
            "instance_count": None,
            "billable_seconds": None,
        }
    )


def together(name: str, steps: Sequence[Step]) -> Step:
    """Sum up the instances of one step, which may have run at a time."""
    return {
        "name": name,
        "seconds": sum(step["seconds"] for step in steps),
        "peak_memory_mb": max(step["peak_memory_mb"] or 0 for step in steps),
        "instance_type": None,
        "instance_count": None,
        "billable_seconds": None,
    }


def training_step(name: str, jobs: Sequence[Mapping[str, Any]]) -> Step:
    """Sum up training jobs, as DescribeTrainingJob answers: one, or all of a tuning job."""
    machines = jobs[0]["ResourceConfig"]
    return {
        "name": name,
        "seconds": sum(
            (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()
            for job in jobs
            if "TrainingEndTime" in job and "TrainingStartTime" in job
        ),
        "peak_memory_mb": None,
        "instance_type": machines["InstanceType"],
        "instance_count": machines["InstanceCount"],
        "billable_seconds": sum(job.get("BillableTimeInSeconds", 0) for job in jobs),
    }


def transform_step(name: str, job: Mapping[str, Any]) -> Step:
    """Return a transform job, as DescribeTransformJob answers.

    It names no billable seconds: AWS bills the instances from its start to its end.
    """
    machines = job["TransformResources"]
    seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
    return {
        "name": name,
        "seconds": seconds,
        "peak_memory_mb": None,
        "instance_type": machines["InstanceType"],
        "instance_count": machines["InstanceCount"],
        "billable_seconds": round(seconds),
    }
