"""How jobs get at S3, where services and jobs themselves do not show it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from matinee.sagemaker.access.policies import read_identity_policy
from matinee.sagemaker.access.roles import ROLE, Roles
from matinee.sagemaker.access.sessions import RoleSessions, ServerKeys, s3_policy, temporary_keys
from matinee.sagemaker.data.objects import ObjectRefusedError, Objects, UnreachableError
from matinee.sagemaker.store import Resource, Store
from tests.conftest import ObjectStore
from tests.sagemaker.conftest import REGION, ROLE_ARN, Clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/sagemaker.sqlite")
    yield store
    store.close()


@pytest.fixture
def roles(store: Store) -> Roles:
    return Roles(store, "000000000000", ("matinee-sagemaker",))


def sessions(store: Store, roles: Roles, object_store: ObjectStore, **changes: Any) -> RoleSessions:
    given = {
        "store": store,
        "clock": lambda: datetime.now(UTC),
        "roles": roles,
        "s3_endpoint": object_store.endpoint,
        "access_key_id": object_store.credentials.access_key_id,
        "secret_access_key": object_store.credentials.secret_access_key,
        "region": REGION,
        "variables": {"AWS_ENDPOINT_URL_S3": object_store.endpoint},
    }
    return RoleSessions(**{**given, **changes})


def test_one_session_serves_many_jobs(
    store: Store, roles: Roles, object_store: ObjectStore
) -> None:
    access = sessions(store, roles, object_store)
    first, second = access.environment(ROLE_ARN), access.environment(ROLE_ARN)
    assert first == second
    assert first.keys() == {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"
    }  # fmt: skip
    assert object_store.credentials.access_key_id not in first.values()
    keys = temporary_keys(store, first["AWS_ACCESS_KEY_ID"])
    assert keys is not None
    assert (keys.caller.role, keys.caller.session) == (ROLE_ARN, "SageMaker")
    assert first["AWS_SECRET_ACCESS_KEY"] not in repr(keys)
    access.close()


def test_s3_by_a_role(
    store: Store, roles: Roles, object_store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    access = sessions(store, roles, object_store)
    objects = access.objects(ROLE_ARN)
    assert access.objects(ROLE_ARN) is objects
    file = tmp_path / "file"
    file.write_bytes(b"text")
    objects.upload(file, f"s3://{bucket}/a")
    assert objects.read(bucket, "a", limit=10) == b"text"
    access.close()


def test_what_a_role_may_do_counts_at_each_request(
    store: Store,
    roles: Roles,
    object_store: ObjectStore,
    bucket: str,
    objects: Objects,
    tmp_path: Path,
) -> None:
    arn, now = f"{ROLE_ARN}-own", datetime.now(UTC)
    trust = json.dumps({"Statement": []})
    document = {"RoleName": "matinee-sagemaker-own", "Arn": arn, "AssumeRolePolicyDocument": trust}
    private: dict[str, Any] = {"inline": {"a": policy("s3:ListBucket")}, "attached": []}
    own = Resource(ROLE, "matinee-sagemaker-own", arn, "", now, now, document, private)
    store.insert(own)
    access = sessions(store, roles, object_store)
    by_role = access.objects(arn)
    file = tmp_path / "file"
    file.write_bytes(b"text")
    objects.upload(file, f"s3://{bucket}/a")
    with pytest.raises(ObjectRefusedError):
        by_role.read(bucket, "a", limit=10)
    allowed = {**private, "inline": {"a": policy("s3:GetObject")}}
    store.update(ROLE, own.name, lambda role: dataclasses.replace(role, private=allowed))
    assert by_role.read(bucket, "a", limit=10) == b"text"
    access.close()


def test_an_old_session_is_replaced_and_forgotten(
    store: Store, roles: Roles, object_store: ObjectStore
) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC)
    access = sessions(store, roles, object_store, clock=clock)
    first = access.environment(ROLE_ARN)["AWS_ACCESS_KEY_ID"]
    clock.now += timedelta(hours=2)
    second = access.environment(ROLE_ARN)["AWS_ACCESS_KEY_ID"]
    assert first != second
    assert temporary_keys(store, first) is not None
    clock.now += timedelta(hours=11)
    access.environment(ROLE_ARN)
    assert temporary_keys(store, first) is None
    access.close()


def test_a_role_that_is_gone(store: Store, roles: Roles, object_store: ObjectStore) -> None:
    access = sessions(store, roles, object_store)
    with pytest.raises(ObjectRefusedError, match="other does not exist any more"):
        access.environment(f"{ROLE_ARN}-other")
    with pytest.raises(ObjectRefusedError, match="other does not exist any more"):
        access.objects(f"{ROLE_ARN}-other").find("matinee", "")
    access.close()


def test_an_s3_that_refuses_or_is_not_there(
    store: Store, roles: Roles, object_store: ObjectStore
) -> None:
    access = sessions(store, roles, object_store, secret_access_key="wrong")
    with pytest.raises(ObjectRefusedError, match="be started with --jobs-use-server-keys"):
        access.environment(ROLE_ARN)
    access.close()
    access = sessions(store, roles, object_store, s3_endpoint="http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=f"temporary keys of {ROLE_ARN}"):
        access.environment(ROLE_ARN)
    access.close()


def test_the_servers_own_keys(roles: Roles, objects: Objects) -> None:
    access = ServerKeys(objects, {"AWS_ACCESS_KEY_ID": "a"})
    assert access.environment(ROLE_ARN) == {"AWS_ACCESS_KEY_ID": "a"}
    assert access.objects(ROLE_ARN) is objects
    role = roles.of_arn(ROLE_ARN)
    assert role is not None
    with pytest.raises(ObjectRefusedError, match="lets jobs use its own keys"):
        access.assume(role, "me", 900)
    access.close()


def policy(*actions: str, resource: str = "*", **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Statement": statement})


def s3_part(roles: Roles, *texts: str) -> list[dict[str, Any]]:
    role = roles.of_arn(ROLE_ARN)
    assert role is not None
    found = json.loads(s3_policy(role, [read_identity_policy("a", text) for text in texts]))
    statements: list[dict[str, Any]] = found["Statement"]
    return statements


def test_a_session_policy_says_what_is_said_about_s3(roles: Roles) -> None:
    condition = {"StringLike": {"s3:prefix": ["a/*"]}}
    found = s3_part(
        roles,
        policy("iam:*", "S3:GetObject", "s?:Put*"),
        policy("sagemaker:*"),
        policy("*", Effect="Deny", resource="arn:aws:s3:::a", Condition=condition),
    )
    assert found == [
        {"Effect": "Allow", "Action": ["S3:GetObject", "s?:Put*"], "Resource": ["*"]},
        {
            "Effect": "Deny",
            "Action": ["*"],
            "Resource": ["arn:aws:s3:::a"],
            "Condition": condition,
        },
    ]


def test_a_role_without_a_word_about_s3_may_nothing_there(roles: Roles) -> None:
    assert s3_part(roles) == [{"Effect": "Deny", "Action": ["*"], "Resource": ["*"]}]


def test_a_policy_that_is_too_long_is_refused(roles: Roles) -> None:
    with pytest.raises(ObjectRefusedError, match="matinee can apply 2048"):
        s3_part(roles, policy("s3:GetObject", resource=f"arn:aws:s3:::{'a' * 2048}"))
