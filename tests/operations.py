"""Which operations the servers of a test run have answered with success, from their logs.

``pytest --prove-operations`` ends with a failure if an operation that matinee offers was never
answered: what the documentation's table promises has a test over the wire. It is for a run of all
the tests.
"""

from __future__ import annotations

import re
from pathlib import Path

from matinee.sagemaker.app import OPERATIONS

_ANSWERED = re.compile(r" (\S+) (\w+) -> 2\d\d in \d+ ms, request ")


def answered(folder: Path) -> set[tuple[str, str]]:
    """Return signing name and operation of every success in the logs below a folder."""
    found: set[tuple[str, str]] = set()
    for path in folder.rglob("*.log"):
        if path.is_file():
            found.update(_ANSWERED.findall(path.read_text(errors="replace")))
    return found


def unproved(folder: Path) -> list[str]:
    """Return the operations offered that no server below a folder answered with success."""
    seen = answered(folder)
    return sorted(
        f"{service} {operation}"
        for service, offered in OPERATIONS.items()
        for operation in offered
        if (service, operation) not in seen
    )
