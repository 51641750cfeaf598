"""Processes that outlive the command that started them: start, recognise, find, stop.

A process is known by its pid and the time it was created, because pids come round again. It leads
a session of its own and carries two marks in its environment, which its descendants inherit: by
session, mark or ancestry every process of a service is found, also after the first one has died.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from matinee.stack.errors import StillRunningError

HOME_MARK = "MATINEE_STACK"
SERVICE_MARK = "MATINEE_SERVICE"
# All that an algorithm's process inherits, and then it is a folder in the home.
JOB_MARK = "SAGEMAKER_BASE_DIR"
CREATED_TOLERANCE_S = 1.0  # psutil adds the boot time, which moves a little when the clock is set
KILL_LIMIT_S = 10.0
POLL_S = 0.05

# Our own children must be waited for, or they stay in the process table as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process for good: `session` is its pid, which no other process gets while it lasts."""

    pid: int
    created: float
    session: int


def start(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path
) -> ProcessRecord:
    """Start a command in a session of its own, its output appended to a log (mode 600)."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603 -- an argument list of our own, no shell
            list(command),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    # The child is ours and not yet waited for, so its pid cannot have been given away.
    return ProcessRecord(child.pid, psutil.Process(child.pid).create_time(), child.pid)


def find(record: ProcessRecord) -> psutil.Process | None:
    """Return the recorded process if it still runs; None if it ended or its pid was reused."""
    if (child := _children.get(record.pid)) is not None and child.poll() is not None:
        del _children[record.pid]
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < CREATED_TOLERANCE_S
        if same and _is_running(process):
            return process
    return None


def members(
    home: Path, service: str | None = None, record: ProcessRecord | None = None
) -> list[psutil.Process]:
    """Find every process of a stack, or of one of its services.

    Parameters
    ----------
    home
        The folder of the stack, as `start` got it in the mark `MATINEE_STACK`.
    service
        Only processes marked with this service; None for all.
    record
        The service's first process: members of its session count too, because a program that
        rewrites its title (setproctitle) overwrites the environment that others can read.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            in_session = record is not None and os.getsid(process.pid) == record.session
            if in_session or _is_marked(process, home, service):
                found[process.pid] = process
    for process in list(found.values()):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update((child.pid, child) for child in process.children(recursive=True))
    # A command typed in a shell that a job or a task opened carries the mark as well.
    for process in (psutil.Process(), *psutil.Process().parents()):
        found.pop(process.pid, None)
    return [process for process in found.values() if _is_running(process)]


def stop(processes: Iterable[psutil.Process], *, grace_s: float) -> None:
    """End processes: SIGTERM to all, and SIGKILL to those left after `grace_s` seconds.

    Raises
    ------
    StillRunningError
        When one of them survives SIGKILL (a process in uninterruptible sleep).
    """
    remaining = list(processes)
    for process in remaining:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    remaining = _still_running(remaining, grace_s)
    for process in remaining:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    remaining = _still_running(remaining, KILL_LIMIT_S)
    for pid in list(_children):
        if _children[pid].poll() is not None:
            del _children[pid]
    if remaining:
        pids = [process.pid for process in remaining]
        raise StillRunningError(f"processes {pids} are still running after SIGKILL")


def _still_running(waited_for: list[psutil.Process], limit_s: float) -> list[psutil.Process]:
    """Wait for processes to end, and return those that have not within the limit.

    In a container without an init, nobody may ever wait for one that has ended.
    """
    deadline = time.monotonic() + limit_s
    while waited_for := [process for process in waited_for if _is_running(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    return waited_for


def _is_marked(process: psutil.Process, home: Path, service: str | None) -> bool:
    environment = process.environ()
    if environment.get(JOB_MARK, "").startswith(f"{home}/"):
        return service in (None, "sagemaker")
    if environment.get(HOME_MARK) != str(home):
        return False
    return service is None or environment.get(SERVICE_MARK) == service


def _is_running(process: psutil.Process) -> bool:
    try:
        if not process.is_running():
            return False
        # A first thread that ended is shown as a zombie; while others run, the ports stay taken.
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False
