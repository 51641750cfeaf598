"""SageMaker transform jobs: create, describe, list, stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import transform_requests
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.models import containers_of, find_model
from matinee.sagemaker.states import TRANSFORM_JOB
from matinee.sagemaker.store import Resource

KIND = TRANSFORM_JOB.name


def create_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a transform job and start it. The model is taken as it is now.

    Raises
    ------
    ValidationException
        The job cannot run, or there is no such model.
    ResourceInUse
        The name is taken.
    """
    model = find_model(context, request["ModelName"])
    role = model.document.get("ExecutionRoleArn", "")
    job = transform_requests.make(context, request, containers_of(model), role)
    jobs.create(
        context,
        job,
        request,
        taken="Transform job names must be unique within an AWS account and region, and a "
        f"transform job with this name already exists ({job.arn})",
    )
    return {"TransformJobArn": job.arn}


def describe_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a transform job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    job = context.store.get(KIND, request["TransformJobName"])
    if job is None:
        raise ValidationException(_missing(request["TransformJobName"]))
    return job.document


def list_transform_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List transform jobs."""
    return page(
        context.store,
        request,
        KIND,
        summary_key="TransformJobSummaries",
        summarise=_summary,
    )


def _summary(job: Resource) -> dict[str, Any]:
    described = members(
        job,
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "TransformJobStatus",
        "FailureReason",
    )
    return {**described, "LastModifiedTime": job.modified}


def stop_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Tell a transform job to end without storing anything more.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    name = request["TransformJobName"]
    return jobs.stop(context, KIND, name, noun="transform job", missing=_missing(name))


def _missing(name: str) -> str:
    return f"Could not find requested job with name: {name}"


OPERATIONS: Mapping[str, Operation] = {
    "CreateTransformJob": create_transform_job,
    "DescribeTransformJob": describe_transform_job,
    "ListTransformJobs": list_transform_jobs,
    "StopTransformJob": stop_transform_job,
}
