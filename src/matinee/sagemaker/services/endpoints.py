"""Endpoints: create, describe, list, update, delete; what runs behind them is ``hosting_driver``'s.

An endpoint is stored with all it needs of its configuration and its models before it is
acknowledged, so both may be deleted. An endpoint that is being created, updated or deleted takes no
other change, as on AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.endpoints import hosting_instances, hosting_shifts
from matinee.sagemaker.endpoints.hosting_states import (
    KIND,
    EndpointBusyError,
    EndpointStatus,
    moved,
)
from matinee.sagemaker.errors import ResourceLimitExceeded, ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.model_serving.serving import HEALTH_SECONDS
from matinee.sagemaker.requests import find_algorithm, refuse
from matinee.sagemaker.services.endpoint_configs import find_config
from matinee.sagemaker.services.models import containers_of, find_model
from matinee.sagemaker.store import Resource, ResourceExists

# SageMaker's quota for the instances of all endpoints.
MAX_INSTANCES = 20

_RETAINED = {"DesiredInstanceCount": "count", "DesiredWeight": "weight"}


def create_endpoint(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep an endpoint and start its instances.

    Raises
    ------
    ValidationException
        The name is taken, the configuration does not exist, or an image cannot be run here.
    ResourceLimitExceeded
        It would need more instances than there may be.
    """
    name = request["EndpointName"]
    arn = context.arn(f"endpoint/{name}")
    target = _deployment(context, request["EndpointConfigName"], request)
    if context.store.has_arn(arn):
        # Names that differ in case alone have the same ARN.
        raise _taken(arn)
    _check_limit(context, target)
    now = context.clock()
    document = {
        "EndpointName": name,
        "EndpointArn": arn,
        "EndpointConfigName": request["EndpointConfigName"],
        "EndpointStatus": str(EndpointStatus.CREATING),
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    private = {"folder": context.new_id(), "target": target}
    status = str(EndpointStatus.CREATING)
    endpoint = Resource(KIND, name, arn, status, now, now, document, private)
    try:
        context.store.insert(endpoint, request.get("Tags", ()))
    except ResourceExists as error:
        raise _taken(arn) from error
    context.hosting.wake(name)
    return {"EndpointArn": arn}


def describe_endpoint(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return where an endpoint stands.

    Raises
    ------
    ValidationException
        There is no such endpoint.
    """
    endpoint = find_endpoint(context, request["EndpointName"])
    current, target = endpoint.private.get("current"), endpoint.private.get("target")
    described = dict(endpoint.document)
    if current is not None:
        running: dict[str, int] = {}
        for record in hosting_instances.living(context, endpoint.arn):
            private = record.private
            if private["deployment"] == current["id"] and record.status == "InService":
                running[private["variant"]] = running.get(private["variant"], 0) + 1
        is_changed = target is not None and target["id"] == current["id"]
        wanted = target if target is not None and is_changed else current
        desired = {item["name"]: item for item in wanted["variants"]}
        described["ProductionVariants"] = [
            _variant_summary(item, desired[item["name"]], running.get(item["name"], 0))
            for item in current["variants"]
        ]
        settings = current["settings"]
        if "AsyncInferenceConfig" in settings:
            described["AsyncInferenceConfig"] = settings["AsyncInferenceConfig"]
        if "DataCaptureConfig" in settings:
            described["DataCaptureConfig"] = _capture_summary(settings["DataCaptureConfig"])
    if target is not None and (current is None or target["id"] != current["id"]):
        described["PendingDeploymentSummary"] = {
            "EndpointConfigName": target["config_name"],
            "ProductionVariants": [_pending_summary(item) for item in target["variants"]],
            "StartTime": target["started"],
        }
    return described


def _variant_summary(
    current: Mapping[str, Any], desired: Mapping[str, Any], running: int
) -> dict[str, Any]:
    summary = {
        "VariantName": current["name"],
        "DeployedImages": current["images"],
        "CurrentWeight": current["weight"],
        "DesiredWeight": desired["weight"],
    }
    if current["serverless"] is not None:
        return {
            **summary,
            "CurrentInstanceCount": 0,
            "CurrentServerlessConfig": current["serverless"],
            "DesiredServerlessConfig": desired["serverless"],
        }
    routing = {} if current["routing"] is None else {"RoutingConfig": current["routing"]}
    return {
        **summary,
        "CurrentInstanceCount": min(running, current["count"]),
        "DesiredInstanceCount": desired["count"],
        **routing,
    }


def _pending_summary(variant: Mapping[str, Any]) -> dict[str, Any]:
    summary = {
        "VariantName": variant["name"],
        "DeployedImages": variant["images"],
        "DesiredWeight": variant["weight"],
    }
    if variant["serverless"] is not None:
        return {**summary, "DesiredServerlessConfig": variant["serverless"]}
    return {
        **summary,
        "DesiredInstanceCount": variant["count"],
        "InstanceType": variant["instance_type"],
    }


def _capture_summary(config: Mapping[str, Any]) -> dict[str, Any]:
    is_on = config.get("EnableCapture", True)
    return {
        "EnableCapture": is_on,
        "CaptureStatus": "Started" if is_on else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def list_endpoints(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List endpoints, the newest first unless asked otherwise."""
    return page(
        context.store,
        {"SortOrder": "Descending", **request},
        KIND,
        summary_key="Endpoints",
        summarise=lambda endpoint: {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "EndpointStatus": endpoint.status,
        },
    )


def update_endpoint(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Deploy another configuration; the present one serves until the new one is healthy.

    Raises
    ------
    ValidationException
        There is no such endpoint or configuration, or the endpoint is not in service.
    ResourceLimitExceeded
        It would need more instances than there may be.
    """
    name = request["EndpointName"]
    endpoint = find_endpoint(context, name)
    target = _deployment(context, request["EndpointConfigName"], request)
    if request.get("RetainDeploymentConfig") and "DeploymentConfig" not in request:
        target["deployment_config"] = endpoint.document.get("LastDeploymentConfig", {})
    _check_limit(context, target)

    def change(resource: Resource) -> Resource:
        deployed = target
        if request.get("RetainAllVariantProperties"):
            deployed = _retaining(target, resource.private.get("current"), request)
        return moved(
            resource,
            EndpointStatus.UPDATING,
            now=context.clock(),
            document={"FailureReason": None},
            private={"target": deployed},
        )

    return _change(context, name, change)


def _retaining(
    target: dict[str, Any], current: Mapping[str, Any] | None, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a deployment with the weights and counts that the present variants have."""
    excluded = {
        item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", ())
    }
    kept = [member for name, member in _RETAINED.items() if name not in excluded]
    present = {item["name"]: item for item in (current["variants"] if current else ())}
    variants = [
        {**item, **{member: present[item["name"]][member] for member in kept}}
        if item["name"] in present
        else item
        for item in target["variants"]
    ]
    return {**target, "variants": variants}


def update_endpoint_weights_and_capacities(
    context: Context, request: dict[str, Any]
) -> dict[str, Any]:
    """Change shares of the traffic and numbers of instances.

    Raises
    ------
    ValidationException
        There is no such endpoint or variant, or the endpoint is not in service.
    ResourceLimitExceeded
        It would need more instances than there may be.
    """
    name = request["EndpointName"]
    find_endpoint(context, name)
    wanted = {item["VariantName"]: item for item in request["DesiredWeightsAndCapacities"]}
    for item in wanted.values():
        if item.get("DesiredInstanceCount", 1) < 1:
            raise ValidationException(
                f"DesiredInstanceCount {item['DesiredInstanceCount']} of variant "
                f"{item['VariantName']} must be at least 1."
            )

    def change(resource: Resource) -> Resource:
        current = resource.private.get("current")
        if current is None:
            raise EndpointBusyError(name, EndpointStatus(resource.status), EndpointStatus.UPDATING)
        known = {item["name"] for item in current["variants"]}
        if unknown := sorted(wanted.keys() - known):
            raise ValidationException(
                f"The endpoint {name} has no variants {', '.join(unknown)}; it has "
                f"{', '.join(sorted(known))}."
            )
        variants = [
            _with_desired(item, wanted.get(item["name"], {})) for item in current["variants"]
        ]
        target = {**current, "variants": variants, "deployment_config": {}}
        private = {"target": target}
        return moved(resource, EndpointStatus.UPDATING, now=context.clock(), private=private)

    if any("DesiredInstanceCount" in item for item in wanted.values()):
        endpoint = find_endpoint(context, name)
        current = endpoint.private.get("current") or {"variants": []}
        counts = [
            wanted.get(item["name"], {}).get("DesiredInstanceCount", item["count"])
            for item in current["variants"]
        ]
        _check_count(context, sum(counts), endpoint)
    return _change(context, name, change)


def _with_desired(variant: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    changed = {
        **variant,
        "weight": desired.get("DesiredWeight", variant["weight"]),
    }
    if variant["serverless"] is None:
        if "ServerlessUpdateConfig" in desired:
            raise ValidationException(f"The variant {variant['name']} is not serverless.")
        return {**changed, "count": desired.get("DesiredInstanceCount", variant["count"])}
    if "DesiredInstanceCount" in desired:
        raise ValidationException(f"The serverless variant {variant['name']} has no instances.")
    serverless = {**variant["serverless"], **desired.get("ServerlessUpdateConfig", {})}
    return {**changed, "serverless": serverless, "limit": serverless["MaxConcurrency"]}


def delete_endpoint(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Take an endpoint out of service and end its instances.

    Raises
    ------
    ValidationException
        There is no such endpoint, or it is being created, updated or deleted.
    """
    name = request["EndpointName"]
    find_endpoint(context, name)
    _change(
        context,
        name,
        lambda resource: moved(resource, EndpointStatus.DELETING, now=context.clock()),
    )
    return {}


def find_endpoint(context: Context, name: str) -> Resource:
    """Return an endpoint.

    Raises
    ------
    ValidationException
        There is no such endpoint.
    """
    endpoint = context.store.get(KIND, name)
    if endpoint is None:
        raise _not_found(context, name)
    return endpoint


def _change(context: Context, name: str, change: Callable[[Resource], Resource]) -> dict[str, Any]:
    try:
        endpoint = context.store.update(KIND, name, change)
    except KeyError as error:
        raise _not_found(context, name) from error
    except EndpointBusyError as error:
        arn = context.arn(f"endpoint/{name}")
        if error.current is EndpointStatus.FAILED:
            raise ValidationException(
                f'Cannot update endpoint "{arn}" in status Failed; it can only be deleted.'
            ) from error
        raise ValidationException(f'Cannot update in-progress endpoint "{arn}".') from error
    context.hosting.wake(name)
    return {"EndpointArn": endpoint.arn}


def _not_found(context: Context, name: str) -> ValidationException:
    return ValidationException(f'Could not find endpoint "{context.arn(f"endpoint/{name}")}".')


def _taken(arn: str) -> ValidationException:
    return ValidationException(f'Cannot create already existing endpoint "{arn}".')


def _deployment(context: Context, config_name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that is needed to deploy a configuration, now and after it is deleted."""
    config = find_config(context, config_name).document
    variants = [_variant(context, item) for item in config["ProductionVariants"]]
    deployment_config = request.get("DeploymentConfig", {})
    hosting_shifts.check(deployment_config, {item["name"]: item["count"] for item in variants})
    settings: dict[str, Any] = {"role": variants[0]["role"]}
    for member in ("AsyncInferenceConfig", "DataCaptureConfig"):
        if member in config:
            settings[member] = config[member]
    return {
        "id": context.new_id(),
        "config_name": config_name,
        "started": context.clock(),
        "variants": variants,
        "settings": settings,
        "deployment_config": deployment_config,
    }


def _variant(context: Context, variant: Mapping[str, Any]) -> dict[str, Any]:
    model = find_model(context, variant["ModelName"])
    containers = containers_of(model)
    for container in containers:
        image = container["Image"]
        if not find_algorithm(context, image).serve:
            raise ValidationException(f"The image {image!r} is registered without a serve command.")
    if "ServerlessConfig" in variant:
        for container in containers:
            refuse("a serverless variant's model", container, {"ModelDataSource"})
    serverless = variant.get("ServerlessConfig")
    routing = variant.get("RoutingConfig")
    now = context.clock()
    return {
        "name": variant["VariantName"],
        "weight": variant.get("InitialVariantWeight", 1.0),
        "count": variant.get("InitialInstanceCount", 1),
        "instance_type": variant.get("InstanceType"),
        "containers": containers,
        "images": [
            {
                "SpecifiedImage": container["Image"],
                "ResolvedImage": container["Image"],
                "ResolutionTime": now,
            }
            for container in containers
        ],
        "is_direct": model.document.get("InferenceExecutionConfig", {}).get("Mode") == "Direct",
        "role": model.document.get("ExecutionRoleArn", ""),
        "serverless": serverless,
        "limit": None if serverless is None else serverless["MaxConcurrency"],
        "routing": routing,
        "least_outstanding": (routing or {}).get("RoutingStrategy") == "LEAST_OUTSTANDING_REQUESTS",
        "health_seconds": variant.get(
            "ContainerStartupHealthCheckTimeoutInSeconds", HEALTH_SECONDS
        ),
    }


def _check_limit(context: Context, target: Mapping[str, Any]) -> None:
    _check_count(context, sum(item["count"] for item in target["variants"]))


def _check_count(context: Context, wanted: int, endpoint: Resource | None = None) -> None:
    """Refuse instances over the limit; those of ``endpoint`` itself do not count."""
    used = sum(
        item["count"]
        for other in context.store.find(KIND)
        if endpoint is None or other.name != endpoint.name
        for item in (other.private.get("current") or other.private.get("target") or _NOTHING)[
            "variants"
        ]
    )
    if used + wanted > MAX_INSTANCES:
        raise ResourceLimitExceeded(
            "The account-level service limit 'Number of instances across active endpoints' is "
            f"{MAX_INSTANCES} Instances, with current utilization of {used} Instances and a "
            f"request delta of {wanted} Instances."
        )


_NOTHING: Mapping[str, Any] = {"variants": ()}

OPERATIONS: Mapping[str, Operation] = {
    "CreateEndpoint": create_endpoint,
    "DescribeEndpoint": describe_endpoint,
    "ListEndpoints": list_endpoints,
    "UpdateEndpoint": update_endpoint,
    "UpdateEndpointWeightsAndCapacities": update_endpoint_weights_and_capacities,
    "DeleteEndpoint": delete_endpoint,
}
