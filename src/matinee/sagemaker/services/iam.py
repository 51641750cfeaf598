"""IAM: the roles that jobs, models and sessions are given, and what those roles allow.

A role's policies are obeyed: S3 refuses a job what its role may not, and so do the services here
for who has assumed it. Roles named when the server starts may do everything and cannot be changed.
Users, groups, permissions boundaries and service-linked roles are not here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from matinee.sagemaker.access import policies
from matinee.sagemaker.access.permissions import require
from matinee.sagemaker.access.roles import DEFAULT_SESSION_SECONDS, ROLE, SAGEMAKER, Role, Roles
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    NoSuchEntityException,
    NotImplementedByMatinee,
    UnmodifiableEntityException,
    ValidationException,
)
from matinee.sagemaker.store import Resource, ResourceExists

MAX_ITEMS = 100


def create_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Create a role that allows nothing yet.

    Raises
    ------
    EntityAlreadyExistsException
        The name is taken.
    MalformedPolicyDocumentException
        The trust policy is none.
    NotImplementedByMatinee
        A permissions boundary is asked for.
    """
    if "PermissionsBoundary" in request:
        raise NotImplementedByMatinee("PermissionsBoundary")
    policies.read_trust_policy(request["AssumeRolePolicyDocument"])
    name, path = request["RoleName"], request.get("Path", "/")
    now = context.clock()
    arn = f"arn:aws:iam::{context.account_id}:role{path}{name}"
    document = {
        "Path": path,
        "MaxSessionDuration": DEFAULT_SESSION_SECONDS,
        **{member: value for member, value in request.items() if member != "Tags"},
        "RoleId": f"AROA{context.new_id()[:17].upper()}",
        "Arn": arn,
        "CreateDate": now,
    }
    private: dict[str, Any] = {"inline": {}, "attached": []}
    try:
        if name in context.roles:
            raise ResourceExists(f"the role {name!r} is given")
        role = Resource(ROLE, name, arn, "", now, now, document, private)
        context.store.insert(role, request.get("Tags", ()))
    except ResourceExists as error:
        raise EntityAlreadyExistsException(f"Role with name {name} already exists.") from error
    return get_role(context, request)


def get_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a role.

    Raises
    ------
    NoSuchEntityException
        There is no such role.
    """
    role = _role(context, request)
    described = _described(role)
    if tags := context.store.tags(role.arn):
        described["Tags"] = tags
    return {"Role": described}


def list_roles(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the roles below a path, by name."""
    prefix = request.get("PathPrefix", "/")
    found = [role for role in all_roles(context).all() if role.document["Path"].startswith(prefix)]
    return page("Roles", found, request, lambda role: role.name, _described)


def update_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change a role's description or how long its sessions may be.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role, or nobody may change it.
    """
    changes = {member: value for member, value in request.items() if member != "RoleName"}
    _change(context, request, document=changes)
    return {}


def update_assume_role_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change who may assume a role.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException, MalformedPolicyDocumentException
        There is no such role, nobody may change it, or the trust policy is none.
    """
    policies.read_trust_policy(request["PolicyDocument"])
    _change(context, request, document={"AssumeRolePolicyDocument": request["PolicyDocument"]})
    return {}


def delete_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a role that has no policies any more.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role, or nobody may change it.
    DeleteConflictException
        It has policies.
    """
    role = _changeable(context, request)
    if role.attached:
        raise DeleteConflictException("Cannot delete entity, must detach all policies first.")
    if role.inline:
        raise DeleteConflictException("Cannot delete entity, must delete policies first.")
    context.store.delete(ROLE, role.name)
    return {}


def put_role_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Give a role a policy of its own, or replace it.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException, MalformedPolicyDocumentException
        There is no such role, nobody may change it, or the policy is none.
    """
    name, text = request["PolicyName"], request["PolicyDocument"]
    policies.read_identity_policy(name, text)
    _change(context, request, inline=lambda inline: {**inline, name: text})
    return {}


def get_role_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return a policy of a role's own.

    Raises
    ------
    NoSuchEntityException
        There is no such role or policy.
    """
    role = _role(context, request)
    return {
        "RoleName": role.name,
        "PolicyName": request["PolicyName"],
        "PolicyDocument": quote(_inline(role, request["PolicyName"])),
    }


def delete_role_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Take a policy of its own from a role.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role or policy, or nobody may change the role.
    """
    name = request["PolicyName"]
    _inline(_changeable(context, request), name)
    _change(context, request, inline=lambda inline: {k: v for k, v in inline.items() if k != name})
    return {}


def list_role_policies(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the names of a role's own policies.

    Raises
    ------
    NoSuchEntityException
        There is no such role.
    """
    names = sorted(_role(context, request).inline)
    return page("PolicyNames", names, request, str, str)


def attach_role_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Give a role a managed policy.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role or policy, or nobody may change the role.
    """
    arn = request["PolicyArn"]
    if all_roles(context).policy_text(arn) is None:
        raise NoSuchEntityException(f"Policy {arn} does not exist or is not attachable.")
    _change(context, request, attached=lambda arns: [a for a in arns if a != arn] + [arn])
    return {}


def detach_role_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Take a managed policy from a role.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role, it has no such policy, or nobody may change it.
    """
    arn = request["PolicyArn"]
    if arn not in _changeable(context, request).attached:
        raise NoSuchEntityException(f"Policy {arn} was not found.")
    _change(context, request, attached=lambda arns: [a for a in arns if a != arn])
    return {}


def list_attached_role_policies(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the managed policies of a role.

    Raises
    ------
    NoSuchEntityException
        There is no such role.
    """
    attached = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in _role(context, request).attached
    ]
    attached.sort(key=lambda item: item["PolicyName"])
    return page(
        "AttachedPolicies", attached, request, lambda item: item["PolicyName"], lambda item: item
    )


def tag_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Set tags on a role.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role, or nobody may change it.
    """
    context.store.add_tags(_changeable(context, request).arn, request["Tags"])
    return {}


def untag_role(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags from a role.

    Raises
    ------
    NoSuchEntityException, UnmodifiableEntityException
        There is no such role, or nobody may change it.
    """
    context.store.delete_tags(_changeable(context, request).arn, request["TagKeys"])
    return {}


def list_role_tags(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the tags of a role.

    Raises
    ------
    NoSuchEntityException
        There is no such role.
    """
    tags = context.store.tags(_role(context, request).arn)
    return page("Tags", tags, request, lambda tag: tag["Key"], lambda tag: tag)


def check_role(context: Context, arn: str) -> None:
    """Refuse a role that SageMaker could not assume, or that the caller may not give it.

    Raises
    ------
    ValidationException
        The ARN is none of the known roles', or the role does not trust SageMaker.
    NotAuthorized
        The caller's own role may not pass it on.
    """
    role = all_roles(context).of_arn(arn)
    if role is None or not role.trusts({"Service": {SAGEMAKER}}):
        known = ", ".join(role.arn for role in all_roles(context).all())
        raise ValidationException(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            f"'{SAGEMAKER}' to assume the role. Roles here: {known}"
        )
    require(context, "iam:PassRole", arn, {"iam:PassedToService": SAGEMAKER})


def all_roles(context: Context) -> Roles:
    """Return the roles of this server's account."""
    return Roles(context.store, context.account_id, context.roles)


def page(
    key: str,
    items: Sequence[Any],
    request: Mapping[str, Any],
    name: Callable[[Any], str],
    describe: Callable[[Any], Any],
) -> dict[str, Any]:
    """Return one page of a list that is sorted by name; the marker is the last name given."""
    marker, size = request.get("Marker", ""), request.get("MaxItems", MAX_ITEMS)
    left = [item for item in items if name(item) > marker]
    answer = {key: [describe(item) for item in left[:size]], "IsTruncated": len(left) > size}
    if len(left) > size:
        answer["Marker"] = name(left[size - 1])
    return answer


def _role(context: Context, request: Mapping[str, Any]) -> Role:
    name = request["RoleName"]
    role = all_roles(context).find(name)
    if role is None:
        raise NoSuchEntityException(f"The role with name {name} cannot be found.")
    return role


def _changeable(context: Context, request: Mapping[str, Any]) -> Role:
    role = _role(context, request)
    if role.given:
        raise UnmodifiableEntityException(
            f"Cannot perform the operation on the role {role.name}: it is given by the server's "
            "start; make a role of your own with CreateRole"
        )
    return role


def _change(
    context: Context,
    request: Mapping[str, Any],
    *,
    document: Mapping[str, Any] | None = None,
    inline: Callable[[dict[str, str]], dict[str, str]] = lambda found: found,
    attached: Callable[[list[str]], list[str]] = lambda found: found,
) -> None:
    role = _changeable(context, request)

    def change(resource: Resource) -> Resource:
        private = resource.private
        return dataclasses.replace(
            resource,
            modified=context.clock(),
            document={**resource.document, **(document or {})},
            private={
                "inline": inline(private["inline"]),
                "attached": attached(private["attached"]),
            },
        )

    try:
        context.store.update(ROLE, role.name, change)
    except KeyError as error:  # deleted a moment ago
        raise NoSuchEntityException(f"The role with name {role.name} cannot be found.") from error


def _inline(role: Role, name: str) -> str:
    if name not in role.inline:
        raise NoSuchEntityException(f"The role policy with name {name} cannot be found.")
    return role.inline[name]


def _described(role: Role) -> dict[str, Any]:
    trust = role.document["AssumeRolePolicyDocument"]
    return {**role.document, "AssumeRolePolicyDocument": quote(trust)}


OPERATIONS: Mapping[str, Operation] = {
    "AttachRolePolicy": attach_role_policy,
    "CreateRole": create_role,
    "DeleteRole": delete_role,
    "DeleteRolePolicy": delete_role_policy,
    "DetachRolePolicy": detach_role_policy,
    "GetRole": get_role,
    "GetRolePolicy": get_role_policy,
    "ListAttachedRolePolicies": list_attached_role_policies,
    "ListRolePolicies": list_role_policies,
    "ListRoleTags": list_role_tags,
    "ListRoles": list_roles,
    "PutRolePolicy": put_role_policy,
    "TagRole": tag_role,
    "UntagRole": untag_role,
    "UpdateAssumeRolePolicy": update_assume_role_policy,
    "UpdateRole": update_role,
}
