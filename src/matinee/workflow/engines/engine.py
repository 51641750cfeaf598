"""What the preprocess step asks of an engine, whichever it is.

An engine reads the ratings' objects into the table `checked`, makes the definition's other tables
one after the other, answers small questions about them and gives the splits' rows in order. It
decides nothing about ratings: that is the definition's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa

from matinee.workflow.definition import Definition
from matinee.workflow.malformed import MalformedRows


class Engine(Protocol):
    """A session of one engine for one run; closed by who opened it."""

    definition: Definition

    def load(self, objects: list[str]) -> MalformedRows:
        """Make the tables `checked` and `title_counts` from the ratings' objects.

        Returns
        -------
        MalformedRows
            The rows that are in no table, as the reader could make no fields of them. All others
            are in `checked`, whose `source` is the object's URI or its place in `objects`.

        Raises
        ------
        ObjectsError, RatingsError
            If an object cannot be read.
        """

    def create(self, name: str, query: str) -> None:
        """Make a table of a query's rows."""

    def drop(self, name: str) -> None:
        """Forget a table."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return a small result's rows."""

    def split(self, name: str) -> Iterator[pa.Table | pa.RecordBatch]:
        """Yield the rows of a split in order: customer, video, stars and what is carried along."""

    def index(self, name: str) -> Iterator[pa.Table | pa.RecordBatch]:
        """Yield the rows of the table `customers` or `videos` in order."""
