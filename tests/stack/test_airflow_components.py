"""Airflow's parent process: it ends when one of its programs does, and takes the others along."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
# In a process of its own: `run` waits for any child, and the tests' process has some.
PARENT = """
import sys

import psutil

from matinee.stack.airflow_components import run

others = [("sleep", "600"), (sys.executable, "-c", sys.argv[1])]
print(run([*others, (sys.executable, "-c", sys.argv[2])], grace_s=0.1))
print(psutil.Process().children())
"""


@pytest.mark.parametrize(
    ("script", "meaning"),
    [("raise SystemExit(3)", "exit status 3"), ("import os; os.abort()", "killed by SIGABRT")],
)
def test_the_end_of_one_program_ends_all(script: str, meaning: str) -> None:
    parent = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, "-c", PARENT, DEAF, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert parent.stdout == f"airflow -c ended by itself: {meaning}\n1\n[]\n"
