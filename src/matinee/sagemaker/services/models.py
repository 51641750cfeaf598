"""SageMaker models: a name for an image and the model data it serves.

That the image can be run here is found out when a job uses the model, as on AWS; that role and
model data exist is checked at once. Inference pipelines, multi-model containers, model packages and
uncompressed model data are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.objects import ObjectMissingError, ObjectRefusedError, parse_uri
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.store import Resource, ResourceExists

KIND = "Model"

_CONTAINER_MEMBERS = {"Image", "ModelDataUrl", "Environment", "ContainerHostname", "Mode"}


def create_model(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a model.

    Raises
    ------
    ValidationException
        The name is taken, the role or the model data does not exist, or the containers are not
        exactly one.
    """
    name = request["ModelName"]
    arn = context.arn(f"model/{name}")
    container = _container(request)
    if "ExecutionRoleArn" in request:
        check_role(context, request["ExecutionRoleArn"])
    _check_model_data(context, container)
    now = context.clock()
    described = {key: value for key, value in request.items() if key != "Tags"}
    document = {
        "EnableNetworkIsolation": False,
        **described,
        "ModelArn": arn,
        "CreationTime": now,
    }
    model = Resource(KIND, name, arn, "", now, now, document, {})
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


def _container(request: dict[str, Any]) -> dict[str, Any]:
    if ("PrimaryContainer" in request) == ("Containers" in request):
        raise ValidationException("Specify either PrimaryContainer or Containers, not both.")
    containers = request["Containers"] if "Containers" in request else [request["PrimaryContainer"]]
    if len(containers) != 1:
        raise ValidationException(
            f"matinee runs models of one container; Containers has {len(containers)}."
        )
    container: dict[str, Any] = containers[0]
    if "Image" not in container:
        raise ValidationException("The container of a model must have an Image.")
    if unsupported := sorted(container.keys() - _CONTAINER_MEMBERS):
        raise ValidationException(
            f"not implemented by matinee: a model's container with {', '.join(unsupported)}"
        )
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise ValidationException("not implemented by matinee: a model's container of MultiModel")
    return container


def _check_model_data(context: Context, container: dict[str, Any]) -> None:
    url = container.get("ModelDataUrl")
    if url is None:
        return
    try:
        bucket, key = parse_uri(url)
        found = any(item.key == key for item in context.objects.find(bucket, key))
    except ObjectRefusedError as error:
        raise ValidationException(f"Could not access model data at {url}: {error}") from error
    except (ValueError, ObjectMissingError):
        found = False
    if not found:
        raise ValidationException(f"Could not find model data at {url}.")


OPERATIONS: Mapping[str, Operation] = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "ListModels": list_models,
    "DeleteModel": delete_model,
}
