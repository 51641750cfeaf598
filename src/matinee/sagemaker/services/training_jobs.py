"""SageMaker training jobs: create, describe, list, stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import training_requests
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import TRAINING_JOB, IllegalTransitionError
from matinee.sagemaker.store import Resource, ResourceExists

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
    job = training_requests.new_job(context, request, algorithm, described={}, private={})
    try:
        context.store.insert(job, request.get("Tags", ()))
    except ResourceExists as error:
        raise ResourceInUse(
            "Training job names must be unique within an AWS account and region, and a training "
            f"job with this name already exists ({job.arn})"
        ) from error
    context.jobs.submit(KIND, job.name)
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
        request,
        context.store.find(KIND),
        summary_key="TrainingJobSummaries",
        summarise=_summary,
    )


def _summary(job: Resource) -> dict[str, Any]:
    members = (
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    return {member: job.document[member] for member in members if member in job.document}


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
    try:
        context.jobs.stop(KIND, name)
    except KeyError as error:
        raise ResourceNotFound("Requested resource not found.") from error
    except IllegalTransitionError as error:
        raise ValidationException(
            "The request was rejected because the training job is in status "
            f"{describe_training_job(context, request)['TrainingJobStatus']}."
        ) from error
    return {}


OPERATIONS: Mapping[str, Operation] = {
    "CreateTrainingJob": create_training_job,
    "DescribeTrainingJob": describe_training_job,
    "ListTrainingJobs": list_training_jobs,
    "StopTrainingJob": stop_training_job,
}
