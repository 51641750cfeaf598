"""SageMaker transform jobs: create, describe, list, stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.models import containers_of, find_model
from matinee.sagemaker.states import TRANSFORM_JOB
from matinee.sagemaker.store import Resource
from matinee.sagemaker.transform_jobs import transform_requests


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
    return jobs.create(context, job, request)


def describe_transform_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a transform job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    return jobs.find(context, TRANSFORM_JOB, request, missing=ValidationException).document


def list_transform_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List transform jobs."""
    return page(
        context.store,
        request,
        TRANSFORM_JOB.name,
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
    return jobs.stop(context, TRANSFORM_JOB, request)


OPERATIONS: Mapping[str, Operation] = {
    "CreateTransformJob": create_transform_job,
    "DescribeTransformJob": describe_transform_job,
    "ListTransformJobs": list_transform_jobs,
    "StopTransformJob": stop_transform_job,
}
