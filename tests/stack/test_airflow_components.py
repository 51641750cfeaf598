"""Airflow's parent process: it ends when one of its programs does, and takes the others along."""

from __future__ import annotations

import sys

import psutil
import pytest

from matinee.stack.airflow_components import run

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"


@pytest.mark.parametrize(
    ("script", "meaning"),
    [("raise SystemExit(3)", "exit status 3"), ("import os; os.abort()", "killed by SIGABRT")],
)
def test_the_end_of_one_program_ends_all(
    script: str, meaning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = psutil.Process().children()
    others = [("sleep", "600"), (sys.executable, "-c", DEAF)]
    assert run([*others, (sys.executable, "-c", script)], grace_s=0.1) == 1
    assert capsys.readouterr().out == f"airflow -c ended by itself: {meaning}\n"
    assert psutil.Process().children() == before
