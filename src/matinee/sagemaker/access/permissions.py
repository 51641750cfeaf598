"""What the caller of an operation may do: everything as the account's root, else what a role says.

A session of a role is asked for every operation, on the ARN its request names: by the member
``<Thing>Arn`` or ``<Thing>Name`` of an operation ``<Verb><Thing>``, or of ``<Verb><Thing><Part>``;
on ``*`` where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.access.policies import Decision, evaluate
from matinee.sagemaker.access.roles import Roles
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import NotAuthorized

# IAM's name of a service, where it is not the one requests are signed for.
_PREFIXES = {"monitoring": "cloudwatch"}
# What SageMaker's ARNs call a thing, where it is not the thing's name.
_PATHS = {"trial": "experiment-trial", "trial-component": "experiment-trial-component"}
# Whoever holds keys may ask whose they are.
_FREE = {"sts:GetCallerIdentity"}


def require(
    context: Context, action: str, resource: str, surroundings: Mapping[str, str] | None = None
) -> None:
    """Refuse what the caller's role does not allow.

    Parameters
    ----------
    context
        Knows the caller.
    action, resource
        What is to be done, such as ``sagemaker:CreateModel``, and the ARN of what.
    surroundings
        Values of condition keys.

    Raises
    ------
    NotAuthorized
        The role's policies do not allow it, or deny it.
    """
    caller = context.caller
    if not caller.role or action in _FREE:
        return
    roles = Roles(context.store, context.account_id, context.roles)
    role = roles.of_arn(caller.role)
    policies = [] if role is None else roles.policies(role)
    decision, _ = evaluate(policies, action, resource, surroundings or {})
    if decision is Decision.ALLOWED:
        return
    reason = (
        "with an explicit deny in an identity-based policy"
        if decision is Decision.EXPLICIT_DENY
        else f"because no identity-based policy allows the {action} action"
    )
    raise NotAuthorized(
        f"User: {session_arn(context.account_id, caller.role, caller.session)} is not authorized "
        f"to perform: {action} on resource: {resource} {reason}"
    )


def session_arn(account_id: str, role: str, session: str) -> str:
    """Return the ARN of a session of a role, by the role's ARN."""
    return f"arn:aws:sts::{account_id}:assumed-role/{role.rpartition('/')[2]}/{session}"


def require_operation(
    context: Context, signing_name: str, operation: str, request: Mapping[str, Any]
) -> None:
    """Refuse an operation that the caller's role does not allow.

    Raises
    ------
    NotAuthorized
        The role's policies do not allow it, or deny it.
    """
    if context.caller.role:
        service = _PREFIXES.get(signing_name, signing_name)
        resource = _resource(context, service, operation, request)
        require(context, f"{service}:{operation}", resource)


def _resource(context: Context, service: str, operation: str, request: Mapping[str, Any]) -> str:
    thing = re.sub("^[A-Z][a-z]+|Async$|WithResponseStream$", "", operation)
    for member in (f"{thing}Arn", "ResourceArn"):
        if isinstance(request.get(member), str):
            arn = str(request[member])
            # SageMaker finds a thing by its ARN in any case.
            return arn.lower() if service == "sagemaker" else arn
    if service == "sts":
        return str(request.get("RoleArn", "*"))
    if service == "iam" and "RoleName" in request:
        role = Roles(context.store, context.account_id, context.roles).find(request["RoleName"])
        return context.role_arn(request["RoleName"]) if role is None else role.arn
    group = request.get("logGroupName", request.get("logGroupIdentifier"))
    if service == "logs" and isinstance(group, str):
        group = group.rpartition(":log-group:")[2].removesuffix(":*")
        return f"arn:aws:logs:{context.region}:{context.account_id}:log-group:{group}:*"
    if service == "ecr" and "repositoryName" in request:
        repository = request["repositoryName"]
        return f"arn:aws:ecr:{context.region}:{context.account_id}:repository/{repository}"
    if operation == "CreateModelPackage" and "ModelPackageGroupName" in request:
        # A version has no name before it is there.
        versions = request["ModelPackageGroupName"].lower().rpartition("model-package-group/")[2]
        return context.arn(f"model-package/{versions}/*")
    # A filter of a list is not what the list is of.
    if service == "sagemaker" and not operation.startswith("List"):
        words = re.findall("[A-Z][a-z]*", thing)
        for count in range(len(words), 0, -1):
            name = request.get(f"{''.join(words[:count])}Name")
            if isinstance(name, str):
                path = "-".join(words[:count]).lower()
                is_arn = name.startswith("arn:")
                return name.lower() if is_arn else context.arn(f"{_PATHS.get(path, path)}/{name}")
    return "*"
