"""What training and serving processes have in common: their environment, and waiting for one.

A process sees of this server's environment only what any program needs, as in a container of its
own: none of the server's keys, settings or marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matinee.sagemaker import compute
from matinee.sagemaker.compute import Phase, Status
from matinee.sagemaker.jobs import Job, work_folder

BASE_DIRECTORY = "SAGEMAKER_BASE_DIR"
# A folder where training jobs on the same data, such as the trials of a tuning job, may share what
# they make of it.
DATA_CACHE = "MATINEE_DATA_CACHE"
_KEPT = {
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MATINEE_KERNEL_CACHE",
    "PATH",
    "PYTHONPATH",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
}
_LOOK_SECONDS = 1.0


def base_folder(job: Job) -> Path:
    """Return the folder that is ``/opt/ml`` to the job's process."""
    return work_folder(job.folder) / "ml"


def environment(surroundings: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the part of a process's environment that every job gives it."""
    kept = {name: value for name, value in surroundings.items() if name in _KEPT}
    return {**kept, BASE_DIRECTORY: str(folder)}


def wait_for_end(job: Job) -> Status:
    """Return how the job's process ended; at once if it was never started.

    Raises
    ------
    ServerClosing
        This server ends first.
    """
    folder = job.folder
    while (status := compute.wait(folder, _LOOK_SECONDS)).phase is Phase.RUNNING:
        job.raise_if_closing()
    return status
