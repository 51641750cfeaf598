"""The whole way in one `matinee run`: a stack started, a file of reviews to predictions judged.

Everything that the machine does meanwhile counts: the processors' busy time and the growth of its
memory in use, since Airflow, S3 and jobs are dozens of processes that come and go.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.data.meter import ROOT, Cost, ProgramError
from benchmarks.data.report import MEGABYTE
from benchmarks.tables import markdown, short
from matinee.cli.stack import existing_stack
from matinee.stack.airflow import DAG_ID
from matinee.stack.stack import BUCKET
from matinee.workflow.objects import Objects

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Whole:
    """One run.

    Attributes
    ----------
    cost
        Of the machine, from the command's start to its end.
    tasks
        The seconds of each task of the DAG that ran, in the order of their starts.
    rmse
        Of the predictions.
    baseline
        Of predictions by the biases of customers and videos alone.
    load
        As of `meter.Run`.
    """

    cost: Cost
    tasks: Mapping[str, float]
    rmse: float
    baseline: float
    load: float


def measure(reviews: Path) -> Whole:
    """Run the workflow on a local file, in a home of its own.

    Raises
    ------
    ProgramError
        With the command's last words.
    """
    with tempfile.TemporaryDirectory(prefix="matinee-whole-") as scratch:
        home = Path(scratch) / "home"
        words = [sys.executable, "-c", "from matinee.cli import main; main()", f"--home={home}"]
        try:
            with _machine() as spent:
                _run([*words, "run", f"--ratings={reviews}", "--keep-up"], Path(scratch) / "log")
                cost = spent()
            load = os.getloadavg()[0]
            tasks, metrics = _results(home)
        finally:
            _run([*words, "down"], Path(scratch) / "down")
    return Whole(cost, tasks, metrics["model"]["rmse"], metrics["bias"]["rmse"], load)


def table(whole: Whole, others: Mapping[str, Cost]) -> str:
    """Lay out what others cost beside the whole run and its tasks."""
    costs = {**others, "**`matinee run`, the whole way**": whole.cost}
    rows = [
        [
            name,
            short(cost.seconds),
            short(cost.cpu_seconds),
            short(cost.peak_bytes / MEGABYTE),
        ]
        for name, cost in costs.items()
    ]
    rows += [[f"of which {name}", short(seconds), "", ""] for name, seconds in whole.tasks.items()]
    return markdown(["", "seconds", "CPU seconds", "peak memory, MB"], rows)


def _run(words: list[str], log: Path) -> None:
    with log.open("wb") as output:
        done = subprocess.run(  # noqa: S603 - our own program
            words, cwd=ROOT, stdout=output, stderr=output, check=False
        )
    if done.returncode != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-15:]
        raise ProgramError(f"{' '.join(words)}: exit code {done.returncode}: {last}")


def _results(home: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the seconds of the only run's tasks, and its metrics."""
    stack = existing_stack(home)
    objects = Objects(stack.client("s3"))
    [summary] = [
        uri for uri in objects.list(f"s3://{BUCKET}/runs") if uri.endswith("/summary.json")
    ]
    with stack.airflow.api() as api:
        instances = api.task_instances(DAG_ID, "~")  # of all runs
    ran = [one for one in instances if one["duration"] is not None and one["state"] == "success"]
    spans: dict[str, list[dict[str, Any]]] = {}
    for one in sorted(ran, key=lambda one: one["start_date"]):
        spans.setdefault(one["task_id"], []).append(one)
    tasks = {
        name: max(_time(one["end_date"]) for one in of_task)
        - min(_time(one["start_date"]) for one in of_task)
        for name, of_task in spans.items()
    }
    metrics: dict[str, Any] = objects.read_json(summary)["metrics"]
    return tasks, metrics


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def _machine() -> Iterator[Callable[[], Cost]]:
    """Give what tells the cost of all that the machine did since the block began."""
    began, busy, free = time.perf_counter(), _busy(), psutil.virtual_memory().available
    least, over = [free], threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            least[0] = min(least[0], psutil.virtual_memory().available)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: Cost(time.perf_counter() - began, _busy() - busy, free - least[0])
    finally:
        over.set()
        thread.join()


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
