"""The preprocess step in a Glue job: a Spark that AWS starts for the step, and stops.

The job (`glue_job`, of the script `glue_script`) does the whole step. What it is asked and what it
answers are objects in the run's folder, since a job returns nothing; both go when the step ends. A
run has one job run at a time: one that a killed try left is stopped first. What the job refuses is
refused here, in its words; any other failure may pass by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, cast

import boto3

from matinee.workflow import errors
from matinee.workflow.errors import RatingsError, SettingsError, WorkflowError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.settings import Settings
from matinee.workflow.sources import is_local

logger = logging.getLogger(__name__)

# The job's argument: the URI of what it is asked.
REQUEST = "--request"
# Where the job leaves its answer, beside the request.
ANSWER = "answer.json"
_ACTIVE = ("WAITING", "STARTING", "RUNNING", "STOPPING")


class GlueError(RuntimeError):
    """A job run failed, or was stopped, for a reason that is not the ratings'."""


class Glue:
    """The job runs of one run."""

    def __init__(
        self,
        settings: Settings,
        run: str,
        *,
        client: Any | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._run = run
        self._job = settings.glue_job
        self._folder = f"{settings.folder(run)}/glue"
        self._request = f"{self._folder}/request.json"
        self._client = client or boto3.client("glue")
        self._sleep = sleep
        self._objects = Objects()

    def preprocess(self, part_rows: int) -> Preprocessed:
        """Do the step in a job run, and wait for it; see `matinee.workflow.preprocess`.

        Raises
        ------
        ObjectsError, RatingsError
            As the job did.
        SettingsError
            If there is no such job.
        GlueError
            If it did not succeed.
        """
        if is_local(self._settings.ratings):
            raise RatingsError(
                f"{self._settings.ratings} is a file of this machine: Glue reads s3:// alone"
            )
        self.stop()
        request = {
            "settings": self._settings.to_parameters(),
            "run": self._run,
            "part_rows": part_rows,
        }
        self._objects.write_json(request, self._request)
        try:
            self._succeed(self._start())
            answer = self._objects.read_json(f"{self._folder}/{ANSWER}")
        finally:
            self.stop()
        if "refused" in answer:
            raise _refusal(answer["refused"], answer["message"])
        return cast("Preprocessed", answer["outputs"])

    def stop(self) -> int:
        """Stop the run's job runs, wait until they have ended, and delete what they were asked.

        Returns
        -------
        int
            How many objects were deleted.
        """
        while active := self._active():
            if running := [name for name, state in active if state != "STOPPING"]:
                self._client.batch_stop_job_run(JobName=self._job, JobRunIds=running)
            self._sleep(self._settings.check_interval)
        return self._objects.delete_folder(self._folder)

    def _start(self) -> str:
        try:
            started = self._client.start_job_run(
                JobName=self._job, Arguments={REQUEST: self._request}
            )
        except self._client.exceptions.EntityNotFoundException as error:
            raise SettingsError(f"glue_job {self._job!r}: there is no such Glue job") from error
        name: str = started["JobRunId"]
        logger.info("started job run %s of %s", name, self._job)
        return name

    def _active(self) -> list[tuple[str, str]]:
        """List the run's job runs that have not ended, and their states; a job that is gone has
        none."""
        pages = self._client.get_paginator("get_job_runs").paginate(JobName=self._job)
        try:
            return [
                (found["Id"], found["JobRunState"])
                for page in pages
                for found in page["JobRuns"]
                if found.get("Arguments", {}).get(REQUEST) == self._request
                and found["JobRunState"] in _ACTIVE
            ]
        except self._client.exceptions.EntityNotFoundException:
            return []

    def _succeed(self, name: str) -> None:
        """Wait for a job run's end, which must be a good one."""
        while True:
            found = self._client.get_job_run(JobName=self._job, RunId=name)["JobRun"]
            state = found["JobRunState"]
            if state == "SUCCEEDED":
                return
            if state not in _ACTIVE:
                reason = found.get("ErrorMessage", "no reason given")
                raise GlueError(f"job run {name} of {self._job} ended as {state}: {reason}")
            self._sleep(self._settings.check_interval)


def _refusal(kind: str, message: str) -> WorkflowError:
    """Return what the job raised, by the name of its class."""
    known = getattr(errors, kind, WorkflowError)
    return cast("WorkflowError", known(message))
