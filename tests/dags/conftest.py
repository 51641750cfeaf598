"""An Airflow of the tests' own: a home, a database, and a process for each question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import matinee.dags

Drive = Callable[..., list[dict[str, Any]]]

# Of this process only what a program needs to start: no AWS, no Airflow of the developer's.
KEPT = ("PATH", "LANG", "TMPDIR", "VIRTUAL_ENV")


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Call `drive.py` with arguments and more environment; return its answers with their logs."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(matinee.dags.__file__).parent),
    }
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )

    def ask(*arguments: str, more: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        done = subprocess.run(  # noqa: S603 - arguments are the tests' own
            [sys.executable, str(Path(__file__).parent / "drive.py"), *arguments],
            env={**environment, **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        print(done.stdout)
        assert done.returncode == 0, done.stdout[-3000:]
        answers = []
        log: list[str] = []
        for line in done.stdout.splitlines():
            log.append(line)
            if line.startswith("ANSWER "):
                answers.append({**json.loads(line.removeprefix("ANSWER ")), "log": "\n".join(log)})
                log = []
        return answers

    return ask
