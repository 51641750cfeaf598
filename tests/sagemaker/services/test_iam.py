"""Roles, asked for with boto3."""

from __future__ import annotations

import re

import pytest

from tests.sagemaker.conftest import ROLE_ARN, Front


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
