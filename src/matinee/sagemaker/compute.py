"""Where a job's process runs: on this machine, beside the server and not below it.

``start`` hands a command to a host process of its own session (``host.py``), which outlives this
server; ``status`` and ``stop`` find it again by the job's folder alone, from any later server. A
process is known by its pid and the time it was created. One that is gone without having left an
exit is lost, and its status says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

from matinee.sagemaker import host

_ERRORS = "host.err"

# This server's own children are waited for here, or they would stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ComputeError(Exception):
    """The host process could not be started."""


class Phase(Enum):
    """What has become of a job's process."""

    ABSENT = "never started"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "gone without an exit code"


@dataclass(frozen=True, slots=True)
class Status:
    """A job's process.

    Attributes
    ----------
    phase
        Where it stands.
    code
        Of an exited one: the exit code, 128 + n after signal n.
    cause
        Of an exited one: ``exited`` by itself, ``stopped`` or ``timed out``.
    """

    phase: Phase
    code: int | None = None
    cause: str | None = None


def start(
    folder: Path,
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    limit_seconds: float | None,
    grace_seconds: float,
) -> None:
    """Start a job's process, and return when ``status`` and ``stop`` can find it.

    Parameters
    ----------
    folder
        The folder of one of a job's hosts; made if it is not there. One process a folder, ever.
    command
        Program and arguments.
    directory
        Where it starts.
    environment
        All of its environment.
    limit_seconds
        How long it may run; None for ever.
    grace_seconds
        From SIGTERM to SIGKILL.

    Raises
    ------
    ComputeError
        The host process did not start, or the folder has had a process before.
    """
    if (folder / host.PROCESS).exists():
        raise ComputeError(f"{folder} has had a process before")
    launch = {
        "command": list(command),
        "directory": str(directory),
        "environment": dict(environment),
        "limit_seconds": limit_seconds,
        "grace_seconds": grace_seconds,
    }
    folder.mkdir(parents=True, exist_ok=True)
    host.write_whole(folder / host.LAUNCH, launch)
    with (folder / _ERRORS).open("ab") as errors:
        # Popen, not posix_spawn: the server's listening socket is inheritable, and a host that
        # held it would keep the next server from its port.
        child = subprocess.Popen(  # noqa: S603 - our own interpreter, module and folder
            [sys.executable, "-m", host.__name__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    _children[child.pid] = child
    if child.stdout is not None:
        # The host closes its end once the process runs, or by ending.
        with child.stdout as report:
            report.read()
    if not (folder / host.PROCESS).exists():
        said = (folder / _ERRORS).read_text(errors="replace").strip()
        raise ComputeError(f"the host process of {folder} did not start: {said[-500:]}")


def status(folder: Path) -> Status:
    """Return what has become of the process of a job's folder."""
    identity = _read(folder / host.PROCESS)
    if identity is None:
        return Status(Phase.ABSENT)
    alive = _is_alive(identity["host"])
    # In this order: a host leaves its exit and then ends.
    ended = _read(folder / host.EXIT)
    if ended is not None:
        return Status(Phase.EXITED, ended["code"], ended["cause"])
    return Status(Phase.RUNNING if alive else Phase.LOST)


def wait(folder: Path, seconds: float) -> Status:
    """Return the status when the process has ended, or else after a number of seconds."""
    identity = _read(folder / host.PROCESS)
    if identity is None:
        return Status(Phase.ABSENT)
    pid = identity["host"]["pid"]
    if _is_alive(identity["host"]):
        # psutil's wait needs no polling, and works for processes that are not our children.
        with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
            psutil.Process(pid).wait(seconds)
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
    return status(folder)


def stop(folder: Path) -> None:
    """Ask the process of a job's folder to end; it has its grace to do so. Idempotent."""
    identity = _read(folder / host.PROCESS)
    if identity is None:
        return
    with contextlib.suppress(ProcessLookupError):
        if _is_alive(identity["host"]):
            os.kill(identity["host"]["pid"], signal.SIGTERM)
        elif "algorithm" in identity and _is_alive(identity["algorithm"]):
            # Its host was killed, so nobody would end it after a grace.
            host.kill_group(identity["algorithm"]["pid"])


def _is_alive(process: Mapping[str, int]) -> bool:
    return host.started_at(process["pid"]) == process["started_at"]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return content
