"""On which resource a role must allow an operation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matinee.sagemaker.access.permissions import require_operation
from matinee.sagemaker.errors import NotAuthorized
from matinee.sagemaker.http.auth import Caller
from tests.sagemaker.conftest import Front

ROLE = "arn:aws:iam::000000000000:role/a/mine"
SAGEMAKER = "arn:aws:sagemaker:us-east-1:000000000000:"
GROUP = "/aws/sagemaker/TrainingJobs"


def refused(front: Front, service: str, operation: str, request: dict[str, Any]) -> str:
    caller = Caller(role=ROLE, session="me")
    with pytest.raises(NotAuthorized) as caught:
        require_operation(front.context.called_by(caller), service, operation, request)
    return caught.value.message


@pytest.fixture
def role(front: Front) -> None:
    trust = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}
    front.client("iam").create_role(
        RoleName="mine", Path="/a/", AssumeRolePolicyDocument=json.dumps(trust)
    )


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    ("service", "operation", "request_", "resource"),
    [
        ("sagemaker", "ListModels", {"NameContains": "a"}, "*"),
        ("sagemaker", "CreateModel", {"ModelName": "Mine"}, f"{SAGEMAKER}model/mine"),
        (
            "sagemaker",
            "StopHyperParameterTuningJob",
            {"HyperParameterTuningJobName": "a"},
            f"{SAGEMAKER}hyper-parameter-tuning-job/a",
        ),
        ("sagemaker", "AddTags", {"ResourceArn": f"{SAGEMAKER}model/a"}, f"{SAGEMAKER}model/a"),
        ("sagemaker", "InvokeEndpoint", {"EndpointName": "a"}, f"{SAGEMAKER}endpoint/a"),
        ("sagemaker", "InvokeEndpointAsync", {"EndpointName": "a"}, f"{SAGEMAKER}endpoint/a"),
        (
            "sagemaker",
            "DeleteModelPackage",
            {"ModelPackageName": f"{SAGEMAKER}model-package/Group/1"},
            f"{SAGEMAKER}model-package/group/1",
        ),
        (
            "sagemaker",
            "CreateModelPackage",
            {"ModelPackageGroupName": "Group"},
            f"{SAGEMAKER}model-package/group/*",
        ),
        (
            "sagemaker",
            "PutModelPackageGroupPolicy",
            {"ModelPackageGroupName": "a"},
            f"{SAGEMAKER}model-package-group/a",
        ),
        (
            "sagemaker",
            "UpdateTrialComponent",
            {"TrialComponentName": "a"},
            f"{SAGEMAKER}experiment-trial-component/a",
        ),
        ("sagemaker", "CreateTrial", {"TrialName": "a"}, f"{SAGEMAKER}experiment-trial/a"),
        ("sagemaker", "ListTrialComponents", {"TrialName": "a"}, "*"),
        (
            "sagemaker",
            "UpdateArtifact",
            {"ArtifactArn": f"{SAGEMAKER}ARTIFACT/a"},
            f"{SAGEMAKER}artifact/a",
        ),
        (
            "logs",
            "GetLogEvents",
            {"logGroupIdentifier": f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:*"},
            f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:*",
        ),
        ("monitoring", "PutMetricData", {"Namespace": "a"}, "*"),
        (
            "logs",
            "GetLogEvents",
            {"logGroupName": GROUP},
            f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:*",
        ),
        (
            "ecr",
            "DescribeImages",
            {"repositoryName": "a"},
            "arn:aws:ecr:us-east-1:000000000000:repository/a",
        ),
        ("iam", "GetRole", {"RoleName": "mine"}, ROLE),
        ("iam", "ListRoles", {}, "*"),
        (
            "iam",
            "GetPolicy",
            {"PolicyArn": "arn:aws:iam::aws:policy/A"},
            "arn:aws:iam::aws:policy/A",
        ),
        ("sts", "AssumeRole", {"RoleArn": ROLE}, ROLE),
    ],
)
def test_the_resource(
    front: Front, service: str, operation: str, request_: dict[str, Any], resource: str
) -> None:
    said = refused(front, service, operation, request_)
    prefix = "cloudwatch" if service == "monitoring" else service
    assert f"perform: {prefix}:{operation} on resource: {resource} because" in said
    assert said.startswith("User: arn:aws:sts::000000000000:assumed-role/mine/me is not")


@pytest.mark.usefixtures("role")
def test_a_deny_is_called_one(front: Front) -> None:
    statements = [
        {"Effect": effect, "Action": "sagemaker:*", "Resource": "*"} for effect in ("Allow", "Deny")
    ]
    front.client("iam").put_role_policy(
        RoleName="mine", PolicyName="a", PolicyDocument=json.dumps({"Statement": statements})
    )
    said = refused(front, "sagemaker", "ListModels", {})
    assert said.endswith("with an explicit deny in an identity-based policy")


def test_a_role_that_is_gone_allows_nothing(front: Front) -> None:
    assert "no identity-based policy" in refused(front, "sagemaker", "ListModels", {})


def test_the_root_and_the_question_who_one_is_are_free(front: Front) -> None:
    require_operation(front.context, "sagemaker", "ListModels", {})
    caller = Caller(role=ROLE, session="me")
    require_operation(front.context.called_by(caller), "sts", "GetCallerIdentity", {})
