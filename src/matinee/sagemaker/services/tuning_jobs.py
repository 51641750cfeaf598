"""SageMaker hyperparameter tuning jobs: create, describe, list, stop, list their training jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import trials, tuning_requests
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceNotFound, ValidationException
from matinee.sagemaker.listing import DEFAULT_MAX_RESULTS, members, page
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import TRAINING_JOB, TUNING_JOB
from matinee.sagemaker.store import Resource

KIND = TUNING_JOB.name


def create_tuning_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a tuning job and start it.

    Raises
    ------
    ValidationException
        The job cannot run.
    ResourceInUse
        The name is taken.
    """
    algorithm = tuning_requests.check(context, request)
    check_role(context, request["TrainingJobDefinition"]["RoleArn"])
    job = tuning_requests.new_job(context, request, algorithm)
    jobs.create(
        context,
        job,
        request,
        taken=f"A hyperparameter tuning job with the name, {job.name}, already exists. "
        "Choose a different name.",
    )
    return {"HyperParameterTuningJobArn": job.arn}


def describe_tuning_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a tuning job.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    """
    return _find(context, request).document


def _find(context: Context, request: Mapping[str, Any]) -> Resource:
    name = request["HyperParameterTuningJobName"]
    job = context.store.get(KIND, name)
    if job is None:
        raise ResourceNotFound(_missing(name))
    return job


def _missing(name: str) -> str:
    return f"Amazon SageMaker can't find a tuning job called {name}. Type another name."


def list_tuning_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List tuning jobs, by name unless asked otherwise."""
    return page(
        context.store,
        {"SortBy": "Name", **request},
        KIND,
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
    name = request["HyperParameterTuningJobName"]
    noun = "hyperparameter tuning job"
    return jobs.stop(context, KIND, name, noun=noun, missing=_missing(name))


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
    tuning_job = _find(context, request)
    objective = tuning_job.document["HyperParameterTuningJobConfig"][
        "HyperParameterTuningJobObjective"
    ]
    if request.get("SortBy") != "FinalObjectiveMetricValue":
        return page(
            context.store,
            {"SortBy": "Name", **request},
            TRAINING_JOB.name,
            parent=tuning_job.arn,
            summary_key="TrainingJobSummaries",
            summarise=lambda child: trials.summary(child, objective),
        )
    rated = [
        (value, child)
        for child in trials.training_jobs(context.store, tuning_job.arn)
        if (value := trials.objective(child)) is not None
        and request.get("StatusEquals", child.status) == child.status
    ]
    rated.sort(key=lambda pair: pair[0], reverse=request.get("SortOrder") == "Descending")
    return _page(request, [child for _, child in rated], objective)


def _page(
    request: Mapping[str, Any], children: list[Resource], objective: Mapping[str, str]
) -> dict[str, Any]:
    # The token names the last child of the page before: new ones may have come in between.
    first, names = 0, [child.name for child in children]
    if "NextToken" in request:
        token = request["NextToken"]
        if token not in names:
            raise ValidationException(f"NextToken {token!r} is not a token of this list")
        first = names.index(token) + 1
    size = request.get("MaxResults", DEFAULT_MAX_RESULTS)
    shown = children[first : first + size]
    answer: dict[str, Any] = {
        "TrainingJobSummaries": [trials.summary(child, objective) for child in shown]
    }
    if first + size < len(children):
        answer["NextToken"] = shown[-1].name
    return answer


OPERATIONS: Mapping[str, Operation] = {
    "CreateHyperParameterTuningJob": create_tuning_job,
    "DescribeHyperParameterTuningJob": describe_tuning_job,
    "ListHyperParameterTuningJobs": list_tuning_jobs,
    "StopHyperParameterTuningJob": stop_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": list_training_jobs,
}
