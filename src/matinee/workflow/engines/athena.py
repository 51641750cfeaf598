"""The definition on Amazon Athena: tables of the run in a Glue database, their files in the run's
folder; both go when the step ends.

Reads TSV, plain, gzipped or zstandard, as lines of one external table; any other format is refused.
A query that Athena calls the user's error is refused as well; any other failure may pass by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import pyarrow as pa

from matinee.workflow.definition import Definition
from matinee.workflow.dialects import ATHENA
from matinee.workflow.engines.results import parts_of, read_sorted
from matinee.workflow.errors import RatingsError
from matinee.workflow.lines import raw_of_tsv
from matinee.workflow.malformed import MalformedRows
from matinee.workflow.ratings import Wanted, head_of
from matinee.workflow.settings import Settings
from matinee.workflow.sources import Sources, is_local

_LOOK_S = 0.5
# GetQueryExecution, AthenaError.ErrorCategory: 1 is the system's, 2 the user's, 3 another.
_USERS = 2
_NUMBERS: dict[str, Callable[[str], int | float]] = {
    "integer": int,
    "bigint": int,
    "real": float,
    "float": float,
    "double": float,
}


class AthenaError(RuntimeError):
    """A query failed, or was cancelled, for a reason that is not the ratings'."""


class Athena:
    """Queries of one run, one after the other."""

    def __init__(
        self, settings: Settings, run: str, sources: Sources, scratch: Path, part_rows: int
    ) -> None:
        self.definition = Definition(ATHENA, settings, prefix=f"{run.replace('-', '_')}_")
        self._part_rows = part_rows
        self._wanted = Wanted(settings.columns, settings.side_columns)
        self._sources = sources
        self._scratch = scratch
        self._work = f"{settings.folder(run)}/preprocess/work"
        self._tables: list[str] = []
        self._client = boto3.client("athena")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._tables):
            self.drop(name)
        self._sources.delete_folder(self._work)

    def load(self, objects: list[str]) -> MalformedRows:
        ratings = self.definition.settings.ratings
        if is_local(ratings):
            raise RatingsError(f"{ratings} is a file of this machine: Athena reads s3:// alone")
        kinds: dict[tuple[str, ...], list[str]] = {}
        for source in objects:
            head = head_of(self._sources, source)
            if head.format not in ("tsv", "empty"):
                raise RatingsError(
                    f"{source} is {head.format}: the engine athena reads TSV alone; duckdb and"
                    " spark read it"
                )
            if not source.endswith(head.compression):
                raise RatingsError(
                    f"{source} is compressed, and Athena tells that from a name alone: it must end"
                    f" with {head.compression}"
                )
            if head.format == "tsv":
                kinds.setdefault(head.names, []).append(source)
        if not kinds:
            raise RatingsError(f"{ratings} holds no ratings: it is empty")
        raw = []
        for names, sources in kinds.items():
            fields = self._wanted.of(names, sources[0])
            lines = self._lines(sources, whole=sources == objects)
            raw.append(raw_of_tsv(ATHENA, lines, names, fields, self.definition.sides))
        self.create("checked", self.definition.checked(f"({' union all '.join(raw)}) as raw"))
        checked = f"{self.definition.prefix}checked"
        titles = self.definition.title_rows(checked)
        self.create("title_counts", self.definition.title_counts(titles))
        return MalformedRows()

    def create(self, name: str, query: str) -> None:
        self._create(name, query)

    def drop(self, name: str) -> None:
        self._run(f"drop table if exists {self.definition.prefix}{name}")
        self._tables.remove(name)
        self._sources.delete_folder(self._folder(name))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        pages = self._client.get_paginator("get_query_results").paginate(
            QueryExecutionId=self._run(query)
        )
        found = []
        for page in pages:
            types = [
                column["Type"] for column in page["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
            ]
            for row in page["ResultSet"]["Rows"]:
                texts = [cell.get("VarCharValue") for cell in row["Data"]]
                found.append((types, texts))
        # The first row of a query's first page has the columns' names.
        return [
            tuple(
                None if text is None else _NUMBERS.get(kind, str)(text)
                for kind, text in zip(types, texts, strict=True)
            )
            for types, texts in found[1:]
        ]

    def split(self, name: str) -> Iterator[pa.Table]:
        if "positioned" not in self._tables:
            query = self.definition.positioned(self._part_rows)
            self._create("positioned", query, "partitioned_by = array['split', 'part']")
        columns = ["customer_index", "video_index", "stars", *self.definition.carried]
        folder = f"{self._folder('positioned')}/split={name}"
        for part in range(parts_of(self._sources, folder)):
            yield read_sorted(
                self._sources, f"{folder}/part={part}", "place", columns, self._scratch
            )

    def index(self, name: str) -> Iterator[pa.Table]:
        columns = {
            "customers": ["index", "customer", "ratings"],
            "videos": ["index", "video", "title", "ratings"],
        }[name]
        yield read_sorted(self._sources, self._folder(name), "index", columns, self._scratch)

    def _lines(self, sources: list[str], *, whole: bool) -> str:
        """Make an external table of lines; return the relation `source`, `line`."""
        ratings = self.definition.settings.ratings.rstrip("/")
        folder = ratings if sources != [ratings] else ratings.rpartition("/")[0]
        name = f"lines_{len(self._tables)}"
        table = f"{self.definition.prefix}{name}"
        self._tables.append(name)
        # One column: no line of text has the separator. Only an empty line is null.
        self._run(
            f"create external table {table} (line string)"
            " row format serde 'org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe'"
            " with serdeproperties ('field.delim' = '\\001', 'serialization.null.format' = '')"
            f" stored as textfile location {ATHENA.literal(f'{folder}/')}"
        )
        chosen = ", ".join(map(ATHENA.literal, sources))
        only = "" if whole and sources != [ratings] else f'where "$path" in ({chosen})'
        return f"""(select "$path" as source,
            case when line like concat('%', chr(13)) then substr(line, 1, length(line) - 1)
                else line end as line
            from {table} {only})"""

    def _folder(self, name: str) -> str:
        return f"{self._work}/{name}"

    def _create(self, name: str, query: str, *properties: str) -> None:
        location = ATHENA.literal(f"{self._folder(name)}/")
        settings = ", ".join(["format = 'PARQUET'", f"external_location = {location}", *properties])
        self._tables.append(name)
        self._run(f"create table {self.definition.prefix}{name} with ({settings}) as {query}")

    def _run(self, query: str) -> str:
        """Run a query to its end; return its id."""
        settings = self.definition.settings
        started = self._client.start_query_execution(
            QueryString=query,
            QueryExecutionContext={"Database": settings.athena_database},
            WorkGroup=settings.athena_workgroup,
            ResultConfiguration={"OutputLocation": f"{self._work}/results/"},
        )
        query_id: str = started["QueryExecutionId"]
        while True:
            found = self._client.get_query_execution(QueryExecutionId=query_id)
            status = found["QueryExecution"]["Status"]
            if status["State"] == "SUCCEEDED":
                return query_id
            if status["State"] in ("FAILED", "CANCELLED"):
                words = f"{status.get('StateChangeReason', status['State'])} (query {query_id})"
                if status.get("AthenaError", {}).get("ErrorCategory") == _USERS:
                    raise RatingsError(f"Athena cannot read {settings.ratings}: {words}")
                raise AthenaError(words)
            time.sleep(_LOOK_S)
