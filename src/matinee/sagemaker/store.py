"""The server's durable memory: jobs, models and whatever else has a name, their tags, metric data.

A write that returned survives the death of the process. Writers take turns, so a read-modify-write
cannot lose another's change. SQLite by default, PostgreSQL by URL. A database of an older version
is brought up to date when it is opened; a name taken twice, a time without zone and a database
written by a newer version are refused.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from matinee.sagemaker import schema
from matinee.sagemaker.schema import METRIC_DATA, RESOURCES, TAGS

# How many values one statement may hold is limited; the least any database allows is more.
_PARAMETERS = 500
# Any number will do, as long as every matinee uses the same.
_CLAIM = 20261123


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
        ``TrainingJob``, ``HyperParameterTuningJob``, ``TransformJob``, ``Model`` ...
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
        What is never described: folder id, hosts.
    parent
        ARN of what it belongs to, e.g. a training job's tuning job; empty without one.
    """

    kind: str
    name: str
    arn: str
    status: str
    created: datetime
    modified: datetime
    document: dict[str, Any]
    private: dict[str, Any]
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which resources of a kind a page shows, and in which order.

    Attributes
    ----------
    kind
        As in ``Resource``.
    parent, status
        Only those with this value.
    name_contains
        Only names with this part, in any case.
    created_after, created_before, modified_after, modified_before
        Bounds, both excluded.
    order
        ``name``, ``created``, ``modified`` or ``status``; equals by name.
    descending
        The last first.
    after
        Value of the order's column and name of the resource before the first one wanted.
    """

    kind: str
    parent: str | None = None
    status: str | None = None
    name_contains: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    order: str = "created"
    descending: bool = False
    after: tuple[str | datetime, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDatum:
    """Values of one metric at one time, as CloudWatch keeps them.

    Attributes
    ----------
    namespace, name, dimensions
        Which metric.
    timestamp
        Aware datetime.
    count, total, minimum, maximum
        How many values, their sum, the least and the greatest.
    unit
        CloudWatch's word for it.
    """

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    timestamp: datetime
    count: float
    total: float
    minimum: float
    maximum: float
    unit: str = "None"


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
        self._claim: sa.Connection | None = None
        try:
            self._engine = sa.create_engine(url)
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", schema.connect_sqlite)
                sa.event.listen(self._engine, "begin", schema.begin_sqlite)
            version = self._open()
        except (sa.exc.SQLAlchemyError, ImportError, StoreError, schema.DamagedError) as error:
            raise StoreError(f"cannot open the database: {error}") from error
        if version != schema.VERSION:
            self.close()
            raise StoreError(
                f"the database has schema version {version}; "
                f"this matinee knows version {schema.VERSION}"
            )

    def _open(self) -> int:
        """Create what is not there yet, or bring it up to date; return the schema's version."""
        with self._writing() as connection:
            if self._engine.dialect.name == "sqlite":
                schema.check_sqlite(connection)
            if not sa.inspect(connection).has_table(schema.SCHEMA.name):
                schema.METADATA.create_all(connection)
                connection.execute(schema.SCHEMA.insert().values(version=schema.VERSION))
            version: int = connection.execute(sa.select(schema.SCHEMA.c.version)).scalar_one()
            if version == 1:
                schema.upgrade_from_1(connection)
                version = schema.VERSION
            # One that can only be read is found out here.
            connection.execute(schema.SCHEMA.update().values(version=version))
        return version

    def claim(self) -> None:
        """Keep other servers from this database until the store is closed.

        Only a PostgreSQL database can be shared by servers of several state folders; SQLite's
        file lies in the folder that its server holds.

        Raises
        ------
        StoreError
            Another server has it.
        """
        if self._engine.dialect.name != "postgresql":
            return
        # The lock is this connection's, and ends with it, however the process ends.
        self._claim = self._engine.connect()
        taken = sa.select(sa.func.pg_try_advisory_lock(_CLAIM))
        if not self._claim.execute(taken).scalar_one():
            holder = sa.text(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :claim"
            )
            pid = self._claim.execute(holder, {"claim": _CLAIM}).scalar()
            raise StoreError(f"the database is in use by another server, its backend {pid}")
        self._claim.commit()

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""
        if self._claim is not None:
            self._claim.close()
        self._engine.dispose()

    def _reading(self) -> sa.Connection:
        return self._engine.connect().execution_options(reads_once=True)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._turn, self._engine.connect() as plain:
                connection = plain.execution_options(writes=True)
                with connection.begin():
                    yield connection
        except sa.exc.OperationalError as error:
            # A full disk, a folder that is read-only, a database that is away
            raise StoreError(f"the database cannot be written: {error.orig}") from error

    def insert(self, resource: Resource, tags: Sequence[Mapping[str, str]] = ()) -> None:
        """Keep a new resource and its tags, both or neither.

        Raises
        ------
        ResourceExists
            The kind already has this name.
        """
        with self._writing() as connection:
            try:
                connection.execute(RESOURCES.insert().values(**_columns(resource)))
            except sa.exc.IntegrityError as error:
                raise ResourceExists(f"{resource.kind} {resource.name!r} exists") from error
            _put_tags(connection, resource.arn, tags)

    def insert_missing(self, resources: Sequence[Resource]) -> None:
        """Keep those of these resources whose ARN nothing has yet, all in one transaction."""
        wanted = {resource.arn: _columns(resource) for resource in resources}
        with self._writing() as connection:
            for start in range(0, len(wanted), _PARAMETERS):
                arns = list(wanted)[start : start + _PARAMETERS]
                query = sa.select(RESOURCES.c.arn).where(RESOURCES.c.arn.in_(arns))
                known = set(connection.execute(query).scalars())
                if new := [wanted[arn] for arn in arns if arn not in known]:
                    connection.execute(RESOURCES.insert(), new)

    def get(self, kind: str, name: str) -> Resource | None:
        """Return the resource, or None."""
        with self._reading() as connection:
            row = connection.execute(_ONE, {"wanted_kind": kind, "wanted_name": name}).one_or_none()
        return None if row is None else Resource(**row._mapping)

    def find(
        self, kind: str, *, statuses: Collection[str] | None = None, parent: str | None = None
    ) -> list[Resource]:
        """Return the resources of a kind, by creation, then name.

        Parameters
        ----------
        kind
            Whose resources.
        statuses, parent
            Only those with one of these statuses, of this parent.
        """
        query = sa.select(RESOURCES).where(RESOURCES.c.kind == kind)
        if statuses is not None:
            query = query.where(RESOURCES.c.status.in_(list(statuses)))
        if parent is not None:
            query = query.where(RESOURCES.c.parent == parent)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(RESOURCES.c.created, RESOURCES.c.name)).all()
        return [Resource(**row._mapping) for row in rows]

    def page(self, query: Query, limit: int) -> list[Resource]:
        """Return at most so many resources, the next ones of a query."""
        columns = RESOURCES.c
        order = columns[query.order]
        keys = [order, columns.name]
        chosen = sa.select(RESOURCES).where(*_conditions(query))
        if query.after is not None:
            value, name = query.after
            bound = sa.tuple_(sa.literal(value, order.type), sa.literal(name))
            here = sa.tuple_(*keys)
            chosen = chosen.where(here < bound if query.descending else here > bound)
        chosen = chosen.order_by(*(key.desc() if query.descending else key for key in keys))
        with self._reading() as connection:
            rows = connection.execute(chosen.limit(limit)).all()
        return [Resource(**row._mapping) for row in rows]

    def counts(self, kind: str) -> dict[str, int]:
        """Return how many resources of a kind there are, by status."""
        columns = RESOURCES.c
        query = (
            sa.select(columns.status, sa.func.count())
            .where(columns.kind == kind)
            .group_by(columns.status)
        )
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

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
                RESOURCES.update()
                .where(RESOURCES.c.kind == kind, RESOURCES.c.name == name)
                .values(**_columns(new))
            )
        return new

    def delete(self, kind: str, name: str) -> bool:
        """Forget a resource and its tags; return whether there was one."""
        with self._writing() as connection:
            arn = connection.execute(_one(kind, name).with_only_columns(RESOURCES.c.arn)).scalar()
            if arn is None:
                return False
            connection.execute(TAGS.delete().where(TAGS.c.arn == arn))
            connection.execute(RESOURCES.delete().where(RESOURCES.c.arn == arn))
        return True

    def by_arn(self, arn: str) -> Resource | None:
        """Return the resource with this ARN, or None."""
        query = sa.select(RESOURCES).where(RESOURCES.c.arn == arn)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Resource(**row._mapping)

    def has_arn(self, arn: str) -> bool:
        """Return whether a resource has this ARN."""
        query = sa.select(RESOURCES.c.arn).where(RESOURCES.c.arn == arn)
        with self._reading() as connection:
            return connection.execute(query).first() is not None

    def tags(self, arn: str) -> list[dict[str, str]]:
        """Return the tags of an ARN as ``{"Key": .., "Value": ..}``, by key."""
        query = sa.select(TAGS).where(TAGS.c.arn == arn).order_by(TAGS.c.key)
        with self._reading() as connection:
            return [{"Key": row.key, "Value": row.value} for row in connection.execute(query)]

    def add_tags(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        """Set tags on an ARN; an equal key gets the new value."""
        with self._writing() as connection:
            _put_tags(connection, arn, tags)

    def delete_tags(self, arn: str, keys: Collection[str]) -> None:
        """Remove the tags with these keys from an ARN; absent keys do not matter."""
        with self._writing() as connection:
            connection.execute(TAGS.delete().where(TAGS.c.arn == arn, TAGS.c.key.in_(list(keys))))

    def add_metrics(self, data: Sequence[MetricDatum]) -> None:
        """Keep metric data, all or none."""
        rows = [
            {
                **{field.name: getattr(datum, field.name) for field in dataclasses.fields(datum)},
                "dimensions": _dimensions(datum.dimensions),
            }
            for datum in data
        ]
        if rows:
            with self._writing() as connection:
                connection.execute(METRIC_DATA.insert(), rows)

    def metrics(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        *,
        start: datetime,
        end: datetime,
    ) -> list[MetricDatum]:
        """Return the data of a metric from ``start`` until before ``end``, by time."""
        columns = METRIC_DATA.c
        query = (
            sa.select(METRIC_DATA)
            .where(
                columns.namespace == namespace,
                columns.name == name,
                columns.dimensions == _dimensions(dimensions),
                columns.timestamp >= start,
                columns.timestamp < end,
            )
            .order_by(columns.timestamp, columns.number)
        )
        with self._reading() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        for row in rows:
            del row["number"]
        return [MetricDatum(**{**row, "dimensions": dict(dimensions)}) for row in rows]

    def metric_names(self) -> list[tuple[str, str, dict[str, str]]]:
        """Return namespace, name and dimensions of every metric there are data of, sorted."""
        columns = METRIC_DATA.c
        query = sa.select(columns.namespace, columns.name, columns.dimensions).distinct()
        with self._reading() as connection:
            rows = connection.execute(
                query.order_by(columns.namespace, columns.name, columns.dimensions)
            ).all()
        return [(row.namespace, row.name, json.loads(row.dimensions)) for row in rows]


def _dimensions(dimensions: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(dimensions.items())))


def _conditions(query: Query) -> list[sa.ColumnElement[bool]]:
    columns = RESOURCES.c
    found = [columns.kind == query.kind]
    if query.parent is not None:
        found.append(columns.parent == query.parent)
    if query.status is not None:
        found.append(columns.status == query.status)
    if query.name_contains:
        found.append(columns.name.icontains(query.name_contains, autoescape=True))
    for column, after, before in (
        (columns.created, query.created_after, query.created_before),
        (columns.modified, query.modified_after, query.modified_before),
    ):
        if after is not None:
            found.append(column > after)
        if before is not None:
            found.append(column < before)
    return found


_ONE = sa.select(RESOURCES).where(
    RESOURCES.c.kind == sa.bindparam("wanted_kind"), RESOURCES.c.name == sa.bindparam("wanted_name")
)


def _one(kind: str, name: str) -> sa.Select[Any]:
    return sa.select(RESOURCES).where(RESOURCES.c.kind == kind, RESOURCES.c.name == name)


def _put_tags(connection: sa.Connection, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
    values = {tag["Key"]: tag["Value"] for tag in tags}
    if values:
        connection.execute(TAGS.delete().where(TAGS.c.arn == arn, TAGS.c.key.in_(list(values))))
        connection.execute(
            TAGS.insert(), [{"arn": arn, "key": k, "value": v} for k, v in values.items()]
        )
