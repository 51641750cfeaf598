"""Glue's API over HTTP, as far as job runs go: each is the job's script in a process of its own.

matinee is what Glue is given, a zip on the Python path. What it proves, and what not, is in
docs/data.md.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matinee
from matinee.workflow.engines import glue_script
from tests.workflow.json_api import Operation, Refused, serving

PACKAGE = Path(matinee.__file__).parent
TESTS = Path(__file__).parents[2]
# A script that would never end by itself.
SLEEPER = ["-c", "import time; time.sleep(600)"]


@dataclass
class Run:
    """A job run, and its process."""

    arguments: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    stopped: bool = False

    @property
    def state(self) -> str:
        code = self.process.poll()
        if code is None:
            return "RUNNING"
        if self.stopped:
            return "STOPPED"
        return "FAILED" if code else "SUCCEEDED"


@dataclass
class Jobs:
    """The job, and its runs by their ids."""

    name: str
    folder: Path
    command: list[str]
    before: Callable[[], None] = lambda: None
    runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        archive = shutil.make_archive(
            str(self.folder / "matinee"), "zip", PACKAGE.parent, PACKAGE.name
        )
        self._path = os.pathsep.join([archive, str(TESTS)])

    def start_job_run(self, JobName: str, Arguments: dict[str, str]) -> dict[str, Any]:  # noqa: N803
        self._know(JobName)
        self.before()
        name = f"jr_{next(self._numbers)}"
        log = self.folder / f"{name}.log"
        words = [word for pair in Arguments.items() for word in pair]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program and words
                [*self.command, glue_script.__file__, "--JOB_NAME", JobName, *words],
                env=os.environ | {"PYTHONPATH": self._path},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.runs[name] = Run(Arguments, process, log)
        return {"JobRunId": name}

    def get_job_run(self, JobName: str, RunId: str) -> dict[str, Any]:  # noqa: N803
        self._know(JobName)
        return {"JobRun": self._described(RunId)}

    def get_job_runs(self, JobName: str) -> dict[str, Any]:  # noqa: N803
        self._know(JobName)
        return {"JobRuns": [self._described(name) for name in self.runs]}

    def batch_stop_job_run(self, JobName: str, JobRunIds: list[str]) -> dict[str, Any]:  # noqa: N803
        self._know(JobName)
        for name in JobRunIds:
            self.runs[name].stopped = True
            self._kill(self.runs[name])
        return {"SuccessfulSubmissions": [{"JobName": JobName, "JobRunId": n} for n in JobRunIds]}

    def close(self) -> None:
        """End all processes."""
        for run in self.runs.values():
            self._kill(run)
            run.process.wait()

    def _kill(self, run: Run) -> None:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)

    def _know(self, name: str) -> None:
        if name != self.name:
            raise Refused("EntityNotFoundException")

    def _described(self, name: str) -> dict[str, Any]:
        run = self.runs[name]
        words = run.log.read_text().splitlines()
        failed = {"ErrorMessage": words[-1]} if run.state == "FAILED" and words else {}
        return {
            "Id": name,
            "JobName": self.name,
            "Arguments": run.arguments,
            "JobRunState": run.state,
            **failed,
        }


@contextmanager
def local_glue(jobs: Jobs) -> Iterator[str]:
    """Serve a job's API on loopback; give its URL."""
    operations: dict[str, Operation] = {
        "StartJobRun": jobs.start_job_run,
        "GetJobRun": jobs.get_job_run,
        "GetJobRuns": jobs.get_job_runs,
        "BatchStopJobRun": jobs.batch_stop_job_run,
    }
    try:
        with serving(operations) as url:
            yield url
    finally:
        jobs.close()
