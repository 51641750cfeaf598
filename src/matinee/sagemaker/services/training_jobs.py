"""SageMaker training jobs: create, describe, list, stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import training_requests
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import TRAINING_JOB
from matinee.sagemaker.store import Resource

KIND = TRAINING_JOB.name


def create_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a training job and start it.

    Raises
    ------
    ValidationException
        The job cannot run.
    ResourceInUse
        The name is taken.
    """
    check_role(context, request["RoleArn"])
    algorithm = training_requests.check(context, request)
    job = training_requests.new_job(context, request, algorithm)
    jobs.create(
        context,
        job,
        request,
        taken="Training job names must be unique within an AWS account and region, and a training "
        f"job with this name already exists ({job.arn})",
    )
    return {"TrainingJobArn": job.arn}


def describe_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a training job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    job = context.store.get(KIND, request["TrainingJobName"])
    if job is None:
        raise ValidationException("Requested resource not found.")
    return job.document


def list_training_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List training jobs, the children of tuning jobs among them."""
    training_requests.refuse(
        "ListTrainingJobs", request, {"WarmPoolStatusEquals", "TrainingPlanArnEquals"}
    )
    return page(
        context.store,
        request,
        KIND,
        summary_key="TrainingJobSummaries",
        summarise=_summary,
    )


def _summary(job: Resource) -> dict[str, Any]:
    return members(
        job,
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )


def stop_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Tell a training job to end; what its model folder holds by then is kept.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    name = request["TrainingJobName"]
    missing = "Requested resource not found."
    return jobs.stop(context, KIND, name, noun="training job", missing=missing)


OPERATIONS: Mapping[str, Operation] = {
    "CreateTrainingJob": create_training_job,
    "DescribeTrainingJob": describe_training_job,
    "ListTrainingJobs": list_training_jobs,
    "StopTrainingJob": stop_training_job,
}
