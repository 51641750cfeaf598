"""MXNet 1.9.1 in an environment of its own, in the folder that MATINEE_INTEROP names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.environments import interpreter_of

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


@pytest.fixture(scope="session")
def mxnet_python() -> Path:
    """The interpreter that can import mxnet."""
    if sys.version_info >= (3, 12):
        pytest.skip("MXNet 1.9.1 needs NumPy 1.23, which has no wheel for Python 3.12 or newer")
    return interpreter_of("MATINEE_INTEROP", "MXNet 1.9.1", REQUIREMENTS)
