"""The tables of the server's database, how their values are written, and older versions of them.

Documents are JSON text that may hold datetimes; times are ISO 8601 text in UTC of fixed width, so
they sort as written in every database. A time without zone is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

VERSION = 2


def utc(moment: datetime) -> datetime:
    """Return a time in UTC.

    Raises
    ------
    ValueError
        It has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; the store keeps aware times only")
    return moment.astimezone(UTC)


# A callers' own key may begin with "$" (a hyperparameter, say); doubling the sign keeps the
# datetime marker unmistakable.
_DATETIME = "$datetime"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {_DATETIME: utc(value).isoformat()}
    if isinstance(value, Mapping):
        return {f"${k}" if k.startswith("$") else k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _rich(value: dict[str, Any]) -> Any:
    if len(value) == 1 and _DATETIME in value:
        return datetime.fromisoformat(value[_DATETIME])
    for key in value:
        if key.startswith("$"):
            return {k.removeprefix("$"): v for k, v in value.items()}
    return value


# Its hook sees the inner objects first, and each once.
_DECODER = json.JSONDecoder(object_hook=_rich)


def _text(length: int) -> sa.types.TypeEngine[str]:
    # By its bytes, as SQLite sorts it; PostgreSQL would sort it by its locale.
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


class Document(sa.types.TypeDecorator[dict[str, Any]]):
    """A JSON object that may hold datetimes, as text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: sa.Dialect) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        return json.dumps(_plain(value))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dict[str, Any]:  # noqa: ARG002 - SQLAlchemy's signature
        document: dict[str, Any] = _DECODER.decode(value)
        return document


class Moment(sa.types.TypeDecorator[datetime]):
    """A time as ISO 8601 text in UTC of fixed width: it sorts as written in every database."""

    impl = _text(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else utc(value).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else datetime.fromisoformat(value)


METADATA = sa.MetaData()
SCHEMA = sa.Table("matinee_schema", METADATA, sa.Column("version", sa.Integer, nullable=False))
RESOURCES = sa.Table(
    "resources",
    METADATA,
    sa.Column("kind", _text(64), primary_key=True),
    sa.Column("name", _text(256), primary_key=True),
    sa.Column("arn", _text(512), nullable=False, unique=True),
    sa.Column("status", _text(32), nullable=False),
    sa.Column("created", Moment, nullable=False),
    sa.Column("modified", Moment, nullable=False),
    sa.Column("document", Document, nullable=False),
    sa.Column("private", Document, nullable=False),
    sa.Column("parent", _text(512), nullable=False, server_default=""),
    sa.Index("resources_by_status", "kind", "status"),
    sa.Index("resources_by_parent", "parent", "kind", "created"),
    sa.Index("resources_by_creation", "kind", "created", "name"),
    sa.Index("resources_by_change", "kind", "modified", "name"),
)
TAGS = sa.Table(
    "tags",
    METADATA,
    sa.Column("arn", _text(512), primary_key=True),
    sa.Column("key", _text(128), primary_key=True),
    sa.Column("value", _text(256), nullable=False),
)
METRIC_DATA = sa.Table(
    "metric_data",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("namespace", _text(256), nullable=False),
    sa.Column("name", _text(256), nullable=False),
    sa.Column("dimensions", sa.Text, nullable=False),
    sa.Column("timestamp", Moment, nullable=False),
    sa.Column("count", sa.Double, nullable=False),
    sa.Column("total", sa.Double, nullable=False),
    sa.Column("minimum", sa.Double, nullable=False),
    sa.Column("maximum", sa.Double, nullable=False),
    sa.Column("unit", _text(32), nullable=False),
    sa.Index("metric_data_by_time", "namespace", "name", "timestamp"),
)


def connect_sqlite(connection: Any, _record: Any) -> None:
    """Prepare a new connection; SQLAlchemy's event `connect`."""
    # The driver must not begin transactions by itself: it would begin them as readers, and a
    # reader that turns writer can be refused.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


class DamagedError(Exception):
    """The database's file is damaged."""


def check_sqlite(connection: sa.Connection) -> None:
    """Look through the whole file: damage found later would be found in the middle of a job.

    Raises
    ------
    DamagedError
    """
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if found != "ok":
        raise DamagedError(f"its file is damaged ({found}); put a copy of it in its place")


def begin_sqlite(connection: sa.Connection) -> None:
    """Begin a transaction as a reader or a writer; SQLAlchemy's event `begin`."""
    options = connection.get_execution_options()
    if options.get("reads_once"):
        return  # one statement sees one state of the database by itself
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def upgrade_from_1(connection: sa.Connection) -> None:
    """Give resources a parent: training jobs knew their tuning job's name only."""
    connection.exec_driver_sql(
        "ALTER TABLE resources ADD COLUMN parent VARCHAR(512) DEFAULT '' NOT NULL"
    )
    for index in RESOURCES.indexes:
        index.create(connection)
    METRIC_DATA.create(connection)
    children = sa.select(RESOURCES).where(RESOURCES.c.kind == "TrainingJob")
    for row in connection.execute(children).all():
        parent = row.document.get("TuningJobArn", "")
        connection.execute(
            RESOURCES.update().where(RESOURCES.c.arn == row.arn).values(parent=parent)
        )
    connection.execute(SCHEMA.update().values(version=2))
