"""Endpoint configurations: which models an endpoint is made of, on how many instances.

Kept as they are told; nothing runs before an endpoint is created from one. What this machine cannot
do for an endpoint (shadow variants, explainers, inference components, notifications ..) is refused
by name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.requests import check_s3_uri, refuse
from matinee.sagemaker.services.models import find_model
from matinee.sagemaker.store import Resource, ResourceExists

KIND = "EndpointConfig"

_UNSUPPORTED = frozenset(
    {
        "ExplainerConfig",
        "MetricsConfig",
        "ShadowProductionVariants",
        # Of endpoints with inference components
        "ExecutionRoleArn",
        "VpcConfig",
    }
)
_UNSUPPORTED_OF_VARIANT = frozenset(
    {
        "AcceleratorType",
        "CapacityReservationConfig",
        "CoreDumpConfig",
        "InstancePools",
        "ManagedInstanceScaling",
    }
)


def create_endpoint_config(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep an endpoint configuration.

    Raises
    ------
    ValidationException
        The name is taken, a model does not exist, or an endpoint of it could not run here.
    """
    name = request["EndpointConfigName"]
    arn = context.arn(f"endpoint-config/{name}")
    _check(context, request)
    now = context.clock()
    variants = [
        item if "ServerlessConfig" in item else {"InitialVariantWeight": 1.0, **item}
        for item in request["ProductionVariants"]
    ]
    document = {
        "EnableNetworkIsolation": False,
        **{member: value for member, value in request.items() if member != "Tags"},
        "ProductionVariants": variants,
        "EndpointConfigArn": arn,
        "CreationTime": now,
    }
    config = Resource(KIND, name, arn, "", now, now, document, {})
    try:
        context.store.insert(config, request.get("Tags", ()))
    except ResourceExists as error:
        raise ValidationException(
            f'Cannot create already existing endpoint configuration "{arn}".'
        ) from error
    return {"EndpointConfigArn": arn}


def describe_endpoint_config(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return what an endpoint configuration was created with.

    Raises
    ------
    ValidationException
        There is none of this name.
    """
    return find_config(context, request["EndpointConfigName"]).document


def list_endpoint_configs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List endpoint configurations, the newest first unless asked otherwise."""
    return page(
        context.store,
        {"SortOrder": "Descending", **request},
        KIND,
        summary_key="EndpointConfigs",
        summarise=lambda config: {
            "EndpointConfigName": config.name,
            "EndpointConfigArn": config.arn,
            "CreationTime": config.created,
        },
    )


def delete_endpoint_config(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget an endpoint configuration; endpoints made from it run on.

    Raises
    ------
    ValidationException
        There is none of this name.
    """
    name = request["EndpointConfigName"]
    if not context.store.delete(KIND, name):
        raise _not_found(context, name)
    return {}


def find_config(context: Context, name: str) -> Resource:
    """Return an endpoint configuration.

    Raises
    ------
    ValidationException
        There is none of this name.
    """
    config = context.store.get(KIND, name)
    if config is None:
        raise _not_found(context, name)
    return config


def _not_found(context: Context, name: str) -> ValidationException:
    arn = context.arn(f"endpoint-config/{name}")
    return ValidationException(f'Could not find endpoint configuration "{arn}".')


def _check(context: Context, request: Mapping[str, Any]) -> None:
    refuse("an endpoint configuration", request, _UNSUPPORTED)
    if request.get("EnableNetworkIsolation"):
        raise ValidationException(
            "not implemented by matinee: an endpoint configuration with EnableNetworkIsolation"
        )
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) != len(names):
        raise ValidationException(
            f"The names of production variants must be unique, not {', '.join(names)}."
        )
    for variant in variants:
        _check_variant(context, variant)
    if len({"ServerlessConfig" in variant for variant in variants}) != 1:
        raise ValidationException(
            "The production variants must either all have a ServerlessConfig or none."
        )
    if "DataCaptureConfig" in request:
        uri = request["DataCaptureConfig"]["DestinationS3Uri"]
        check_s3_uri("DataCaptureConfig.DestinationS3Uri", uri)
    if "AsyncInferenceConfig" in request:
        _check_async(request["AsyncInferenceConfig"], variants)


def _check_variant(context: Context, variant: Mapping[str, Any]) -> None:
    name = variant["VariantName"]
    where = f"a production variant ({name})"
    refuse(where, variant, _UNSUPPORTED_OF_VARIANT)
    if variant.get("EnableSSMAccess"):
        raise ValidationException(f"not implemented by matinee: {where} with EnableSSMAccess")
    if variant.get("RoutingConfig", {}).get("RoutingStrategy") == "PREFIX_AWARE":
        raise ValidationException(
            f"not implemented by matinee: {where} with RoutingStrategy PREFIX_AWARE"
        )
    if "ModelName" not in variant:
        raise ValidationException(
            f"not implemented by matinee: {where} without ModelName, for inference components"
        )
    find_model(context, variant["ModelName"])
    of_instances = {"InstanceType", "InitialInstanceCount"}
    if "ServerlessConfig" in variant:
        if given := sorted(of_instances & variant.keys()):
            raise ValidationException(
                f"The serverless production variant {name} does not take {', '.join(given)}."
            )
        _check_serverless(name, variant["ServerlessConfig"])
    elif missing := sorted(of_instances - variant.keys()):
        raise ValidationException(f"The production variant {name} must have {', '.join(missing)}.")


def _check_serverless(name: str, config: Mapping[str, Any]) -> None:
    memory = config["MemorySizeInMB"]
    if memory % 1024:
        raise ValidationException(
            f"MemorySizeInMB {memory} of the production variant {name} is not in steps of 1024."
        )
    provisioned, most = config.get("ProvisionedConcurrency", 1), config["MaxConcurrency"]
    if provisioned > most:
        raise ValidationException(
            f"ProvisionedConcurrency {provisioned} of the production variant {name} is over its "
            f"MaxConcurrency {most}."
        )


def _check_async(config: Mapping[str, Any], variants: list[dict[str, Any]]) -> None:
    output = config["OutputConfig"]
    refuse("AsyncInferenceConfig.OutputConfig", output, {"NotificationConfig"})
    for member in ("S3OutputPath", "S3FailurePath"):
        if member in output:
            check_s3_uri(f"AsyncInferenceConfig.OutputConfig.{member}", output[member])
    if "S3OutputPath" not in output:
        raise ValidationException("AsyncInferenceConfig.OutputConfig must have an S3OutputPath.")
    if len(variants) != 1 or "ServerlessConfig" in variants[0]:
        raise ValidationException(
            "AsyncInferenceConfig takes one production variant, and no serverless one."
        )


OPERATIONS: Mapping[str, Operation] = {
    "CreateEndpointConfig": create_endpoint_config,
    "DescribeEndpointConfig": describe_endpoint_config,
    "ListEndpointConfigs": list_endpoint_configs,
    "DeleteEndpointConfig": delete_endpoint_config,
}
