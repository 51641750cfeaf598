"""What training and serving processes have in common: their environment, and waiting for one.

A process sees of this server's environment only what any program needs, as in a container of its
own: none of the server's keys, settings or marks.
"""

from __future__ import annotations

import os
from pathlib import Path

from matinee.sagemaker import failures
from matinee.sagemaker.context import Context
from matinee.sagemaker.jobs import FIRST_HOST, Job, work_folder
from matinee.sagemaker.machine.commands import BASE_DIRECTORY, INHERITED
from matinee.sagemaker.machine.compute import Phase, Status

_LOOK_SECONDS = 1.0


def base_folder(job: Job, host: str = FIRST_HOST) -> Path:
    """Return the folder that is ``/opt/ml`` to the process of one of the job's hosts."""
    return work_folder(job.folder) / host / "ml"


def environment(context: Context, folder: Path, role: str) -> dict[str, str]:
    """Return the part of a process's environment that every job gives it.

    Parameters
    ----------
    context
        The server's surroundings.
    folder
        Its ``/opt/ml``.
    role
        ARN of the role whose credentials it gets; empty: none.

    Raises
    ------
    JobFailedError
        The S3 server gives no credentials of the role.
    """
    with failures.object_failures():
        credentials = context.role_environment(role)
    kept = {name: value for name, value in os.environ.items() if name in INHERITED}
    region = {"AWS_REGION": context.region, "AWS_DEFAULT_REGION": context.region}
    return {**kept, **region, **credentials, BASE_DIRECTORY: str(folder)}


def wait_for_end(job: Job, host: str = FIRST_HOST) -> Status:
    """Return how the process of one of the job's hosts ended; at once if it was never started.

    Raises
    ------
    ServerClosing
        This server ends first.
    """
    folder, compute = job.host_folder(host), job.context.compute
    while (status := compute.wait(folder, _LOOK_SECONDS)).phase is Phase.RUNNING:
        job.raise_if_closing()
    return status
