"""SageMaker hyperparameter tuning jobs: create, describe, list, stop, delete, list their trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import TRAINING_JOB, TUNING_JOB, state_of
from matinee.sagemaker.store import Resource
from matinee.sagemaker.tuning_jobs import objective_index, trials, tuning_requests


def create_tuning_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a tuning job and start it.

    Raises
    ------
    ValidationException
        The job cannot run.
    ResourceInUse
        The name is taken.
    """
    found = tuning_requests.check(context, request)
    for definition in found:
        check_role(context, definition.request["RoleArn"])
    job = tuning_requests.new_job(context, request, found)
    return jobs.create(context, job, request)


def describe_tuning_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a tuning job.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    """
    return jobs.find(context, TUNING_JOB, request).document


def list_tuning_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List tuning jobs, by name unless asked otherwise."""
    return page(
        context.store,
        {"SortBy": "Name", **request},
        TUNING_JOB.name,
        summary_key="HyperParameterTuningJobSummaries",
        summarise=_summary,
    )


def _summary(job: Resource) -> dict[str, Any]:
    config = job.document["HyperParameterTuningJobConfig"]
    described = members(
        job,
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobArn",
        "HyperParameterTuningJobStatus",
        "CreationTime",
        "HyperParameterTuningEndTime",
        "LastModifiedTime",
        "TrainingJobStatusCounters",
        "ObjectiveStatusCounters",
    )
    return {
        **described,
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
    }


def stop_tuning_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Tell a tuning job to end, and its training jobs with it.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    return jobs.stop(context, TUNING_JOB, request)


def delete_tuning_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a tuning job that has ended; its training jobs and their models stay.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has not ended.
    """
    job = jobs.find(context, TUNING_JOB, request)
    if not state_of(job).is_terminal:
        raise ValidationException(
            f"The request was rejected because the hyperparameter tuning job is in status "
            f"{job.status}. Stop it first."
        )
    answer = jobs.delete(context, job)
    objective_index.forget(context.store, job.private["folder"])
    return answer


def list_training_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the training jobs of a tuning job.

    By objective, those without one are left out, as on AWS.

    Raises
    ------
    ResourceNotFound
        There is no such tuning job.
    ValidationException
        The token is not one of this list.
    """
    tuning_job = jobs.find(context, TUNING_JOB, request)
    folder = tuning_job.private["folder"]
    if request.get("SortBy") != "FinalObjectiveMetricValue":
        return page(
            context.store,
            {"SortBy": "Name", **request},
            TRAINING_JOB.name,
            parent=tuning_job.arn,
            summary_key="TrainingJobSummaries",
            summarise=trials.summary,
            wanted=lambda child: trials.is_of(child, folder),
        )
    found: dict[str, Resource] = {}

    def is_there(entry: Resource) -> bool:
        child = context.store.get(TRAINING_JOB.name, entry.private["training_job"])
        if child is not None:
            found[entry.name] = child
        return child is not None

    return page(
        context.store,
        {**request, "SortBy": "Name"},
        objective_index.KIND,
        parent=folder,
        summary_key="TrainingJobSummaries",
        summarise=lambda entry: trials.summary(found[entry.name]),
        wanted=is_there,
    )


OPERATIONS: Mapping[str, Operation] = {
    "CreateHyperParameterTuningJob": create_tuning_job,
    "DeleteHyperParameterTuningJob": delete_tuning_job,
    "DescribeHyperParameterTuningJob": describe_tuning_job,
    "ListHyperParameterTuningJobs": list_tuning_jobs,
    "StopHyperParameterTuningJob": stop_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": list_training_jobs,
}
