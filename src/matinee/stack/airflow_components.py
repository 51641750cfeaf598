"""Airflow's four processes under one small parent: `python -m matinee.stack.airflow_components`.

It does what `airflow standalone` does, and what that leaves undone: it ends when a component ends,
it takes all of them along when it is told to stop, and it starts no log servers, which would listen
on every interface of the machine. It imports nothing of Airflow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from matinee.stack.service import program

COMPONENTS = (
    ("api-server",),
    ("scheduler", "--skip-serve-logs"),
    ("dag-processor",),
    ("triggerer", "--skip-serve-logs"),
)
STOP_GRACE_S = 2.0


class _Stopped(BaseException):
    """SIGTERM or SIGINT came."""


def migrate(airflow: str, folder: Path) -> None:
    """Bring the database to this Airflow's version, unless it was the last to do so."""
    done = folder / "migrated"
    wanted = version("apache-airflow-core")
    if done.exists() and done.read_text() == wanted:
        return
    subprocess.run([airflow, "db", "migrate"], check=True)  # noqa: S603 -- no input of users
    done.write_text(wanted)


def run(commands: Sequence[Sequence[str]], *, grace_s: float) -> int:
    """Run programs until one of them ends, then end the others.

    Parameters
    ----------
    commands
        Programs with their arguments; the first argument is what messages call them.
    grace_s
        Seconds between SIGTERM and SIGKILL.

    Returns
    -------
    int
        1: a program that ends by itself has failed, whatever it says.
    """
    children: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    try:
        for command in commands:
            child = subprocess.Popen(list(command))  # noqa: S603 -- an argument list of our own
            children[child.pid] = (command[1], child)
        pid, status = os.wait()
        while pid not in children:  # a child from before, of whoever became this program
            pid, status = os.wait()
        name, child = children.pop(pid)
        child.returncode = os.waitstatus_to_exitcode(status)  # it cannot be waited for again
        print(f"airflow {name} ended by itself: {_meaning(child.returncode)}", flush=True)
        return 1
    finally:
        _stop([child for _, child in children.values()], grace_s)


def main() -> int:
    """Migrate and run; 0 when told to stop, 1 when a component ended by itself."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stopped)
    airflow = program("airflow")
    try:
        migrate(airflow, Path(os.environ["AIRFLOW_HOME"]))
        return run([(airflow, *component) for component in COMPONENTS], grace_s=STOP_GRACE_S)
    except _Stopped:
        return 0
    except subprocess.CalledProcessError as error:
        print(f"airflow db migrate failed: exit status {error.returncode}", flush=True)
        return 1


def _raise_stopped(_number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the stopping.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise _Stopped


def _stop(children: Sequence[subprocess.Popen[bytes]], grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _meaning(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


if __name__ == "__main__":
    sys.exit(main())
