"""The server with a store that fails when it is told to: ``python -m tests.faults.failing ...``.

A file in the state folder says which of the coming writes fails first and how many do; what was
written before stays. The words after the module's name are the server's own.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from matinee.sagemaker import __main__ as server
from matinee.sagemaker.store import Store

_FULL = "database or disk is full"


@dataclass(frozen=True)
class Fault:
    """Which writes of a server's store fail.

    Parameters
    ----------
    state
        The server's state folder.
    """

    state: Path

    @property
    def _switch(self) -> Path:
        # Only a test writes it: what the server wrote here could turn back on what was turned off.
        return self.state / "fault.json"

    @property
    def _writes(self) -> Path:
        # One byte a write; only the server adds to it.
        return self.state / "fault.writes"

    def arm(self, first: int, count: int = 1) -> None:
        """Let the first of these writes from now on fail, counted from 1, and those after it."""
        self._writes.write_bytes(b"")
        partial = self._switch.with_suffix(".new")
        partial.write_text(json.dumps([first, count]))
        partial.replace(self._switch)

    def disarm(self) -> bool:
        """Let every write succeed again; return whether one has failed."""
        first, _ = json.loads(self._switch.read_text())
        self._switch.unlink()
        return bool(self._writes.stat().st_size >= first)

    def strikes(self) -> bool:
        """Count a write; return whether it is to fail. For one thread at a time."""
        try:
            first, count = json.loads(self._switch.read_text())
        except FileNotFoundError:
            return False
        with self._writes.open("ab") as writes:
            writes.write(b".")
            number = writes.tell()
        return bool(first <= number < first + count)


def install(fault: Fault) -> None:
    """Let every store of this process ask whether a write is to fail."""
    writing = Store._writing
    turn = threading.Lock()

    @contextmanager
    def failing(self: Store) -> Iterator[sa.Connection]:
        with writing(self) as connection:
            yield connection
            # At the end of the transaction, where a database finds that the disk is full.
            with turn:
                strikes = fault.strikes()
            if strikes:
                error = sqlite3.OperationalError(_FULL)
                raise sa.exc.OperationalError("COMMIT", {}, error)

    Store._writing = failing  # type: ignore[method-assign]


if __name__ == "__main__":
    (state,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--state=")]
    install(Fault(Path(state)))
    sys.exit(server.main(sys.argv[1:]))
