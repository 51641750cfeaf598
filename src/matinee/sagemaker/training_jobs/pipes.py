"""Pipe mode: a host's channels as named pipes, fed by a process beside the host's own.

The algorithm opens ``/opt/ml/input/data/<channel>_<epoch>`` for epoch 0, 1, 2.. and reads the
channel from beginning to end each time. The process that writes (``pipe_feeder.py``) needs no
server, so training goes on while the server is away; it ends with its host. What it cannot read
ends the host and fails the job.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matinee.sagemaker.machine import host
from matinee.sagemaker.machine.commands import INHERITED
from matinee.sagemaker.machine.compute import Phase
from matinee.sagemaker.machine.interface import Compute

PLAN, KEYS, FAILURE = "plan.json", "keys.json", "failure.json"
# Says that the feeder was told to end, so that a later server does not wonder why it did.
_TOLD = "told"
# Of this server's environment, all that the process needs.
_KEPT = INHERITED | {"SSL_CERT_FILE"}
_LOOK_SECONDS = 1.0


class FeederError(Exception):
    """The pipes were not fed to the end; the message says why, as in ``failures.py``."""


def pipe(data: Path, channel: str, epoch: int) -> Path:
    """Return the path of a channel's pipe in the folder ``input/data``."""
    return data / f"{channel}_{epoch}"


def prepare(folder: Path, data: Path, streams: Sequence[Mapping[str, Any]]) -> None:
    """Make a host's first pipes, and say what to feed them with.

    Parameters
    ----------
    folder
        The feeder's own.
    data
        The host's ``input/data``.
    streams
        As ``pipe_feeder.py`` describes them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for stream in streams:
        os.mkfifo(pipe(data, stream["channel"], 0), 0o600)
    host.write_whole(folder / PLAN, {"data": str(data), "streams": list(streams)})


def start(
    compute: Compute,
    folder: Path,
    host_folder: Path,
    settings: Callable[[], dict[str, str | None]],
) -> None:
    """Feed the pipes of a host that runs; does nothing where there are none, or it is done already.

    Parameters
    ----------
    compute
        What runs the host.
    folder
        The feeder's own.
    host_folder
        Of the process that reads the pipes.
    settings
        `Objects.settings` of the S3 to read from; asked only if there are pipes.

    Raises
    ------
    ComputeError
    """
    if not (folder / PLAN).exists() or compute.status(folder).phase is not Phase.ABSENT:
        return
    renew(folder, settings)
    compute.start(
        folder,
        [
            sys.executable,
            "-m",
            "matinee.sagemaker.training_jobs.pipe_feeder",
            str(folder),
            str(host_folder),
        ],
        directory=folder,
        environment={name: value for name, value in os.environ.items() if name in _KEPT},
        limit_seconds=None,
        grace_seconds=0.0,
        beside=host_folder,
    )


def renew(folder: Path, settings: Callable[[], dict[str, str | None]]) -> None:
    """Let the feeder read by other keys, before its own expire."""
    path = folder / KEYS
    if (folder / PLAN).exists():
        keys = settings()
        if not path.exists() or json.loads(path.read_text()) != keys:
            host.write_whole(path, keys)


def has_failed(compute: Compute, folder: Path) -> bool:
    """Return whether a feeder has ended by itself and without success: its host waits in vain."""
    status = compute.status(folder)
    is_wrong = status.phase is Phase.LOST or bool(status.code)
    return is_wrong and not (folder / _TOLD).exists()


def end(compute: Compute, folder: Path) -> None:
    """End the feeder of a host that has ended; does nothing the second time.

    Raises
    ------
    FeederError
        It had ended before, so the host may not have seen all of its data.
    """
    phase = compute.status(folder).phase
    if phase is Phase.ABSENT:
        return
    if phase is Phase.RUNNING:
        (folder / _TOLD).touch()
        compute.stop(folder)
        while compute.wait(folder, _LOOK_SECONDS).phase is Phase.RUNNING:
            pass
    failure = folder / FAILURE
    if failure.exists():
        raise FeederError(json.loads(failure.read_text())["reason"])
    if has_failed(compute, folder):
        raise FeederError(
            "InternalServerError: the process that feeds the pipes ended before the training"
        )
