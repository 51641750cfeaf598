"""The contract of the store: atomic, durable, one writer at a time."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from matinee.sagemaker.store import MetricDatum, Query, Resource, ResourceExists, Store, StoreError
from tests.sagemaker.postgresql import PostgreSQL

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
THREADS = 20


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return postgresql.new_database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


def resource(name: str, **changes: Any) -> Resource:
    plain = Resource("Model", name, f"arn:{name.lower()}", "", NOON, NOON, {}, {})
    return dataclasses.replace(plain, **changes)


def test_keeps_a_resource_as_it_is(store: Store) -> None:
    document = {"CreationTime": NOON, "List": [{"At": NOON}], "Loss": 0.5, "Text": "é", "No": None}
    given = resource("a", status="InProgress", document=document, private={"folder": "00"})
    store.insert(given)
    assert store.get("Model", "a") == given


def test_a_callers_keys_may_look_like_the_stores_own(store: Store) -> None:
    document = {"$datetime": "x", "$$datetime": {"$datetime": "y"}, "$": {}}
    store.insert(resource("a", document=document))
    kept = store.get("Model", "a")
    assert kept is not None
    assert kept.document == document


def test_times_of_other_zones_come_back_in_utc(store: Store) -> None:
    store.insert(resource("a", created=NOON.astimezone(timezone(timedelta(hours=9)))))
    kept = store.get("Model", "a")
    assert kept is not None
    assert kept.created == NOON
    assert kept.created.tzinfo == UTC


def test_a_time_without_zone_is_refused(store: Store) -> None:
    with pytest.raises(sa.exc.StatementError, match="has no time zone"):
        store.insert(resource("a", document={"At": datetime(2026, 11, 23)}))
    assert store.get("Model", "a") is None


def test_absent_is_none(store: Store) -> None:
    assert store.get("Model", "a") is None


def test_a_name_is_taken_once_per_kind(store: Store) -> None:
    store.insert(resource("a"))
    with pytest.raises(ResourceExists, match="Model 'a' exists"):
        store.insert(resource("a", arn="arn:other"))
    store.insert(resource("a", kind="TrainingJob", arn="arn:job/a"))


def test_names_that_share_an_arn_are_one_name(store: Store) -> None:
    store.insert(resource("a"))
    with pytest.raises(ResourceExists):
        store.insert(resource("A"))


def test_a_refused_insert_leaves_no_tags(store: Store) -> None:
    store.insert(resource("a"), [{"Key": "team", "Value": "film"}])
    with pytest.raises(ResourceExists):
        store.insert(resource("a"), [{"Key": "team", "Value": "music"}])
    assert store.tags("arn:a") == [{"Key": "team", "Value": "film"}]


def test_finds_by_arn(store: Store) -> None:
    store.insert(resource("A"))
    assert store.by_arn("arn:a") == store.get("Model", "A")
    assert store.by_arn("arn:b") is None


def test_inserts_what_is_missing(store: Store) -> None:
    store.insert(resource("a", status="kept"))
    many = [resource(f"{number:04d}") for number in range(600)]
    store.insert_missing([resource("a", status="new"), *many])
    assert len(store.find("Model")) == 601
    kept = store.get("Model", "a")
    assert kept is not None
    assert kept.status == "kept"
    store.insert_missing([])


def test_finds_by_creation_then_name(store: Store) -> None:
    store.insert(resource("c", created=NOON))
    store.insert(resource("b", created=NOON))
    store.insert(resource("a", created=NOON + timedelta(microseconds=1)))
    store.insert(resource("z", kind="TrainingJob"))
    assert [item.name for item in store.find("Model")] == ["b", "c", "a"]


def test_finds_by_status(store: Store) -> None:
    store.insert(resource("a", status="InProgress"))
    store.insert(resource("b", status="Failed"))
    store.insert(resource("c", status="Stopping"))
    found = store.find("Model", statuses={"InProgress", "Stopping"})
    assert [item.name for item in found] == ["a", "c"]
    assert store.find("Model", statuses=()) == []


def test_update_returns_and_keeps_the_change(store: Store) -> None:
    store.insert(resource("a"))
    new = store.update("Model", "a", lambda old: dataclasses.replace(old, status="Failed"))
    assert new.status == "Failed"
    assert store.get("Model", "a") == new


def test_update_of_nothing_is_a_key_error(store: Store) -> None:
    with pytest.raises(KeyError, match="no Model 'a'"):
        store.update("Model", "a", lambda old: old)


def test_a_change_that_raises_changes_nothing(store: Store) -> None:
    def abort(_old: Resource) -> Resource:
        raise LookupError("no")

    store.insert(resource("a"))
    with pytest.raises(LookupError):
        store.update("Model", "a", abort)
    assert store.get("Model", "a") == resource("a")
    store.insert(resource("b"))  # and the writer's turn is free again


def test_a_change_keeps_the_identity(store: Store) -> None:
    store.insert(resource("a"))
    with pytest.raises(ValueError, match="keeps kind, name and ARN"):
        store.update("Model", "a", lambda old: dataclasses.replace(old, name="b"))


def test_delete_forgets_the_tags_too(store: Store) -> None:
    store.insert(resource("a"), [{"Key": "team", "Value": "film"}])
    assert store.delete("Model", "a")
    assert not store.delete("Model", "a")
    assert store.tags("arn:a") == []
    assert not store.has_arn("arn:a")


def test_tags_are_set_by_key(store: Store) -> None:
    store.insert(resource("a"), [{"Key": "b", "Value": "1"}, {"Key": "a", "Value": "1"}])
    store.add_tags("arn:a", [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": ""}])
    store.delete_tags("arn:a", ["a", "absent"])
    assert store.tags("arn:a") == [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": ""}]


def test_reopened_it_is_all_there(url: str, store: Store) -> None:
    store.insert(resource("a"))
    again = Store(url)
    try:
        assert again.get("Model", "a") == resource("a")
    finally:
        again.close()


def test_only_postgresql_has_to_be_claimed(url: str, store: Store) -> None:
    store.claim()
    again = Store(url)
    try:
        if url.startswith("sqlite"):
            again.claim()
        else:
            with pytest.raises(StoreError, match=r"in use by another server, its backend \d+"):
                again.claim()
            store.close()
            again.close()
            last = Store(url)
            last.claim()
            last.close()
    finally:
        again.close()


def test_a_page_goes_on_after_what_was_seen(store: Store) -> None:
    for name, minutes in (("b", 1), ("a", 1), ("c", 0), ("é", 2), ("B", 2)):
        store.insert(resource(name, created=NOON + timedelta(minutes=minutes), arn=f"arn:{name}"))
    query = Query(kind="Model")
    names, seen = [], store.page(query, 2)
    while seen:
        names.append([item.name for item in seen])
        query = dataclasses.replace(query, after=(seen[-1].created, seen[-1].name))
        seen = store.page(query, 2)
    assert names == [["c", "a"], ["b", "B"], ["é"]]
    by_name = store.page(Query(kind="Model", order="name", descending=True), 9)
    assert [item.name for item in by_name] == ["é", "c", "b", "a", "B"]


def test_a_page_takes_what_is_asked_for(store: Store) -> None:
    store.insert(resource("Some_name", status="Failed", parent="arn:p", modified=NOON))
    store.insert(resource("other", created=NOON + timedelta(minutes=1)))
    for query, expected in (
        (Query(kind="Model", name_contains="e_N"), ["Some_name"]),
        (Query(kind="Model", name_contains="%"), []),
        (Query(kind="Model", status="Failed"), ["Some_name"]),
        (Query(kind="Model", parent="arn:p"), ["Some_name"]),
        (Query(kind="Model", created_after=NOON), ["other"]),
        (Query(kind="Model", modified_before=NOON), []),
        (Query(kind="Endpoint"), []),
    ):
        assert [item.name for item in store.page(query, 9)] == expected


def datum(minute: int, value: float, **changes: Any) -> MetricDatum:
    plain = MetricDatum(
        namespace="mine",
        name="loss",
        dimensions={"b": "2", "a": "1"},
        timestamp=NOON + timedelta(minutes=minute),
        count=1,
        total=value,
        minimum=value,
        maximum=value,
    )
    return dataclasses.replace(plain, **changes)


def test_metric_data_are_found_by_time(store: Store) -> None:
    data = [datum(2, 0.5), datum(1, 0.25), datum(1, 1e-300), datum(3, 9.0)]
    store.add_metrics([*data, datum(1, 1.0, name="other"), datum(1, 1.0, dimensions={})])
    store.add_metrics([])
    found = store.metrics(
        "mine",
        "loss",
        {"a": "1", "b": "2"},
        start=NOON + timedelta(minutes=1),
        end=NOON + timedelta(minutes=3),
    )
    assert found == [data[1], data[2], data[0]]
    assert store.metric_names() == [
        ("mine", "loss", {"a": "1", "b": "2"}),
        ("mine", "loss", {}),
        ("mine", "other", {"a": "1", "b": "2"}),
    ]


def test_a_database_of_version_1_is_brought_up_to_date(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in VERSION_1:
            connection.exec_driver_sql(statement)
    engine.dispose()
    store = Store(url)
    try:
        (child,) = store.find("TrainingJob", parent="arn:tuning")
        assert (child.name, child.document) == ("child", {"TuningJobArn": "arn:tuning"})
        assert [item.parent for item in store.find("Model")] == [""]
    finally:
        store.close()
    Store(url).close()


VERSION_1 = (
    "CREATE TABLE matinee_schema (version INTEGER NOT NULL)",
    "INSERT INTO matinee_schema VALUES (1)",
    "CREATE TABLE resources (kind VARCHAR(64) NOT NULL, name VARCHAR(256) NOT NULL,"
    " arn VARCHAR(512) NOT NULL, status VARCHAR(32) NOT NULL, created VARCHAR(32) NOT NULL,"
    " modified VARCHAR(32) NOT NULL, document TEXT NOT NULL, private TEXT NOT NULL,"
    " PRIMARY KEY (kind, name), UNIQUE (arn))",
    "CREATE TABLE tags (arn VARCHAR(512) NOT NULL, key VARCHAR(128) NOT NULL,"
    " value VARCHAR(256) NOT NULL, PRIMARY KEY (arn, key))",
    *(
        f"INSERT INTO resources VALUES ('{kind}', '{name}', 'arn:{name}', 'Completed',"  # noqa: S608 - literals of this file
        " '2026-11-23T12:00:00.123456+00:00', '2026-11-23T12:00:00.123456+00:00',"
        f" '{document}', '{{}}')"
        for kind, name, document in (
            ("TrainingJob", "child", '{"TuningJobArn": "arn:tuning"}'),
            ("TrainingJob", "alone", "{}"),
            ("Model", "model", "{}"),
        )
    ),
)


def test_a_database_of_a_newer_version_is_refused(url: str, store: Store) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE matinee_schema SET version = 99"))
    engine.dispose()
    with pytest.raises(StoreError, match="schema version 99"):
        Store(url)
    assert store.find("Model") == []


@pytest.mark.parametrize("url", ["nonsense", "nosuchdatabase://", "sqlite:////no/such/folder/a"])
def test_a_database_that_cannot_be_opened_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="cannot open the database"):
        Store(url)


def test_one_of_many_creates_wins(store: Store) -> None:
    barrier = Barrier(THREADS)

    def create(number: int) -> bool:
        barrier.wait(20)
        try:
            store.insert(resource("a", private={"creator": number}))
        except ResourceExists:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        won = list(pool.map(create, range(THREADS)))
    assert won.count(True) == 1
    kept = store.get("Model", "a")
    assert kept is not None
    assert kept.private == {"creator": won.index(True)}


def test_no_update_is_lost(store: Store) -> None:
    store.insert(resource("a", private={"count": 0}))
    barrier = Barrier(THREADS)

    def increment(old: Resource) -> Resource:
        return dataclasses.replace(old, private={"count": old.private["count"] + 1})

    def work(_number: int) -> None:
        barrier.wait(20)
        for _ in range(5):
            store.update("Model", "a", increment)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    kept = store.get("Model", "a")
    assert kept is not None
    assert kept.private == {"count": 5 * THREADS}


WRITER = """
import sys
from datetime import UTC, datetime
from matinee.sagemaker.store import Resource, Store

store, now = Store(sys.argv[1]), datetime(2026, 11, 23, tzinfo=UTC)
for number in range(10**6):
    name = f"model-{number}"
    store.insert(Resource("Model", name, f"arn:{name}", "", now, now, {}, {}))
    print(name, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(url: str) -> None:
    with subprocess.Popen(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
    store = Store(url)
    try:
        kept = {item.name for item in store.find("Model")}
    finally:
        store.close()
    assert acknowledged[0] == "model-0"
    assert len(acknowledged) >= 50
    # One more may have been written and not yet said.
    assert kept - set(acknowledged) <= {f"model-{len(acknowledged)}"}
    assert set(acknowledged) <= kept
