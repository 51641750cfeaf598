"""Roles and policies, asked for with boto3."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import NOON, ROLE_ARN, Front

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
ARN = "arn:aws:iam::000000000000:role/mine"
ANYBODY = json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}})
BUCKET = "arn:aws:s3:::bucket"


def policy(action: str, resource: str = "*", **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def iam(front: Front) -> Any:
    client = front.client("iam")
    client.create_role(RoleName="mine", AssumeRolePolicyDocument=TRUST)
    return client


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_describes_a_role_that_sagemaker_may_assume(front: Front) -> None:
    role = front.client("iam").get_role(RoleName="matinee-sagemaker")["Role"]
    assert role["Arn"] == ROLE_ARN
    assert re.fullmatch("AROA[A-Z0-9]{17}", role["RoleId"])
    assert role["AssumeRolePolicyDocument"]["Statement"][0] == {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }


def test_an_unknown_role(front: Front) -> None:
    client = front.client("iam")
    with pytest.raises(client.exceptions.NoSuchEntityException) as call:
        client.get_role(RoleName="other")
    assert call.value.response["Error"] == {
        "Type": "Sender",
        "Code": "NoSuchEntity",
        "Message": "The role with name other cannot be found.",
    }
    assert call.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_creates_and_changes_a_role(iam: Any) -> None:
    tags = [{"Key": "team", "Value": "film"}]
    made = iam.create_role(
        RoleName="films",
        Path="/service-role/",
        AssumeRolePolicyDocument=TRUST,
        Description="for films",
        MaxSessionDuration=7200,
        Tags=tags,
    )["Role"]
    assert made["Arn"] == "arn:aws:iam::000000000000:role/service-role/films"
    assert made["CreateDate"] == NOON
    assert made["Tags"] == tags
    assert made["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert iam.get_role(RoleName="films")["Role"] == made
    iam.update_role(RoleName="films", MaxSessionDuration=3600)
    iam.update_assume_role_policy(RoleName="films", PolicyDocument=ANYBODY)
    changed = iam.get_role(RoleName="films")["Role"]
    assert (changed["MaxSessionDuration"], changed["Description"]) == (3600, "for films")
    assert changed["AssumeRolePolicyDocument"] == json.loads(ANYBODY)


def test_lists_roles_by_name_in_pages(iam: Any) -> None:
    iam.create_role(RoleName="films", Path="/a/", AssumeRolePolicyDocument=TRUST)
    pages = iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 2})
    names = [[role["RoleName"] for role in page["Roles"]] for page in pages]
    assert names == [["films", "matinee-sagemaker"], ["mine"]]
    assert [role["Arn"] for role in iam.list_roles(PathPrefix="/a/")["Roles"]] == [
        "arn:aws:iam::000000000000:role/a/films"
    ]


def test_policies_of_its_own(iam: Any) -> None:
    iam.put_role_policy(RoleName="mine", PolicyName="reads", PolicyDocument=policy("s3:Get*"))
    iam.put_role_policy(RoleName="mine", PolicyName="lists", PolicyDocument=policy("s3:List*"))
    assert iam.list_role_policies(RoleName="mine")["PolicyNames"] == ["lists", "reads"]
    found = iam.get_role_policy(RoleName="mine", PolicyName="reads")
    assert found["PolicyDocument"] == json.loads(policy("s3:Get*"))
    iam.delete_role_policy(RoleName="mine", PolicyName="reads")
    assert iam.list_role_policies(RoleName="mine")["PolicyNames"] == ["lists"]
    code, words = refusal(iam.get_role_policy, RoleName="mine", PolicyName="reads")
    assert (code, words) == (
        "NoSuchEntity", "The role policy with name reads cannot be found."
    )  # fmt: skip


def test_managed_policies(iam: Any) -> None:
    made = iam.create_policy(
        PolicyName="reads", Path="/a/", PolicyDocument=policy("s3:Get*"), Description="reads"
    )["Policy"]
    arn = made["Arn"]
    assert arn == "arn:aws:iam::000000000000:policy/a/reads"
    assert made["AttachmentCount"] == 0
    full = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    for wanted in (arn, full, arn):
        iam.attach_role_policy(RoleName="mine", PolicyArn=wanted)
    attached = iam.list_attached_role_policies(RoleName="mine")["AttachedPolicies"]
    assert attached == [
        {"PolicyName": "AmazonSageMakerFullAccess", "PolicyArn": full},
        {"PolicyName": "reads", "PolicyArn": arn},
    ]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(policy("s3:Get*"))
    local = iam.list_policies(Scope="Local")["Policies"]
    assert [item["PolicyName"] for item in local] == ["reads"]
    used = iam.list_policies(OnlyAttached=True)["Policies"]
    assert [item["PolicyName"] for item in used] == [
        "AdministratorAccess", "AmazonSageMakerFullAccess", "reads"
    ]  # fmt: skip
    assert refusal(iam.delete_policy, PolicyArn=arn)[0] == "DeleteConflict"
    iam.detach_role_policy(RoleName="mine", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    assert refusal(iam.get_policy, PolicyArn=arn) == (
        "NoSuchEntity", f"Policy {arn} was not found."
    )  # fmt: skip


def test_a_role_is_deleted_when_nothing_hangs_on_it(iam: Any) -> None:
    iam.put_role_policy(RoleName="mine", PolicyName="reads", PolicyDocument=policy("s3:Get*"))
    arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess"
    iam.attach_role_policy(RoleName="mine", PolicyArn=arn)
    code, words = refusal(iam.delete_role, RoleName="mine")
    assert (code, words) == (
        "DeleteConflict", "Cannot delete entity, must detach all policies first."
    )  # fmt: skip
    iam.detach_role_policy(RoleName="mine", PolicyArn=arn)
    code, words = refusal(iam.delete_role, RoleName="mine")
    assert (code, words) == ("DeleteConflict", "Cannot delete entity, must delete policies first.")
    iam.delete_role_policy(RoleName="mine", PolicyName="reads")
    iam.delete_role(RoleName="mine")
    assert refusal(iam.get_role, RoleName="mine")[0] == "NoSuchEntity"


def test_tags_of_a_role(iam: Any) -> None:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    iam.tag_role(RoleName="mine", Tags=tags)
    assert iam.list_role_tags(RoleName="mine")["Tags"] == tags
    iam.untag_role(RoleName="mine", TagKeys=["a"])
    assert iam.list_role_tags(RoleName="mine")["Tags"] == tags[1:]


@pytest.mark.parametrize("name", ["mine", "matinee-sagemaker"])
def test_a_name_is_taken_once(iam: Any, name: str) -> None:
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException, match=f"{name} already exists"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)


def test_a_given_role_is_not_changed(iam: Any) -> None:
    with pytest.raises(iam.exceptions.UnmodifiableEntityException, match="is given by the server"):
        iam.put_role_policy(
            RoleName="matinee-sagemaker", PolicyName="a", PolicyDocument=policy("*")
        )


def test_what_is_no_policy(iam: Any) -> None:
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException) as caught:
        iam.create_role(RoleName="a", AssumeRolePolicyDocument=policy("*"))
    assert caught.value.response["Error"]["Code"] == "MalformedPolicyDocument"
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException, match="must contain"):
        iam.put_role_policy(
            RoleName="mine", PolicyName="a", PolicyDocument=json.dumps({"Statement": [
                {"Effect": "Allow", "Action": "*"}
            ]})
        )  # fmt: skip


def test_a_policy_that_is_not_there_is_not_attached(iam: Any) -> None:
    arn = "arn:aws:iam::aws:policy/NoSuchThing"
    with pytest.raises(iam.exceptions.NoSuchEntityException, match="is not attachable"):
        iam.attach_role_policy(RoleName="mine", PolicyArn=arn)


def decisions(answer: Any) -> list[tuple[str, str, str]]:
    return [
        (item["EvalActionName"], item["EvalResourceName"], item["EvalDecision"])
        for item in answer["EvaluationResults"]
    ]


def test_simulates_what_a_role_may_do(iam: Any) -> None:
    reads = policy("s3:GetObject", f"{BUCKET}/in/*", Condition={"Bool": {"aws:a": "true"}})
    iam.put_role_policy(RoleName="mine", PolicyName="reads", PolicyDocument=reads)
    iam.attach_role_policy(
        RoleName="mine", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    )
    deny = policy("s3:*", f"{BUCKET}/secret").replace("Allow", "Deny")
    answer = iam.simulate_principal_policy(
        PolicySourceArn=ARN,
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=[f"{BUCKET}/in/a", f"{BUCKET}/secret"],
        PolicyInputList=[deny],
        ContextEntries=[
            {"ContextKeyName": "aws:a", "ContextKeyValues": ["true"], "ContextKeyType": "boolean"}
        ],
    )
    assert decisions(answer) == [
        ("s3:GetObject", f"{BUCKET}/in/a", "allowed"),
        ("s3:GetObject", f"{BUCKET}/secret", "explicitDeny"),
        ("s3:PutObject", f"{BUCKET}/in/a", "implicitDeny"),
        ("s3:PutObject", f"{BUCKET}/secret", "explicitDeny"),
    ]
    assert answer["EvaluationResults"][0]["MatchedStatements"] == [
        {"SourcePolicyId": "reads", "SourcePolicyType": "role"},
        {
            "SourcePolicyId": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
            "SourcePolicyType": "aws-managed",
        },
    ]
    alone = iam.simulate_principal_policy(PolicySourceArn=ARN, ActionNames=["s3:GetObject"])
    assert decisions(alone) == [("s3:GetObject", "*", "allowed")]
    assert alone["EvaluationResults"][0]["MissingContextValues"] == ["aws:a"]


def test_simulates_in_pages(iam: Any) -> None:
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        PolicySourceArn=ROLE_ARN,
        ActionNames=["s3:GetObject", "s3:PutObject", "iam:PassRole"],
        PaginationConfig={"PageSize": 2},
    )
    assert [[item[2] for item in decisions(page)] for page in pages] == [
        ["allowed", "allowed"], ["allowed"]
    ]  # fmt: skip


def test_simulates_given_policies(iam: Any) -> None:
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy("s3:*")], ActionNames=["s3:GetObject", "iam:GetRole"]
    )
    assert [item[2] for item in decisions(answer)] == ["allowed", "implicitDeny"]


def test_what_is_not_simulated(iam: Any) -> None:
    call = iam.simulate_principal_policy
    request = {"PolicySourceArn": ARN, "ActionNames": ["s3:GetObject"]}
    assert "ResourcePolicy" in refusal(call, **request, ResourcePolicy=policy("*"))[1]
    root = "arn:aws:iam::000000000000:root"
    assert refusal(call, **{**request, "PolicySourceArn": root})[0] == "InvalidInput"
    assert refusal(call, **{**request, "PolicySourceArn": f"{ARN}s"})[0] == "NoSuchEntity"
