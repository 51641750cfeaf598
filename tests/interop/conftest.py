"""MXNet 1.9.1 in an environment of its own, made once in the folder that MATINEE_INTEROP names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER_VARIABLE = "MATINEE_INTEROP"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


@pytest.fixture(scope="session")
def mxnet_python() -> Path:
    """The interpreter that can import mxnet."""
    given = os.environ.get(FOLDER_VARIABLE)
    if not given:
        pytest.skip(f"{FOLDER_VARIABLE} names no folder for MXNet: `make interop` does")
    if sys.version_info >= (3, 12):
        pytest.skip("MXNet 1.9.1 needs NumPy 1.23, which has no wheel for Python 3.12 or newer")
    folder = Path(given).resolve()
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        make = [sys.executable, "-m", "venv", "--clear", str(folder)]
        subprocess.run(make, check=True)  # noqa: S603 - a fixed list of arguments
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(  # noqa: S603 - a fixed list of arguments
            [*install, "--only-binary=:all:", "--requirement", REQUIREMENTS],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"MXNet cannot be installed: {done.stderr.strip()}")
        ready.touch()
    return python
