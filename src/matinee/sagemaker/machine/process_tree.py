"""Processes as /proc shows them: when one began, what its descendants use, and their end.

The host process of a job (``host.py``) imports this module, so it needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024**2
_LONGEST_END_SECONDS = 2.0
_PAUSE_SECONDS = 0.005


class Usage(NamedTuple):
    """What a process's descendants use together.

    Attributes
    ----------
    memory_mb
        In MiB, whole ones begun.
    processes
        Processes and threads.
    """

    memory_mb: int
    processes: int


class _Process(NamedTuple):
    pid: int
    parent: int
    threads: int
    resident_pages: int
    has_ended: bool


def started_at(pid: int) -> int | None:
    """Return when a process was created, in clock ticks after boot; None if it has ended.

    With the pid this names a process for good, also where the wall clock is set meanwhile.
    """
    fields = _stat(pid)
    return None if fields is None or _has_ended(fields) else int(fields[19])


def usage(root: int, *, exact_over: int | None) -> Usage:
    """Return what a process's descendants use, itself left out.

    Parameters
    ----------
    root
        The process.
    exact_over
        Up to so many MiB, memory that several of them share may be counted several times; above,
        it is counted once, which takes longer to find out.
    """
    found = [process for process in _descendants(root) if not process.has_ended]
    memory = sum(process.resident_pages for process in found) * _PAGE_BYTES
    if exact_over is not None and memory > exact_over * _MIB:
        memory = sum(_proportional_bytes(process) for process in found)
    return Usage(-(-memory // _MIB), sum(process.threads for process in found))


def kill_descendants(root: int) -> None:
    """End every descendant of a process at once; what cannot be ended in time is left."""
    deadline = time.monotonic() + _LONGEST_END_SECONDS
    while alive := [process for process in _descendants(root) if not process.has_ended]:
        for process in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE_SECONDS)


def _descendants(root: int) -> Iterator[_Process]:
    children: dict[int, list[_Process]] = {}
    for process in _all():
        children.setdefault(process.parent, []).append(process)
    waiting = children.pop(root, [])
    while waiting:
        process = waiting.pop()
        yield process
        waiting += children.pop(process.pid, [])


def _all() -> Iterator[_Process]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - several times a second
        if not name.isdigit():
            continue
        if (fields := _stat(name)) is not None:
            yield _Process(
                pid=int(name),
                parent=int(fields[1]),
                threads=int(fields[17]),
                resident_pages=int(fields[21]),
                has_ended=_has_ended(fields),
            )


def _stat(pid: int | str) -> list[bytes] | None:
    """Return the fields of a process from the third on, its state; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - several times a second
            stat = file.read()
    except OSError:  # it has ended, or is hidden from us and so not ours
        return None
    # proc(5): the name, field 2, stands in parentheses and may hold anything.
    return stat[stat.rindex(b")") + 2 :].split()


def _has_ended(fields: list[bytes]) -> bool:
    return fields[0] in b"ZX"


def _proportional_bytes(process: _Process) -> int:
    """Return a process's memory, with its share of what it shares."""
    try:
        with Path(f"/proc/{process.pid}/smaps_rollup").open("rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except PermissionError:
        pass
    return process.resident_pages * _PAGE_BYTES
