"""The model registry's groups: the versions of one model belong to one group.

A group's resource policy is kept as it was given; there is one account here, so it grants nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ConflictException, ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.registry.entities import MEMBERSHIP, without
from matinee.sagemaker.registry.model_registry import GROUP, PACKAGE
from matinee.sagemaker.store import Query, Resource


def create_model_package_group(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a group that has no version yet.

    Raises
    ------
    ValidationException
        The name is taken.
    """
    if "ManagedConfiguration" in request:
        raise ValidationException(
            "not implemented by matinee: a ModelPackageGroup with ManagedConfiguration"
        )
    arn = GROUP.arn(context, request["ModelPackageGroupName"])
    group = GROUP.create(
        context,
        request,
        document={
            **without(request, ["Tags"]),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
        },
        taken=f"Model Package Group already exists: {arn}",
    )
    return {"ModelPackageGroupArn": group.arn}


def describe_model_package_group(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a group.

    Raises
    ------
    ValidationException
        There is no such group.
    """
    return GROUP.get(context, request["ModelPackageGroupName"]).document


def list_model_package_groups(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List groups, the oldest first unless asked otherwise."""
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"ModelPackageGroupSummaryList": []}  # nothing is shared: there is one account
    return page(
        context.store,
        request,
        GROUP.name,
        summary_key="ModelPackageGroupSummaryList",
        summarise=lambda group: members(
            group,
            "ModelPackageGroupName",
            "ModelPackageGroupArn",
            "ModelPackageGroupDescription",
            "CreationTime",
            "ModelPackageGroupStatus",
        ),
    )


def delete_model_package_group(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a group without versions.

    Raises
    ------
    ValidationException
        There is no such group.
    ConflictException
        It has versions.
    """
    with MEMBERSHIP:
        group = GROUP.get(context, request["ModelPackageGroupName"])
        if context.store.page(Query(kind=PACKAGE.name, parent=group.arn), 1):
            raise ConflictException(
                f"ModelPackageGroup {group.arn} still contains model packages; delete them first."
            )
        context.store.delete(GROUP.name, group.name)
    return {}


def put_model_package_group_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a group's resource policy.

    Raises
    ------
    ValidationException
        There is no such group, or the policy is not a policy document.
    """
    policy = request["ResourcePolicy"]
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError) as error:
        raise ValidationException(f"ResourcePolicy is not JSON: {error}") from error
    if not isinstance(document, dict) or "Statement" not in document:
        raise ValidationException("ResourcePolicy must be a JSON object with a Statement")
    group = _set_policy(context, request["ModelPackageGroupName"], policy)
    return {"ModelPackageGroupArn": group.arn}


def get_model_package_group_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return a group's resource policy.

    Raises
    ------
    ValidationException
        There is no such group, or it has no policy.
    """
    group = GROUP.get(context, request["ModelPackageGroupName"])
    policy = group.private.get("policy")
    if policy is None:
        raise ValidationException(f"Cannot find resource policy for: {group.arn}")
    return {"ResourcePolicy": policy}


def delete_model_package_group_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a group's resource policy; having none does not matter.

    Raises
    ------
    ValidationException
        There is no such group.
    """
    _set_policy(context, request["ModelPackageGroupName"], None)
    return {}


def _set_policy(context: Context, name: str, policy: str | None) -> Resource:
    def change(group: Resource) -> Resource:
        return dataclasses.replace(group, private={**group.private, "policy": policy})

    group = GROUP.get(context, name)
    try:
        return context.store.update(GROUP.name, group.name, change)
    except KeyError as error:
        raise GROUP.not_found(context, name) from error


OPERATIONS: Mapping[str, Operation] = {
    "CreateModelPackageGroup": create_model_package_group,
    "DescribeModelPackageGroup": describe_model_package_group,
    "ListModelPackageGroups": list_model_package_groups,
    "DeleteModelPackageGroup": delete_model_package_group,
    "PutModelPackageGroupPolicy": put_model_package_group_policy,
    "GetModelPackageGroupPolicy": get_model_package_group_policy,
    "DeleteModelPackageGroupPolicy": delete_model_package_group_policy,
}

RECORDED = frozenset({"PutModelPackageGroupPolicy"})
