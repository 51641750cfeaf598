"""STS: who is calling, and keys to act as a role for a while.

Whoever holds the server's keys is the account's root. The keys AssumeRole gives work at the
services here and at S3, both within what the role's policies say. Session policies, tags and MFA of
a caller's own are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.access.permissions import session_arn
from matinee.sagemaker.access.roles import DEFAULT_SESSION_SECONDS, Role
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.data.objects import ObjectRefusedError, ObjectsError
from matinee.sagemaker.errors import (
    InternalFailure,
    NotAuthorized,
    NotImplementedByMatinee,
    ValidationException,
)
from matinee.sagemaker.services.iam import all_roles

_REFUSED = (
    "Policy",
    "PolicyArns",
    "ProvidedContexts",
    "SerialNumber",
    "SourceIdentity",
    "Tags",
    "TokenCode",
    "TransitiveTagKeys",
)
# AWS's limit for a role that a session of another role assumes.
_CHAINED_SECONDS = 3600


def get_caller_identity(context: Context, _request: dict[str, Any]) -> dict[str, Any]:
    """Return account, user id and ARN of the caller."""
    caller = context.caller
    if not caller.role:
        return {
            "UserId": context.account_id,
            "Account": context.account_id,
            "Arn": f"arn:aws:iam::{context.account_id}:root",
        }
    role = all_roles(context).of_arn(caller.role)
    role_id = "" if role is None else role.document["RoleId"]
    return {
        "UserId": f"{role_id}:{caller.session}",
        "Account": context.account_id,
        "Arn": session_arn(context.account_id, caller.role, caller.session),
    }


def assume_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Begin a session of a role.

    Raises
    ------
    NotAuthorized
        There is no such role, it does not trust the caller, or S3 gives no keys.
    ValidationException
        The session would be longer than the role allows.
    NotImplementedByMatinee
        A parameter would not be obeyed.
    """
    for member in _REFUSED:
        if member in request:
            raise NotImplementedByMatinee(f"{member} of AssumeRole")
    role = _trusting(context, request)
    seconds = request.get("DurationSeconds", DEFAULT_SESSION_SECONDS)
    if seconds > role.document["MaxSessionDuration"]:
        raise ValidationException(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if context.caller.role and seconds > _CHAINED_SECONDS:
        raise ValidationException(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining"
        )
    if context.access is None:
        raise NotImplementedByMatinee("AssumeRole without an S3 that has STS")
    name = request["RoleSessionName"]
    try:
        session = context.access.assume(role, name, seconds)
    except ObjectRefusedError as error:
        raise NotAuthorized(str(error)) from error
    except ObjectsError as error:
        raise InternalFailure(str(error)) from error
    return {
        "Credentials": {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "SessionToken": session.token,
            "Expiration": session.expires,
        },
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.document['RoleId']}:{name}",
            "Arn": session_arn(context.account_id, role.arn, name),
        },
    }


def _trusting(context: Context, request: Mapping[str, Any]) -> Role:
    """Return the role, if it trusts the caller."""
    caller, account = context.caller, context.account_id
    root = f"arn:aws:iam::{account}:root"
    principals = {root, account}
    name = root
    if caller.role:
        name = session_arn(account, caller.role, caller.session)
        principals |= {caller.role, name}
    arn = request["RoleArn"]
    role = all_roles(context).of_arn(arn)
    surroundings = {"sts:ExternalId": request["ExternalId"]} if "ExternalId" in request else {}
    if role is None or not role.trusts({"AWS": principals}, surroundings):
        # AWS does not tell whether there is such a role either.
        raise NotAuthorized(
            f"User: {name} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    return role


OPERATIONS: Mapping[str, Operation] = {
    "AssumeRole": assume_role,
    "GetCallerIdentity": get_caller_identity,
}
