"""The definition on DuckDB: in this process, streaming, within a limit of memory.

What does not fit goes to files in the scratch folder. The readers fill a chunk while DuckDB works
on the last one, and titles are counted as rows pass by, so no row keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from matinee.workflow import ratings
from matinee.workflow.definition import Definition
from matinee.workflow.dialects import DUCKDB
from matinee.workflow.malformed import MalformedRows
from matinee.workflow.ratings import Wanted
from matinee.workflow.settings import Settings
from matinee.workflow.sources import Sources

MEMORY_LIMIT = "2GB"
_CHUNK_ROWS = 2**20
_BATCH_ROWS = 2**17


class DuckDB:
    """A database in memory that spills into a scratch folder."""

    def __init__(self, settings: Settings, sources: Sources, scratch: Path) -> None:
        self.definition = Definition(DUCKDB, settings)
        self._wanted = Wanted(settings.columns, settings.side_columns)
        self._sources = sources
        self._scratch = scratch
        self._database = duckdb.connect()
        self._database.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        self._database.execute("set temp_directory = $folder", {"folder": str(scratch)})
        # Order is asked for where it matters.
        self._database.execute("set preserve_insertion_order = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def load(self, objects: list[str]) -> MalformedRows:
        malformed = MalformedRows()
        self._receive(0, pa.Table.from_batches([], self._wanted.schema), "create table {} as {}")
        with ThreadPoolExecutor(1, thread_name_prefix="matinee-duckdb") as pool:
            received: Future[None] | None = None
            for number, source in enumerate(objects):
                for chunk in self._chunks(source, malformed):
                    if received is not None:
                        received.result()
                    received = pool.submit(self._receive, number, chunk, "insert into {} {}")
            if received is not None:
                received.result()
        self._database.execute("drop view chunk_checked")
        self._database.unregister("chunk")
        titles = "select video, title, rows_of_title from title_rows"
        self.create("title_counts", self.definition.title_counts(titles))
        self.drop("title_rows")
        return malformed

    def create(self, name: str, query: str) -> None:
        self._database.execute(f"create table {name} as {query}")

    def drop(self, name: str) -> None:
        self._database.execute(f"drop table {name}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._database.execute(query).fetchall()
        return rows

    def split(self, name: str) -> Iterator[pa.RecordBatch]:
        yield from self._batches(self.definition.ordered(name))

    def index(self, name: str) -> Iterator[pa.RecordBatch]:
        yield from self._batches(self.definition.index(name))

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        yield from self._database.sql(query).to_arrow_reader(_BATCH_ROWS)

    def _chunks(self, source: str, malformed: MalformedRows) -> Iterator[pa.Table]:
        """Yield an object's rows, more at a time than a reader gives."""
        batches: list[pa.RecordBatch] = []
        rows = 0
        for batch in ratings.read(self._sources, source, self._wanted, self._scratch, malformed):
            batches.append(batch)
            rows += batch.num_rows
            if rows >= _CHUNK_ROWS:
                yield pa.Table.from_batches(batches)
                batches, rows = [], 0
        if batches:
            yield pa.Table.from_batches(batches)

    def _receive(self, number: int, chunk: pa.Table, statement: str) -> None:
        """Put a chunk's rows into `checked`, and how often it has which title."""
        self._database.register("chunk", chunk)
        raw = (
            f"(select *, {number}::integer as source, null::varchar as fault,"
            " null::varchar as line from chunk) as raw"
        )
        self._database.execute(
            f"create or replace view chunk_checked as {self.definition.checked(raw)}"
        )
        rows = "select * exclude (title) from chunk_checked"
        self._database.execute(statement.format("checked", rows))
        self._database.execute(statement.format("title_rows", self.definition.title_rows("chunk")))
