"""Application Auto Scaling of endpoint variants: targets and policies are kept as they are told.

Nothing here scales by itself: a variant has the instances it was given, until
UpdateEndpointWeightsAndCapacities gives it others. Other namespaces than sagemaker, and other
dimensions than a variant's number of instances, are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.endpoints.hosting_states import KIND as ENDPOINT
from matinee.sagemaker.errors import ObjectNotFoundException, ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.requests import refuse
from matinee.sagemaker.store import Resource, ResourceExists

TARGET, POLICY = "ScalableTarget", "ScalingPolicy"

_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_LINKED_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


def register_scalable_target(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep between which numbers of instances a variant may be scaled.

    Raises
    ------
    ValidationException
        There is no such variant, or the numbers are missing or the wrong way round.
    """
    refuse("a scalable target", request, {"Tags"})
    _check_variant(context, request)
    name, now = _target_name(request), context.clock()
    present = context.store.get(TARGET, name)
    old = {} if present is None else present.document
    document = {
        "RoleARN": context.role_arn(_LINKED_ROLE),
        "SuspendedState": {
            "DynamicScalingInSuspended": False,
            "DynamicScalingOutSuspended": False,
            "ScheduledScalingSuspended": False,
        },
        "CreationTime": now,
        "ScalableTargetARN": _arn(context, f"scalable-target/{context.new_id()}"),
        **old,
        **request,
    }
    if missing := [name for name in ("MinCapacity", "MaxCapacity") if name not in document]:
        raise ValidationException(f"A new scalable target must have {' and '.join(missing)}.")
    if document["MinCapacity"] > document["MaxCapacity"]:
        raise ValidationException(
            f"MinCapacity {document['MinCapacity']} is over MaxCapacity {document['MaxCapacity']}."
        )
    arn = document["ScalableTargetARN"]
    _put(context, Resource(TARGET, name, arn, "", now, now, document, {}))
    return {"ScalableTargetARN": arn}


def describe_scalable_targets(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List scalable targets."""
    wanted = request.get("ResourceIds")
    return page(
        context.store,
        request,
        TARGET,
        summary_key="ScalableTargets",
        summarise=lambda target: target.document,
        wanted=lambda target: (
            _is_of(target, request) and (wanted is None or target.document["ResourceId"] in wanted)
        ),
    )


def deregister_scalable_target(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a scalable target and its policies.

    Raises
    ------
    ObjectNotFoundException
        There is no such target.
    """
    name = _target_name(request)
    if not context.store.delete(TARGET, name):
        raise _no_target(request)
    for policy in context.store.find(POLICY):
        if _target_name(policy.document) == name:
            context.store.delete(POLICY, policy.name)
    return {}


def put_scaling_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a policy of a scalable target; no alarm is made for it.

    Raises
    ------
    ObjectNotFoundException
        There is no such target.
    ValidationException
        The policy has not the configuration of its type.
    """
    if context.store.get(TARGET, _target_name(request)) is None:
        raise _no_target(request)
    name, now = _policy_name(request), context.clock()
    present = context.store.get(POLICY, name)
    old = {} if present is None else present.document
    document = {"PolicyType": "StepScaling", "CreationTime": now, **old, **request}
    member = f"{document['PolicyType']}PolicyConfiguration"
    if member not in document:
        raise ValidationException(f"A policy of {document['PolicyType']} must have a {member}.")
    identity = context.new_id()
    document.setdefault(
        "PolicyARN",
        _arn(
            context,
            f"scalingPolicy:{identity}:resource/sagemaker/{request['ResourceId']}:"
            f"policyName/{request['PolicyName']}",
            service="autoscaling",
        ),
    )
    arn = document["PolicyARN"]
    _put(context, Resource(POLICY, name, arn, "", now, now, document, {}))
    return {"PolicyARN": arn, "Alarms": []}


def describe_scaling_policies(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List scaling policies."""
    names, resource = request.get("PolicyNames"), request.get("ResourceId")
    return page(
        context.store,
        request,
        POLICY,
        summary_key="ScalingPolicies",
        summarise=lambda policy: policy.document,
        wanted=lambda policy: (
            _is_of(policy, request)
            and (names is None or policy.document["PolicyName"] in names)
            and resource in {None, policy.document["ResourceId"]}
        ),
    )


def delete_scaling_policy(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a scaling policy.

    Raises
    ------
    ObjectNotFoundException
        There is no such policy.
    """
    if not context.store.delete(POLICY, _policy_name(request)):
        raise ObjectNotFoundException(
            f"No scaling policy found for service namespace: {request['ServiceNamespace']}, "
            f"resource ID: {request['ResourceId']}, policy name: {request['PolicyName']}"
        )
    return {}


def _check_variant(context: Context, request: Mapping[str, Any]) -> None:
    namespace, dimension = request["ServiceNamespace"], request["ScalableDimension"]
    if namespace != "sagemaker" or dimension != _DIMENSION:
        raise ValidationException(
            f"not implemented by matinee: scaling of {namespace}, {dimension}; use sagemaker, "
            f"{_DIMENSION}"
        )
    found = _RESOURCE.fullmatch(request["ResourceId"])
    if found is None:
        raise ValidationException(
            f"ResourceId {request['ResourceId']!r} is not endpoint/<name>/variant/<name>."
        )
    endpoint = context.store.get(ENDPOINT, found[1])
    if endpoint is None:
        raise ValidationException(f"SageMaker endpoint doesn't exist: {request['ResourceId']}")
    private = endpoint.private
    deployment = private.get("current") or private.get("target") or {"variants": ()}
    if found[2] not in {variant["name"] for variant in deployment["variants"]}:
        raise ValidationException(f"SageMaker variant doesn't exist: {request['ResourceId']}")


def _target_name(members: Mapping[str, Any]) -> str:
    return f"{members['ResourceId']} {members['ScalableDimension']}"


def _policy_name(members: Mapping[str, Any]) -> str:
    # Together they may be longer than a name of the store.
    text = f"{members['ResourceId']} {members['PolicyName']}"
    return hashlib.sha256(text.encode()).hexdigest()


def _is_of(resource: Resource, request: Mapping[str, Any]) -> bool:
    return all(
        resource.document[member] == request[member]
        for member in ("ServiceNamespace", "ScalableDimension")
        if member in request
    )


def _no_target(request: Mapping[str, Any]) -> ObjectNotFoundException:
    return ObjectNotFoundException(
        f"No scalable target found for service namespace: {request['ServiceNamespace']}, "
        f"resource ID: {request['ResourceId']}, scalable dimension: {request['ScalableDimension']}"
    )


def _arn(context: Context, resource: str, service: str = "application-autoscaling") -> str:
    return f"arn:aws:{service}:{context.region}:{context.account_id}:{resource}"


def _put(context: Context, resource: Resource) -> None:
    try:
        context.store.insert(resource)
    except ResourceExists:
        context.store.update(
            resource.kind,
            resource.name,
            lambda old: dataclasses.replace(
                old, document=resource.document, modified=resource.modified
            ),
        )


RECORDED = frozenset({"PutScalingPolicy", "RegisterScalableTarget"})
OPERATIONS: Mapping[str, Operation] = {
    "DeleteScalingPolicy": delete_scaling_policy,
    "DeregisterScalableTarget": deregister_scalable_target,
    "DescribeScalableTargets": describe_scalable_targets,
    "DescribeScalingPolicies": describe_scaling_policies,
    "PutScalingPolicy": put_scaling_policy,
    "RegisterScalableTarget": register_scalable_target,
}
