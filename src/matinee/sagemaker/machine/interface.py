"""Where the hosts of training and processing jobs run: what ``compute.py`` offers, as an interface.

``compute.py`` (this machine) and ``cluster.ray_compute`` (the nodes of a Ray cluster) offer it.
Models are served on this machine, whatever the jobs' hosts run on. All that an implementation is
asked about is named by a folder, which this server and the host both see, so another server goes on
where this one ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matinee.sagemaker.machine.commands import NOTHING, Command
from matinee.sagemaker.machine.compute import ComputeError, Placement, Status

# In a job's folder while its hosts have places elsewhere than on this machine.
PLACEMENT = "placement.json"


class NoCapacityError(ComputeError):
    """There was no room for all hosts of a job for as long as a job may wait for it."""


class LostPlaceError(ComputeError):
    """The machine of a host is gone."""


class Compute(Protocol):
    """Runs the processes of jobs' hosts.

    Attributes
    ----------
    LOSS_RETRIES
        How often a training job is tried again that has lost a host with its machine, if its
        RetryStrategy does not say so.
    """

    LOSS_RETRIES: int

    def place(self, folder: Path, host_names: Sequence[str]) -> Placement | None:
        """Reserve room for all hosts of a job, or for none; the same answer every time.

        Parameters
        ----------
        folder
            The job's.
        host_names
            All of its hosts.

        Returns
        -------
        Placement or None
            None after a moment while there is no room.

        Raises
        ------
        NoCapacityError
            There was none for too long.
        LostPlaceError
            A host's machine was lost meanwhile.
        ComputeError
            A host's machine cannot run it; the message says why.
        """
        ...

    def release(self, folder: Path) -> None:
        """Give up the room of a job's hosts, and end what runs there. Idempotent."""
        ...

    def start(
        self,
        folder: Path,
        command: Command | Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        limit_seconds: float | None,
        grace_seconds: float,
        addresses: Mapping[str, str] = NOTHING,
        has_network: bool = True,
        beside: Path | None = None,
    ) -> None:
        """Start a process of a host that has a place; see ``compute.start``."""
        ...

    def status(self, folder: Path) -> Status:
        """Return what has become of the process of a folder."""
        ...

    def wait(self, folder: Path, seconds: float) -> Status:
        """Return the status when the process has ended, or else after a number of seconds."""
        ...

    def stop(self, folder: Path) -> None:
        """Ask the process of a folder to end; it has its grace to do so. Idempotent."""
        ...
