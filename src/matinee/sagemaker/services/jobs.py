"""What creating and stopping a job have in common, whatever its kind.

Refuses a name that is taken, a job that does not exist, and stopping one that has ended; the words
for that are AWS's and differ by kind, so they are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import experiments
from matinee.sagemaker.context import Context
from matinee.sagemaker.entities import check_tags
from matinee.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationException
from matinee.sagemaker.states import IllegalTransitionError
from matinee.sagemaker.store import Resource, ResourceExists


def create(context: Context, job: Resource, request: Mapping[str, Any], *, taken: str) -> None:
    """Keep a new job with the request's tags, enrol it in its experiment, then start it.

    Raises
    ------
    ResourceInUse
        The name is taken; says ``taken``.
    ResourceNotFound
        There is no such experiment or trial.
    ValidationException
        The trial belongs to another experiment, or a tag's key is reserved or there twice.
    """
    check_tags(request.get("Tags", ()))
    experiments.check_config(context, request)
    try:
        context.store.insert(job, request.get("Tags", ()))
    except ResourceExists as error:
        raise ResourceInUse(taken) from error
    experiments.enrol(context, job)
    context.jobs.submit(job.kind, job.name)


def stop(context: Context, kind: str, name: str, *, noun: str, missing: str) -> dict[str, Any]:
    """Tell a job to end; return the operation's empty answer.

    Raises
    ------
    ResourceNotFound
        There is no such job; says ``missing``.
    ValidationException
        It has ended.
    """
    try:
        context.jobs.stop(kind, name)
    except KeyError as error:
        raise ResourceNotFound(missing) from error
    except IllegalTransitionError as error:
        raise ValidationException(
            f"The request was rejected because the {noun} is in status {error.current.status}."
        ) from error
    return {}
