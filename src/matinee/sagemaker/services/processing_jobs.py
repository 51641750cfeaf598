"""SageMaker processing jobs: create, describe, list, stop, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.processing_jobs import processing_requests
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import PROCESSING_JOB
from matinee.sagemaker.store import Resource


def create_processing_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a processing job and start it.

    Raises
    ------
    ValidationException
        The job cannot run.
    ResourceInUse
        The name is taken.
    """
    check_role(context, request["RoleArn"])
    processing_requests.check(context, request)
    job = processing_requests.new_job(context, request)
    return jobs.create(context, job, request)


def describe_processing_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a processing job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    return jobs.find(context, PROCESSING_JOB, request, missing=ValidationException).document


def list_processing_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List processing jobs."""
    return page(
        context.store,
        request,
        PROCESSING_JOB.name,
        summary_key="ProcessingJobSummaries",
        summarise=_summary,
    )


def _summary(job: Resource) -> dict[str, Any]:
    return members(
        job,
        "ProcessingJobName",
        "ProcessingJobArn",
        "CreationTime",
        "ProcessingEndTime",
        "LastModifiedTime",
        "ProcessingJobStatus",
        "FailureReason",
        "ExitMessage",
    )


def stop_processing_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Tell a processing job to end; only what is uploaded continuously is kept.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    return jobs.stop(context, PROCESSING_JOB, request)


def delete_processing_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget an ended processing job, its logs included; its name is free again.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ResourceInUse
        It has not ended.
    """
    return jobs.delete(context, jobs.find(context, PROCESSING_JOB, request))


OPERATIONS: Mapping[str, Operation] = {
    "CreateProcessingJob": create_processing_job,
    "DeleteProcessingJob": delete_processing_job,
    "DescribeProcessingJob": describe_processing_job,
    "ListProcessingJobs": list_processing_jobs,
    "StopProcessingJob": stop_processing_job,
}
