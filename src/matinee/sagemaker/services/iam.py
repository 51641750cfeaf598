"""IAM: the roles jobs and models may be given. They are named when the server starts.

A role here grants nothing: jobs run as the server's own user. It exists so that a wrong role is
noticed on this machine and not only on AWS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import NoSuchEntityException, ValidationException

_TRUST_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}

# IAM's answer must have a date; a role named at the server's start was never created.
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def get_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a role.

    Raises
    ------
    NoSuchEntityException
        There is no such role.
    """
    name = request["RoleName"]
    if name not in context.roles:
        raise NoSuchEntityException(f"The role with name {name} cannot be found.")
    arn = context.role_arn(name)
    return {
        "Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROA" + hashlib.sha256(arn.encode()).hexdigest()[:17].upper(),
            "Arn": arn,
            "CreateDate": _ALWAYS,
            "AssumeRolePolicyDocument": quote(json.dumps(_TRUST_POLICY)),
            "MaxSessionDuration": 3600,
        }
    }


def check_role(context: Context, arn: str) -> None:
    """Refuse a role that SageMaker could not assume.

    Raises
    ------
    ValidationException
        The ARN is none of the known roles'.
    """
    known = [context.role_arn(name) for name in context.roles]
    if arn not in known:
        raise ValidationException(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            f"'sagemaker.amazonaws.com' to assume the role. Roles here: {', '.join(known)}"
        )


OPERATIONS: Mapping[str, Operation] = {"GetRole": get_role}
