"""IAM: managed policies, and what policies decide about a request without making it.

AWS's managed policies are those of ``managed_policies``. A policy has one version, its first.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from matinee.sagemaker.access import policies
from matinee.sagemaker.access.managed_policies import MANAGED_POLICIES, PREFIX
from matinee.sagemaker.access.policies import Policy
from matinee.sagemaker.access.roles import POLICY
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    InvalidInputException,
    NoSuchEntityException,
    NotImplementedByMatinee,
)
from matinee.sagemaker.services.iam import all_roles, page
from matinee.sagemaker.store import Resource, ResourceExists

_VERSION = "v1"
# AWS's own policies have a date; these were always here.
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_SIMULATED = (
    "CallerArn",
    "PermissionsBoundaryPolicyInputList",
    "PolicyExclusionList",
    "ResourceHandlingOption",
    "ResourceOwner",
    "ResourcePolicy",
)


def create_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Create a managed policy.

    Raises
    ------
    EntityAlreadyExistsException
        The name is taken.
    MalformedPolicyDocumentException
        The document is none.
    """
    name, path = request["PolicyName"], request.get("Path", "/")
    policies.read_identity_policy(name, request["PolicyDocument"])
    now = context.clock()
    arn = f"arn:aws:iam::{context.account_id}:policy{path}{name}"
    document = {
        "PolicyName": name,
        "PolicyId": f"ANPA{context.new_id()[:17].upper()}",
        "Arn": arn,
        "Path": path,
        "DefaultVersionId": _VERSION,
        "IsAttachable": True,
        "CreateDate": now,
        "UpdateDate": now,
        **({"Description": request["Description"]} if "Description" in request else {}),
    }
    private = {"text": request["PolicyDocument"]}
    try:
        policy = Resource(POLICY, name, arn, "", now, now, document, private)
        context.store.insert(policy, request.get("Tags", ()))
    except ResourceExists as error:
        raise EntityAlreadyExistsException(
            f"A policy called {name} already exists. Duplicate names are not allowed."
        ) from error
    return get_policy(context, {"PolicyArn": arn})


def get_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a managed policy.

    Raises
    ------
    NoSuchEntityException
        There is none with this ARN.
    """
    arn = request["PolicyArn"]
    described = {**_document(context, arn), "AttachmentCount": _attachments(context)[arn]}
    if tags := context.store.tags(arn):
        described["Tags"] = tags
    return {"Policy": described}


def get_policy_version(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return what a managed policy says.

    Raises
    ------
    NoSuchEntityException
        There is none with this ARN, or it has no such version.
    """
    arn, version = request["PolicyArn"], request["VersionId"]
    document, text = _document(context, arn), all_roles(context).policy_text(arn)
    if version != _VERSION or text is None:
        raise NoSuchEntityException(
            f"Policy {arn} version {version} does not exist or is not attachable."
        )
    return {
        "PolicyVersion": {
            "Document": quote(text),
            "VersionId": _VERSION,
            "IsDefaultVersion": True,
            "CreateDate": document["CreateDate"],
        }
    }


def list_policies(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List managed policies: AWS's, one's own, or all; by name."""
    counts = _attachments(context)
    scope, prefix = request.get("Scope", "All"), request.get("PathPrefix", "/")
    found = []
    if scope != "Local":
        found += [_aws_document(arn) for arn in MANAGED_POLICIES]
    if scope != "AWS":
        found += [resource.document for resource in context.store.find(POLICY)]
    if request.get("OnlyAttached", False):
        found = [document for document in found if counts[document["Arn"]]]
    found = [document for document in found if document["Path"].startswith(prefix)]
    return page(
        "Policies",
        sorted(found, key=lambda document: str(document["PolicyName"])),
        request,
        lambda document: str(document["PolicyName"]),
        lambda document: {**document, "AttachmentCount": counts[document["Arn"]]},
    )


def delete_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a policy of one's own that no role has.

    Raises
    ------
    NoSuchEntityException
        There is none with this ARN, or it is AWS's.
    DeleteConflictException
        A role has it.
    """
    arn = request["PolicyArn"]
    if arn.startswith(PREFIX):
        raise NoSuchEntityException(f"Policy {arn} is AWS's and cannot be deleted.")
    name = _document(context, arn)["PolicyName"]
    if _attachments(context)[arn]:
        raise DeleteConflictException("Cannot delete a policy attached to entities.")
    context.store.delete(POLICY, name)
    return {}


def simulate_principal_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Say what a role's policies decide about actions on resources.

    Raises
    ------
    NoSuchEntityException
        There is no such role.
    InvalidInputException
        The ARN is not a role's.
    NotImplementedByMatinee
        Boundaries, resource policies or other callers are to be taken into account.
    """
    arn = request["PolicySourceArn"]
    if ":role/" not in arn:
        raise InvalidInputException(f"Invalid Entity Arn: {arn} is not a role.")
    role = all_roles(context).of_arn(arn)
    if role is None:
        raise NoSuchEntityException(f"The role with ARN {arn} cannot be found.")
    return _simulate(request, all_roles(context).policies(role))


def simulate_custom_policy(_context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Say what given policies decide about actions on resources.

    Raises
    ------
    MalformedPolicyDocumentException
        One of them is none.
    NotImplementedByMatinee
        Boundaries, resource policies or other callers are to be taken into account.
    """
    return _simulate(request, [])


def _simulate(request: Mapping[str, Any], held: list[Policy]) -> dict[str, Any]:
    for member in _NOT_SIMULATED:
        if member in request:
            raise NotImplementedByMatinee(f"{member} in a policy simulation")
    given = [
        policies.read_identity_policy(f"PolicyInputList.{number}", text)
        for number, text in enumerate(request.get("PolicyInputList", ()), 1)
    ]
    entries = request.get("ContextEntries", ())
    surroundings = {
        entry["ContextKeyName"]: value
        for entry in entries
        for value in entry.get("ContextKeyValues", ())[:1]
    }
    if any(len(entry.get("ContextKeyValues", ())) > 1 for entry in entries):
        raise NotImplementedByMatinee("context keys of several values in a policy simulation")
    pairs = list(itertools.product(request["ActionNames"], request.get("ResourceArns", ["*"])))
    start = int(request["Marker"]) if request.get("Marker", "").isdecimal() else 0
    stop = start + request.get("MaxItems", len(pairs))
    results = [
        _result([*held, *given], action, resource, surroundings)
        for action, resource in pairs[start:stop]
    ]
    answer: dict[str, Any] = {"EvaluationResults": results, "IsTruncated": stop < len(pairs)}
    if stop < len(pairs):
        answer["Marker"] = str(stop)
    return answer


def _result(
    considered: list[Policy], action: str, resource: str, surroundings: Mapping[str, str]
) -> dict[str, Any]:
    decision, matched = policies.evaluate(considered, action, resource, surroundings)
    known = {key.lower() for key in surroundings}
    missing = {
        key
        for policy in considered
        for statement in policy.statements
        for keys in statement.conditions.values()
        for key in keys
        if key.lower() not in known
    }
    return {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": str(decision),
        "MatchedStatements": [
            {"SourcePolicyId": policy.name, "SourcePolicyType": _kind(policy.name)}
            for policy in matched
        ],
        "MissingContextValues": sorted(missing),
    }


def _kind(name: str) -> str:
    if name.startswith(PREFIX):
        return "aws-managed"
    if name.startswith("arn:"):
        return "user-managed"
    return "none" if name.startswith("PolicyInputList.") else "role"


def _document(context: Context, arn: str) -> Mapping[str, Any]:
    if arn in MANAGED_POLICIES:
        return _aws_document(arn)
    resource = context.store.get(POLICY, arn.rpartition("/")[2])
    if resource is None or resource.arn != arn:
        raise NoSuchEntityException(f"Policy {arn} was not found.")
    return resource.document


def _aws_document(arn: str) -> Mapping[str, Any]:
    return {
        "PolicyName": arn.removeprefix(PREFIX),
        "PolicyId": f"ANPA{hashlib.sha256(arn.encode()).hexdigest()[:17].upper()}",
        "Arn": arn,
        "Path": "/",
        "DefaultVersionId": _VERSION,
        "IsAttachable": True,
        "CreateDate": _ALWAYS,
        "UpdateDate": _ALWAYS,
    }


def _attachments(context: Context) -> Counter[str]:
    """Return how many roles have each managed policy."""
    return Counter(arn for role in all_roles(context).all() for arn in role.attached)


OPERATIONS: Mapping[str, Operation] = {
    "CreatePolicy": create_policy,
    "DeletePolicy": delete_policy,
    "GetPolicy": get_policy,
    "GetPolicyVersion": get_policy_version,
    "ListPolicies": list_policies,
    "SimulateCustomPolicy": simulate_custom_policy,
    "SimulatePrincipalPolicy": simulate_principal_policy,
}
