"""Athena's API over HTTP, its SQL parsed in Athena's dialect, translated and run by DuckDB.

External tables are lines of text in S3, `create table as` writes Parquet to S3: the tests' own S3.
What it proves, and what not, is in docs/data.md.
"""

from __future__ import annotations

import gzip
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from matinee.workflow.objects import Objects
from tests.workflow.json_api import Operation, serving

TYPES = {"INTEGER": "integer", "BIGINT": "bigint", "HUGEINT": "bigint", "FLOAT": "float"}


class Catalog:
    """The tables, and the results of queries by their ids."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._database = duckdb.connect()
        self._results: dict[str, dict[str, Any]] = {}
        self._status: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def start_query_execution(self, QueryString: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        query_id = f"query-{next(self._numbers)}"
        self.statements.append(QueryString)
        try:
            self._results[query_id] = self._run(QueryString)
            self._status[query_id] = {"State": "SUCCEEDED"}
        except (duckdb.Error, sqlglot.errors.SqlglotError, OSError, EOFError) as error:
            broken = isinstance(error, OSError | EOFError)
            self._status[query_id] = {
                "State": "FAILED",
                "StateChangeReason": str(error),
                "AthenaError": {"ErrorCategory": 2 if broken else 3},
            }
        return {"QueryExecutionId": query_id}

    def get_query_execution(self, QueryExecutionId: str) -> dict[str, Any]:  # noqa: N803
        return {"QueryExecution": {"Status": self._status[QueryExecutionId]}}

    def get_query_results(self, QueryExecutionId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"ResultSet": self._results[QueryExecutionId]}

    def _run(self, text: str) -> dict[str, Any]:
        statement = sqlglot.parse_one(text, read="athena")
        if isinstance(statement, exp.Create):
            properties = {
                found.name.lower(): found.args["value"]
                for found in statement.find_all(exp.Property)
                if type(found) is exp.Property
            }
            place = statement.find(exp.LocationProperty)
            if place is not None:
                self._read_lines(statement.find(exp.Table).name, place.name)  # type: ignore[union-attr]
            else:
                self._write_parquet(statement, properties)
            return {}
        translated = statement.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
        cursor = self._database.execute(translated)
        if isinstance(statement, exp.Drop):
            return {}
        columns = [
            {
                "Name": name,
                "Type": TYPES.get(str(kind), "double" if kind == "DOUBLE" else "varchar"),
            }
            for name, kind, *_ in cursor.description
        ]
        rows = [tuple(column["Name"] for column in columns), *cursor.fetchall()]
        data = [
            {"Data": [{} if cell is None else {"VarCharValue": str(cell)} for cell in row]}
            for row in rows
        ]
        return {"Rows": data, "ResultSetMetadata": {"ColumnInfo": columns}}

    def _read_lines(self, table: str, location: str) -> None:
        objects = Objects()
        paths, lines = [], []
        for uri in objects.list(location):
            body = objects.read(uri)
            text = gzip.decompress(body) if uri.endswith(".gz") else body
            found = text.decode(errors="replace").split("\n")
            paths += [uri] * len(found)
            lines += [line or None for line in found]
        rows = pa.table({"$path": paths, "line": pa.array(lines, pa.string())})
        self._database.register("rows", rows)
        self._database.execute(f"create table {table} as select * from rows")  # noqa: S608

    def _write_parquet(self, statement: exp.Create, properties: dict[str, Any]) -> None:
        table = statement.find(exp.Table).name  # type: ignore[union-attr]
        query = statement.expression.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
        self._database.execute(f"create table {table} as {query}")
        partitions = statement.find(exp.PartitionedByProperty)
        keys = (
            []
            if partitions is None
            else [key.name for key in partitions.find_all(exp.Literal, exp.Column)]
        )
        location = properties["external_location"].name.rstrip("/")
        with tempfile.TemporaryDirectory() as folder:
            name = Path(folder) / ("tree" if keys else "data")
            by = f", partition_by ({', '.join(keys)})" if keys else ""
            self._database.execute(f"copy {table} to '{name}' (format parquet{by})")
            files = [name] if name.is_file() else sorted(name.rglob("*.parquet"))
            for file in files:
                end = "" if file == name else file.relative_to(name)
                Objects().upload(file, f"{location}/{end or '0.parquet'}")


@contextmanager
def local_athena() -> Iterator[tuple[str, Catalog]]:
    """Serve a catalog on loopback; give its URL."""
    catalog = Catalog()
    operations: dict[str, Operation] = {
        "StartQueryExecution": catalog.start_query_execution,
        "GetQueryExecution": catalog.get_query_execution,
        "GetQueryResults": catalog.get_query_results,
    }
    with serving(operations) as url:
        yield url, catalog
