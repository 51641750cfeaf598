"""The server's durable memory: jobs, models and their tags.

A write that returned survives the death of the process. Writers take turns, so a read-modify-write
cannot lose another's change. SQLite by default, PostgreSQL by URL. A name taken twice, a time
without zone and a database written by a newer version are refused.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

SCHEMA_VERSION = 1


class StoreError(Exception):
    """The store cannot do what was asked."""


class ResourceExists(StoreError):  # noqa: N818 - reads as the fact it states
    """The kind already has a resource of this name."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One named thing the services keep.

    Attributes
    ----------
    kind
        ``TrainingJob``, ``HyperParameterTuningJob``, ``TransformJob`` or ``Model``.
    name
        Unique within the kind.
    arn
        Its address; tags hang on it.
    status
        ``InProgress`` ...; empty for models.
    created, modified
        Aware datetimes.
    document
        What Describe answers, in AWS's words.
    private
        What is never described: folder id, phase, log stream.
    """

    kind: str
    name: str
    arn: str
    status: str
    created: datetime
    modified: datetime
    document: dict[str, Any]
    private: dict[str, Any]


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; the store keeps aware times only")
    return moment.astimezone(UTC)


# A callers' own key may begin with "$" (a hyperparameter, say); doubling the sign keeps the
# datetime marker unmistakable.
_DATETIME = "$datetime"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {_DATETIME: _utc(value).isoformat()}
    if isinstance(value, Mapping):
        return {f"${k}" if k.startswith("$") else k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_DATETIME}:
            return datetime.fromisoformat(value[_DATETIME])
        return {k.removeprefix("$"): _rich(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rich(item) for item in value]
    return value


class _Document(sa.types.TypeDecorator[dict[str, Any]]):
    """A JSON object that may hold datetimes, as text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: sa.Dialect) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        return json.dumps(_plain(value))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dict[str, Any]:  # noqa: ARG002 - SQLAlchemy's signature
        document: dict[str, Any] = _rich(json.loads(value))
        return document


class _Moment(sa.types.TypeDecorator[datetime]):
    """A time as ISO 8601 text in UTC of fixed width: it sorts as written in every database."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else _utc(value).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else datetime.fromisoformat(value)


_metadata = sa.MetaData()
_schema = sa.Table("matinee_schema", _metadata, sa.Column("version", sa.Integer, nullable=False))
_resources = sa.Table(
    "resources",
    _metadata,
    sa.Column("kind", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("arn", sa.String(512), nullable=False, unique=True),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created", _Moment, nullable=False),
    sa.Column("modified", _Moment, nullable=False),
    sa.Column("document", _Document, nullable=False),
    sa.Column("private", _Document, nullable=False),
)
_tags = sa.Table(
    "tags",
    _metadata,
    sa.Column("arn", sa.String(512), primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("value", sa.String(256), nullable=False),
)


def _connect_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: it would begin them as readers, and a
    # reader that turns writer can be refused.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _columns(resource: Resource) -> dict[str, Any]:
    return {field.name: getattr(resource, field.name) for field in dataclasses.fields(resource)}


class Store:
    """Resources and tags in one database; safe to use from many threads.

    Parameters
    ----------
    url
        SQLAlchemy database URL, e.g. ``sqlite:////var/lib/matinee/sagemaker.sqlite``.

    Raises
    ------
    StoreError
        The database cannot be opened, or was written by a newer version.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._turn = threading.Lock()
        try:
            self._engine = sa.create_engine(url)
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _connect_sqlite)
                sa.event.listen(self._engine, "begin", _begin_sqlite)
            version = self._create()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise StoreError(f"cannot open the database: {error}") from error
        if version != SCHEMA_VERSION:
            self.close()
            raise StoreError(
                f"the database has schema version {version}; "
                f"this matinee knows version {SCHEMA_VERSION}"
            )

    def _create(self) -> int:
        """Create what is not there yet; return the schema's version."""
        with self._writing() as connection:
            _metadata.create_all(connection)
            version: int | None = connection.execute(sa.select(_schema.c.version)).scalar()
            if version is None:
                connection.execute(_schema.insert().values(version=SCHEMA_VERSION))
        return version or SCHEMA_VERSION

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._turn, self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    def insert(self, resource: Resource, tags: Sequence[Mapping[str, str]] = ()) -> None:
        """Keep a new resource and its tags, both or neither.

        Raises
        ------
        ResourceExists
            The kind already has this name.
        """
        with self._writing() as connection:
            try:
                connection.execute(_resources.insert().values(**_columns(resource)))
            except sa.exc.IntegrityError as error:
                raise ResourceExists(f"{resource.kind} {resource.name!r} exists") from error
            _put_tags(connection, resource.arn, tags)

    def get(self, kind: str, name: str) -> Resource | None:
        """Return the resource, or None."""
        with self._engine.begin() as connection:
            row = connection.execute(_one(kind, name)).one_or_none()
        return None if row is None else Resource(**row._mapping)

    def find(self, kind: str, *, statuses: Collection[str] | None = None) -> list[Resource]:
        """Return the resources of a kind, of these statuses if given, by creation, then name."""
        query = sa.select(_resources).where(_resources.c.kind == kind)
        if statuses is not None:
            query = query.where(_resources.c.status.in_(list(statuses)))
        with self._engine.begin() as connection:
            rows = connection.execute(query.order_by(_resources.c.created, _resources.c.name)).all()
        return [Resource(**row._mapping) for row in rows]

    def update(self, kind: str, name: str, change: Callable[[Resource], Resource]) -> Resource:
        """Replace a resource by what ``change`` makes of it, in one transaction.

        Other writers wait meanwhile; an exception out of ``change`` leaves everything as it was.
        ``change`` must not call the store.

        Returns
        -------
        Resource
            The new state.

        Raises
        ------
        KeyError
            There is no such resource.
        ValueError
            ``change`` gave the resource another kind, name or ARN.
        """
        with self._writing() as connection:
            row = connection.execute(_one(kind, name).with_for_update()).one_or_none()
            if row is None:
                raise KeyError(f"no {kind} {name!r}")
            old = Resource(**row._mapping)
            new = change(old)
            if (new.kind, new.name, new.arn) != (old.kind, old.name, old.arn):
                raise ValueError(f"{kind} {name!r}: a change keeps kind, name and ARN")
            connection.execute(
                _resources.update()
                .where(_resources.c.kind == kind, _resources.c.name == name)
                .values(**_columns(new))
            )
        return new

    def delete(self, kind: str, name: str) -> bool:
        """Forget a resource and its tags; return whether there was one."""
        with self._writing() as connection:
            arn = connection.execute(_one(kind, name).with_only_columns(_resources.c.arn)).scalar()
            if arn is None:
                return False
            connection.execute(_tags.delete().where(_tags.c.arn == arn))
            connection.execute(_resources.delete().where(_resources.c.arn == arn))
        return True

    def has_arn(self, arn: str) -> bool:
        """Return whether a resource has this ARN."""
        query = sa.select(_resources.c.arn).where(_resources.c.arn == arn)
        with self._engine.begin() as connection:
            return connection.execute(query).first() is not None

    def tags(self, arn: str) -> list[dict[str, str]]:
        """Return the tags of an ARN as ``{"Key": .., "Value": ..}``, by key."""
        query = sa.select(_tags).where(_tags.c.arn == arn).order_by(_tags.c.key)
        with self._engine.begin() as connection:
            return [{"Key": row.key, "Value": row.value} for row in connection.execute(query)]

    def add_tags(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        """Set tags on an ARN; an equal key gets the new value."""
        with self._writing() as connection:
            _put_tags(connection, arn, tags)

    def delete_tags(self, arn: str, keys: Collection[str]) -> None:
        """Remove the tags with these keys from an ARN; absent keys do not matter."""
        with self._writing() as connection:
            connection.execute(
                _tags.delete().where(_tags.c.arn == arn, _tags.c.key.in_(list(keys)))
            )


def _one(kind: str, name: str) -> sa.Select[Any]:
    return sa.select(_resources).where(_resources.c.kind == kind, _resources.c.name == name)


def _put_tags(connection: sa.Connection, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
    values = {tag["Key"]: tag["Value"] for tag in tags}
    if values:
        connection.execute(_tags.delete().where(_tags.c.arn == arn, _tags.c.key.in_(list(values))))
        connection.execute(
            _tags.insert(), [{"arn": arn, "key": k, "value": v} for k, v in values.items()]
        )
