"""Runs tasks in processes of their own and keeps what came of them."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.fm.workers.task import Answer, Task

ROOT = Path(__file__).parents[2]


class WorkerError(RuntimeError):
    """A worker ended without an answer."""


def run(worker: str, task: Task, python: Path = Path(sys.executable)) -> Answer:
    """Run one task and return its answer.

    Parameters
    ----------
    worker
        A module of ``benchmarks.fm.workers``.
    task
        What to do.
    python
        Whose packages the worker needs.

    Raises
    ------
    WorkerError
        With the worker's last words.
    """
    with tempfile.TemporaryDirectory(prefix="matinee-benchmark-") as scratch:
        asked, answered = Path(scratch) / "task.json", Path(scratch) / "answer.json"
        asked.write_text(json.dumps(dataclasses.asdict(task)))
        threads = str(task.threads)
        done = subprocess.run(  # noqa: S603 - our own program
            [python, "-m", f"benchmarks.fm.workers.{worker}", asked, answered],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise WorkerError(f"{worker}, {task.method}, {task.num_factors} factors: {words[-1]}")
        return Answer(**json.loads(answered.read_text()))
