"""Environments of their own for what the tests talk to and what cannot share matinee's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks.environments import Peer, PeerError, interpreter


def interpreter_of(variable: str, name: str, requirements: Path) -> Path:
    """Return the Python of an environment, which is made when it is first asked for.

    Parameters
    ----------
    variable
        The environment variable that names the folder of environments; the test is skipped
        without it.
    name
        Of the environment.
    requirements
        What pip installs, pinned; a line that begins with # is a comment.
    """
    given = os.environ.get(variable)
    if not given:
        pytest.skip(f"{variable} names no folder for environments; the Makefile's targets do")
    lines = [line for line in requirements.read_text().splitlines() if not line.startswith("#")]
    try:
        return interpreter(Peer(name, ("--only-binary=:all:", *lines)), Path(given))
    except PeerError as error:
        pytest.skip(str(error))
