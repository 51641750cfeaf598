"""What a program costs: seconds by the clock, of processors, and the most memory it had.

Memory is the resident set summed over the program and all its descendants, looked at every 20 ms;
pages that two of them share count twice. Looking for descendants reads every process of the
machine, which costs too much for that: it is done twice a second.
"""

import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

POLL_SECONDS = 0.02
FAMILY_POLLS = 25
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
    """What a program, or work of a server, has cost and answered.

    Attributes
    ----------
    cost
        Of the program.
    answer
        Of the program.
    server
        What another server has cost meanwhile.
    load
        The machine's load average at the end, of a minute: more than its cores, and there was
        waiting.
    """

    cost: Cost
    answer: Any
    server: Cost | None
    load: float


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
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matinee-meter-")))
        answer, log = scratch / "answer.json", scratch / "log"
        beside = None if server is None else stack.enter_context(spending(server))
        output = stack.enter_context(log.open("wb"))
        began = time.perf_counter()
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
        # Not the kernel's peak: that begins with the memory of the process that forked this one.
        cost = Cost(seconds, usage.ru_utime + usage.ru_stime, peak[0])
        told = json.loads(answer.read_text())
        return Run(cost, told, None if beside is None else beside(), os.getloadavg()[0])


@contextmanager
def spending(server: psutil.Process) -> Iterator[Callable[[], Cost]]:
    """Give what tells the cost of a server, with its descendants, since the block began."""
    began, before = time.perf_counter(), _cpu_seconds(server)
    with _watching(server) as peak:
        yield lambda: Cost(time.perf_counter() - began, _cpu_seconds(server) - before, peak[0])


@contextmanager
def _watching(process: psutil.Process) -> Iterator[list[int]]:
    """Keep the most memory of a process and its descendants in the list's only place."""
    most, over = [0], threading.Event()

    def watch() -> None:
        for poll in itertools.count():
            if over.wait(POLL_SECONDS):
                return
            if poll % FAMILY_POLLS == 0:
                family = _family(process)
            most[0] = max(most[0], _resident(family))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _resident(family: Sequence[psutil.Process]) -> int:
    total = 0
    for one in family:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it ended just now
    return total


def _cpu_seconds(process: psutil.Process) -> float:
    """Add up a process, its children of before, and its descendants of now."""
    total = 0.0
    for one in _family(process):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
