"""The caller's identity and sessions of roles, asked for with boto3, over a real S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from matinee.sagemaker.access.roles import Roles
from matinee.sagemaker.access.sessions import RoleSessions
from tests.conftest import ObjectStore
from tests.sagemaker.conftest import REGION, ROLE_ARN, Front

ROOT = "arn:aws:iam::000000000000:root"
MINE = "arn:aws:iam::000000000000:role/mine"


@pytest.fixture
def roles(front: Front, object_store: ObjectStore) -> Iterator[Front]:
    """A server whose jobs have keys of their roles, and a role that trusts the account."""
    context, keys = front.context, object_store.credentials
    context.access = RoleSessions(
        store=context.store,
        clock=lambda: datetime.now(UTC),
        roles=Roles(context.store, context.account_id, context.roles),
        s3_endpoint=object_store.endpoint,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        region=REGION,
        variables={"AWS_ENDPOINT_URL_S3": object_store.endpoint},
    )
    add_role(front, {"AWS": ROOT})
    yield front
    context.access.close()


def add_role(front: Front, principal: Any, **more: Any) -> None:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}
    front.client("iam").create_role(
        RoleName="mine",
        AssumeRolePolicyDocument=json.dumps({"Statement": statement}),
        MaxSessionDuration=7200,
    )


def allow(front: Front, *statements: tuple[Any, Any]) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in statements
        ],
    }
    front.client("iam").put_role_policy(
        RoleName="mine", PolicyName="mine", PolicyDocument=json.dumps(document)
    )


def assumed(front: Front, role: str = MINE, **request: Any) -> boto3.Session:
    """Assume a role and return a session with its keys."""
    answer = front.client("sts").assume_role(RoleArn=role, RoleSessionName="me-now", **request)
    keys = answer["Credentials"]
    return boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name=REGION,
    )


def code(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_the_caller_is_the_accounts_root(front: Front) -> None:
    answer = front.client("sts").get_caller_identity()
    del answer["ResponseMetadata"]
    assert answer == {"UserId": "000000000000", "Account": "000000000000", "Arn": ROOT}


def test_a_session_knows_who_it_is(roles: Front) -> None:
    answer = roles.client("sts").assume_role(RoleArn=MINE, RoleSessionName="me-now")
    arn = "arn:aws:sts::000000000000:assumed-role/mine/me-now"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    left = answer["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(minutes=55) < left <= timedelta(hours=1)
    found = assumed(roles).client("sts", endpoint_url=roles.endpoint).get_caller_identity()
    assert found["Arn"] == arn
    assert found["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]


def test_s3_obeys_the_roles_policy(roles: Front, object_store: ObjectStore, bucket: str) -> None:
    base = f"arn:aws:s3:::{bucket}"
    allow(roles, ("s3:GetObject", f"{base}/in/*"), ("s3:PutObject", f"{base}/out/*"))
    object_store.client().put_object(Bucket=bucket, Key="in/a", Body=b"1")
    s3 = assumed(roles).client("s3", endpoint_url=object_store.endpoint)
    assert s3.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"2")
    assert code(s3.put_object, Bucket=bucket, Key="in/a", Body=b"3") == "AccessDenied"
    assert code(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"
    assert code(s3.get_object, Bucket="matinee", Key="in/a") == "AccessDenied"


def test_a_role_without_policies_may_nothing(
    roles: Front, object_store: ObjectStore, bucket: str
) -> None:
    session = assumed(roles)
    s3 = session.client("s3", endpoint_url=object_store.endpoint)
    assert code(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"
    sagemaker = session.client("sagemaker", endpoint_url=roles.endpoint)
    with pytest.raises(ClientError) as caught:
        sagemaker.list_models()
    assert caught.value.response["Error"] == {
        "Code": "AccessDeniedException",
        "Message": "User: arn:aws:sts::000000000000:assumed-role/mine/me-now is not authorized to "
        "perform: sagemaker:ListModels on resource: * because no identity-based policy allows the "
        "sagemaker:ListModels action",
    }


def test_the_services_here_obey_it_too(roles: Front) -> None:
    models = "arn:aws:sagemaker:us-east-1:000000000000:model/"
    allow(roles, ("sagemaker:CreateModel", f"{models}mine-*"), ("iam:Get*", MINE))
    session = assumed(roles)
    sagemaker = session.client("sagemaker", endpoint_url=roles.endpoint)
    request = {"PrimaryContainer": {"Image": "r/factorization-machines:1"}}
    assert code(sagemaker.create_model, ModelName="a", **request) == "AccessDeniedException"
    sagemaker.create_model(ModelName="mine-a", **request)
    iam = session.client("iam", endpoint_url=roles.endpoint)
    assert iam.get_role(RoleName="mine")["Role"]["Arn"] == MINE
    assert code(iam.get_role, RoleName="matinee-sagemaker") == "AccessDenied"


def test_a_role_must_be_passed_on(roles: Front) -> None:
    allow(roles, ("sagemaker:*", "*"))
    sagemaker = assumed(roles).client("sagemaker", endpoint_url=roles.endpoint)
    request = {
        "ModelName": "a",
        "ExecutionRoleArn": ROLE_ARN,
        "PrimaryContainer": {"Image": "r/factorization-machines:1", "ModelDataUrl": "s3://a/b"},
    }
    with pytest.raises(ClientError, match=f"perform: iam:PassRole on resource: {ROLE_ARN}"):
        sagemaker.create_model(**request)


def test_a_changed_session_is_refused(roles: Front) -> None:
    keys = assumed(roles).get_credentials().get_frozen_credentials()
    for changes in ({"aws_session_token": "x"}, {"aws_session_token": None}):
        given = {
            "aws_access_key_id": keys.access_key,
            "aws_secret_access_key": keys.secret_key,
            "region_name": REGION,
            **changes,
        }
        sts = boto3.Session(**given).client("sts", endpoint_url=roles.endpoint)
        assert code(sts.get_caller_identity) == "InvalidClientTokenId"


def test_who_may_assume_a_role(roles: Front) -> None:
    sts = roles.client("sts")
    document = {
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": "000000000000"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "secret"}},
        }
    }
    roles.client("iam").update_assume_role_policy(
        RoleName="mine", PolicyDocument=json.dumps(document)
    )
    with pytest.raises(ClientError) as caught:
        sts.assume_role(RoleArn=MINE, RoleSessionName="me-now")
    assert caught.value.response["Error"]["Message"] == (
        f"User: {ROOT} is not authorized to perform: sts:AssumeRole on resource: {MINE}"
    )
    sts.assume_role(RoleArn=MINE, RoleSessionName="me-now", ExternalId="secret")


def test_a_role_that_is_not_there(roles: Front) -> None:
    with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole"):
        assumed(roles, role=f"{MINE}s")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"DurationSeconds": 7201}, "exceeds the MaxSessionDuration set for this role"),
        ({"Policy": "{}"}, "not implemented by matinee: Policy of AssumeRole"),
        ({"DurationSeconds": 1}, "at 'durationSeconds' failed to satisfy"),
    ],
)
def test_what_does_not_fit(roles: Front, request_: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        assumed(roles, **request_)


def test_without_an_s3_there_are_no_sessions(front: Front) -> None:
    with pytest.raises(ClientError, match="AssumeRole without an S3 that has STS"):
        assumed(front, role=ROLE_ARN)
