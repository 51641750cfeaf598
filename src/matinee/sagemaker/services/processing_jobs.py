"""SageMaker processing jobs: create, describe, list, stop, delete."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import processing_requests
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationException
from matinee.sagemaker.jobs import job_folder, work_folder
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import PROCESSING_JOB, state_of
from matinee.sagemaker.store import Resource

KIND = PROCESSING_JOB.name
_CLEARING_LOOKS = 100
_CLEARING_PAUSE_SECONDS = 0.05


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
    jobs.create(
        context,
        job,
        request,
        taken="Processing job names must be unique within an AWS account and region, and a "
        f"processing job with this name already exists ({job.arn})",
    )
    return {"ProcessingJobArn": job.arn}


def describe_processing_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a processing job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    job = context.store.get(KIND, request["ProcessingJobName"])
    if job is None:
        raise ValidationException(_missing(request["ProcessingJobName"]))
    return job.document


def list_processing_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List processing jobs."""
    return page(
        context.store,
        request,
        KIND,
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
    name = request["ProcessingJobName"]
    return jobs.stop(context, KIND, name, noun="processing job", missing=_missing(name))


def delete_processing_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget an ended processing job, its logs included; its name is free again.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ResourceInUse
        It has not ended.
    """
    name = request["ProcessingJobName"]
    job = context.store.get(KIND, name)
    if job is None:
        raise ResourceNotFound(_missing(name))
    if not state_of(job).is_terminal:
        raise ResourceInUse(
            f"The processing job {name} is in status {job.status}; only a job in a terminal state "
            "(Stopped, Failed or Completed) can be deleted"
        )
    folder = job_folder(context, job)
    # What its driver still clears away is cleared away first.
    for _ in range(_CLEARING_LOOKS):
        if not work_folder(folder).exists():
            break
        context.jobs.wait_for_change(context.jobs.changes, _CLEARING_PAUSE_SECONDS)
    context.store.delete(KIND, name)
    shutil.rmtree(folder, ignore_errors=True)
    return {}


def _missing(name: str) -> str:
    return f"Could not find requested job with name: {name}"


OPERATIONS: Mapping[str, Operation] = {
    "CreateProcessingJob": create_processing_job,
    "DeleteProcessingJob": delete_processing_job,
    "DescribeProcessingJob": describe_processing_job,
    "ListProcessingJobs": list_processing_jobs,
    "StopProcessingJob": stop_processing_job,
}
