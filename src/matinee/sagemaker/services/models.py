"""SageMaker models: a name for images and the model data they serve.

A model has one container or a pipeline of several, each of an image or of a model package. That an
image can be run here is found out when the model is used, as on AWS; that role, package and model
data exist is checked at once. Multi-model containers, private registries, data of hubs and data
besides the model's own are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.data.objects import ObjectMissingError, ObjectRefusedError
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.model_serving import model_data
from matinee.sagemaker.requests import refuse
from matinee.sagemaker.services import model_packages
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.store import Resource, ResourceExists

KIND = "Model"
# The name of a model's only container, in AWS's messages and logs.
PRIMARY = "primary"

_CONTAINER_MEMBERS = {
    "ContainerHostname",
    "Environment",
    "Image",
    "ImageConfig",
    "InferenceSpecificationName",
    "Mode",
    "ModelDataSource",
    "ModelDataUrl",
    "ModelPackageName",
}
_SOURCE_MEMBERS = {"CompressionType", "ModelAccessConfig", "S3DataType", "S3Uri"}


def create_model(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a model.

    Raises
    ------
    ValidationException
        The name is taken, the role, a package or model data do not exist, or the containers are
        none that can be served.
    """
    name = request["ModelName"]
    arn = context.arn(f"model/{name}")
    containers = _containers(context, request)
    if "ExecutionRoleArn" in request:
        check_role(context, request["ExecutionRoleArn"])
    for container in containers:
        _check_model_data(context, container, request.get("ExecutionRoleArn", ""))
    now = context.clock()
    described = {key: value for key, value in request.items() if key != "Tags"}
    document = {
        "EnableNetworkIsolation": False,
        **described,
        "ModelArn": arn,
        "CreationTime": now,
    }
    private = {"containers": containers}
    model = Resource(KIND, name, arn, "", now, now, document, private)
    try:
        context.store.insert(model, request.get("Tags", ()))
    except ResourceExists as error:
        raise ValidationException(f'Cannot create already existing model "{arn}".') from error
    return {"ModelArn": arn}


def describe_model(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return what a model was created from.

    Raises
    ------
    ValidationException
        There is no such model.
    """
    return find_model(context, request["ModelName"]).document


def list_models(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List models, the newest first unless asked otherwise."""
    return page(
        context.store,
        {"SortOrder": "Descending", **request},
        KIND,
        summary_key="Models",
        summarise=lambda model: {
            "ModelName": model.name,
            "ModelArn": model.arn,
            "CreationTime": model.created,
        },
    )


def delete_model(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a model; its data in S3 stays.

    Raises
    ------
    ValidationException
        There is no such model.
    """
    if not context.store.delete(KIND, request["ModelName"]):
        raise _not_found(context, request["ModelName"])
    return {}


def find_model(context: Context, name: str) -> Resource:
    """Return a model.

    Raises
    ------
    ValidationException
        There is no such model.
    """
    model = context.store.get(KIND, name)
    if model is None:
        raise _not_found(context, name)
    return model


def _not_found(context: Context, name: str) -> ValidationException:
    return ValidationException(f'Could not find model "{context.arn(f"model/{name}")}".')


def containers_of(model: Resource) -> list[dict[str, Any]]:
    """Return a model's containers in the order of its pipeline, each with a ContainerHostname.

    Each has an Image; one that was given as a model package has that package's image and data.
    """
    document = model.document
    given = document.get("Containers") or [document["PrimaryContainer"]]
    containers: list[dict[str, Any]] = model.private.get("containers", given)
    if len(containers) == 1:
        return [{**containers[0], "ContainerHostname": PRIMARY}]
    return [
        {"ContainerHostname": f"container-{number}", **container}
        for number, container in enumerate(containers, 1)
    ]


def _containers(context: Context, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the request's containers with their packages looked up."""
    if ("PrimaryContainer" in request) == ("Containers" in request):
        raise ValidationException("Specify either PrimaryContainer or Containers, not both.")
    containers = request["Containers"] if "Containers" in request else [request["PrimaryContainer"]]
    if not containers:
        raise ValidationException("Containers must name at least one container.")
    hostnames = [item["ContainerHostname"] for item in containers if "ContainerHostname" in item]
    if len(set(hostnames)) != len(hostnames):
        raise ValidationException(
            f"The ContainerHostname of each container must be unique, not {', '.join(hostnames)}."
        )
    if hostnames and len(hostnames) != len(containers):
        raise ValidationException(
            "Specify a ContainerHostname for all of the Containers or for none of them."
        )
    return [_container(context, container) for container in containers]


def _container(context: Context, container: dict[str, Any]) -> dict[str, Any]:
    refuse("a model's container", container, container.keys() - _CONTAINER_MEMBERS)
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise ValidationException("not implemented by matinee: a model's container of MultiModel")
    if container.get("ImageConfig", {}).get("RepositoryAccessMode", "Platform") != "Platform":
        raise ValidationException(
            "not implemented by matinee: a model's container with ImageConfig of Vpc"
        )
    if "ModelPackageName" in container:
        return _of_package(context, container)
    if "Image" not in container:
        raise ValidationException("The container of a model must have an Image.")
    if {"ModelDataUrl", "ModelDataSource"} <= container.keys():
        raise ValidationException("Specify either ModelDataUrl or ModelDataSource, not both.")
    _check_source(container.get("ModelDataSource"))
    return container


def _of_package(context: Context, container: dict[str, Any]) -> dict[str, Any]:
    own = {"Image", "ModelDataUrl", "ModelDataSource"} & container.keys()
    if own:
        raise ValidationException(
            f"A container of a ModelPackageName does not take {', '.join(sorted(own))}."
        )
    found = model_packages.container_of(
        context, container["ModelPackageName"], container.get("InferenceSpecificationName")
    )
    environment = {**found.get("Environment", {}), **container.get("Environment", {})}
    kept = {k: v for k, v in container.items() if k == "ContainerHostname"}
    return {**found, **kept, **({"Environment": environment} if environment else {})}


def _check_source(source: Mapping[str, Any] | None) -> None:
    if source is None:
        return
    if "S3DataSource" not in source:
        raise ValidationException("ModelDataSource must have an S3DataSource.")
    data = source["S3DataSource"]
    refuse("ModelDataSource.S3DataSource", data, data.keys() - _SOURCE_MEMBERS)
    if data["S3DataType"] == "S3Prefix":
        if data["CompressionType"] == "Gzip":
            raise ValidationException(
                "ModelDataSource of CompressionType Gzip needs S3DataType S3Object."
            )
        if not data["S3Uri"].endswith("/"):
            raise ValidationException(
                f"ModelDataSource of S3Prefix must end with a slash, unlike {data['S3Uri']}."
            )


def _check_model_data(context: Context, container: dict[str, Any], role: str) -> None:
    data = model_data.of_container(container)
    if data is None:
        return
    try:
        found = model_data.exist(context.objects_for(role), data)
    except ObjectRefusedError as error:
        raise ValidationException(f"Could not access model data at {data.uri}: {error}") from error
    except (ValueError, ObjectMissingError):
        found = False
    if not found:
        raise ValidationException(f"Could not find model data at {data.uri}.")


OPERATIONS: Mapping[str, Operation] = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "ListModels": list_models,
    "DeleteModel": delete_model,
}
