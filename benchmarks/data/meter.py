"""What a program costs: seconds by the clock, of processors, and the most memory it had.

Memory is the resident set summed over the program and all its descendants, looked at every 20 ms;
pages that two of them share count twice.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

POLL_SECONDS = 0.02
ROOT = Path(__file__).parents[2]


class ProgramError(RuntimeError):
    """A measured program failed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program, or a server during its time, has cost.

    Attributes
    ----------
    seconds, cpu_seconds
        By the clock, and of all processors.
    peak_bytes
        The most memory at a time.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """A program's cost and its answer, and what a server has cost meanwhile."""

    cost: Cost
    answer: dict[str, Any]
    server: Cost | None


def run(
    command: Sequence[str], environment: Mapping[str, str], server: psutil.Process | None = None
) -> Run:
    """Run a program to its end, with the path of its answer (JSON) as one more argument.

    Parameters
    ----------
    command
        The program and its arguments; it runs in the repository's root.
    environment
        In addition to this process's own.
    server
        A process to look at meanwhile.

    Raises
    ------
    ProgramError
        With the program's last words.
    """
    with tempfile.TemporaryDirectory(prefix="matinee-benchmark-") as scratch:
        answer, log = Path(scratch) / "answer.json", Path(scratch) / "log"
        before = None if server is None else _cpu_seconds(server)
        began = time.perf_counter()
        with log.open("wb") as output, _watching(server) as server_peak:
            program = subprocess.Popen(  # noqa: S603 - our own programs
                [*command, str(answer)],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
            )
            with _watching(psutil.Process(program.pid)) as peak:
                _, status, usage = os.wait4(program.pid, 0)
            seconds = time.perf_counter() - began
        program.returncode = os.waitstatus_to_exitcode(status)
        if program.returncode != 0:
            words = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise ProgramError(f"{' '.join(command)}: exit code {program.returncode}: {words}")
        cost = Cost(seconds, usage.ru_utime + usage.ru_stime, max(peak[0], 1024 * usage.ru_maxrss))
        beside = None
        if server is not None and before is not None:
            beside = Cost(seconds, _cpu_seconds(server) - before, server_peak[0])
        return Run(cost, json.loads(answer.read_text()), beside)


@contextmanager
def _watching(process: psutil.Process | None) -> Iterator[list[int]]:
    """Keep the most memory of a process and its descendants in the list's only place."""
    most, over = [0], threading.Event()

    def watch() -> None:
        while process is not None and not over.wait(POLL_SECONDS):
            most[0] = max(most[0], _resident(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _resident(process: psutil.Process) -> int:
    total = 0
    for one in _family(process):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it ended just now
    return total


def _cpu_seconds(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in _family(process)]
    return float(sum(one.user + one.system for one in times))


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
