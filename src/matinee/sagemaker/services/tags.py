"""SageMaker's tags, on everything that has an ARN here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceLimitExceeded, ValidationException
from matinee.sagemaker.registry import components
from matinee.sagemaker.registry.entities import check_tags

MAX_TAGS = 50


def add_tags(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Set tags; an equal key gets the new value.

    Raises
    ------
    ValidationException
        Nothing has the ARN, or a key is reserved or there twice.
    ResourceLimitExceeded
        The resource would have over 50 tags.
    """
    arn = _existing(context, request)
    check_tags(request["Tags"])
    keys = {tag["Key"] for tag in [*context.store.tags(arn), *request["Tags"]]}
    if len(keys) > MAX_TAGS:
        raise ResourceLimitExceeded(f"{arn} would have {len(keys)} tags; the limit is {MAX_TAGS}")
    context.store.add_tags(arn, request["Tags"])
    return {"Tags": context.store.tags(arn)}


def list_tags(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all tags of a resource; they always fit one page.

    Raises
    ------
    ValidationException
        Nothing has the ARN, or a next page is asked for.
    """
    if "NextToken" in request:
        raise ValidationException(
            f"NextToken {request['NextToken']!r} is not a token of this service"
        )
    return {"Tags": context.store.tags(_existing(context, request))}


def delete_tags(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key; absent keys do not matter.

    Raises
    ------
    ValidationException
        Nothing has the ARN.
    """
    context.store.delete_tags(_existing(context, request), request["TagKeys"])
    return {}


def _existing(context: Context, request: dict[str, Any]) -> str:
    arn: str = request["ResourceArn"]
    if context.store.has_arn(arn):
        return arn
    # A job's trial component has an ARN and is not stored by itself.
    component = components.find_by_arn(context, arn)
    if component is None:
        raise ValidationException(f'Could not find resource "{arn}".')
    return component.arn


OPERATIONS: Mapping[str, Operation] = {
    "AddTags": add_tags,
    "ListTags": list_tags,
    "DeleteTags": delete_tags,
}
