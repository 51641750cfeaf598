"""What the operations on jobs have in common, whatever the kind.

Refuses a name that is taken, a job that does not exist, stopping one that has ended and deleting
one that has not. A request names its job by the member ``<kind>Name``; the words of a refusal are
AWS's, which differ by kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import (
    ResourceInUse,
    ResourceNotFound,
    ServiceError,
    ValidationException,
)
from matinee.sagemaker.registry import experiments
from matinee.sagemaker.registry.entities import check_tags
from matinee.sagemaker.states import (
    KINDS,
    TRAINING_JOB,
    TUNING_JOB,
    IllegalTransitionError,
    Kind,
    state_of,
)
from matinee.sagemaker.store import Resource, ResourceExists


def create(context: Context, job: Resource, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a new job with the request's tags, enrol it in its experiment, then start it.

    Returns the operation's answer: the job's ARN.

    Raises
    ------
    ResourceInUse
        The name is taken.
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
        raise ResourceInUse(_taken_words(job)) from error
    try:
        experiments.enrol(context, job)
    finally:
        # It is kept, and nobody else would start it before the server does so anew.
        context.jobs.submit(job)
    return {f"{job.kind}Arn": job.arn}


def _taken_words(job: Resource) -> str:
    if job.kind == TUNING_JOB.name:
        return (
            f"A hyperparameter tuning job with the name, {job.name}, already exists. "
            "Choose a different name."
        )
    words = KINDS[job.kind].words
    return (
        f"{words.capitalize()} names must be unique within an AWS account and region, and a "
        f"{words} with this name already exists ({job.arn})"
    )


def find(
    context: Context,
    kind: Kind,
    request: Mapping[str, Any],
    missing: type[ServiceError] = ResourceNotFound,
) -> Resource:
    """Return the job that a request names.

    Parameters
    ----------
    context
        The server's surroundings.
    kind
        Of the job.
    request
        Names it.
    missing
        The error AWS gives when there is no such job.

    Raises
    ------
    ServiceError
        There is no such job; the class is ``missing``.
    """
    name = request[f"{kind.name}Name"]
    job = context.store.get(kind.name, name)
    if job is None:
        raise missing(missing_words(kind, name))
    return job


def missing_words(kind: Kind, name: str) -> str:
    """Return AWS's sentence about a job that does not exist."""
    if kind is TRAINING_JOB:
        return "Requested resource not found."
    if kind is TUNING_JOB:
        return f"Amazon SageMaker can't find a tuning job called {name}. Type another name."
    return f"Could not find requested job with name: {name}"


def stop(context: Context, kind: Kind, request: Mapping[str, Any]) -> dict[str, Any]:
    """Tell a job to end; return the operation's empty answer.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    name = request[f"{kind.name}Name"]
    try:
        context.jobs.stop(kind.name, name)
    except KeyError as error:
        raise ResourceNotFound(missing_words(kind, name)) from error
    except IllegalTransitionError as error:
        raise ValidationException(
            f"The request was rejected because the {kind.words} is in status "
            f"{error.current.status}."
        ) from error
    return {}


def delete(context: Context, job: Resource) -> dict[str, Any]:
    """Forget an ended job, its logs included; return the operation's empty answer.

    Raises
    ------
    ResourceInUse
        It has not ended.
    """
    if not state_of(job).is_terminal:
        raise ResourceInUse(
            f"The {KINDS[job.kind].words} {job.name!r} is in status {job.status}; only one that "
            "has ended can be deleted."
        )
    context.store.delete(job.kind, job.name)
    context.jobs.remove(job)
    return {}
