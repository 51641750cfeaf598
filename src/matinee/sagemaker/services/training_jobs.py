"""SageMaker training jobs: create, describe, list, update, stop, delete.

Warm pools: jobs may ask for one, and are told the truth about it. It is in use while the job runs
and terminated afterwards, because nothing of a job is kept warm here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceInUse, ResourceNotFound, ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.requests import refuse
from matinee.sagemaker.services import jobs
from matinee.sagemaker.services.iam import check_role
from matinee.sagemaker.states import TRAINING_JOB, TUNING_JOB, state_of
from matinee.sagemaker.store import Resource
from matinee.sagemaker.training_jobs import training_requests


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
    return jobs.create(context, job, request)


def describe_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return all there is to say about a training job.

    Raises
    ------
    ValidationException
        There is no such job.
    """
    job = jobs.find(context, TRAINING_JOB, request, missing=ValidationException)
    return {**job.document, **_warm_pool(job)}


def list_training_jobs(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List training jobs, the children of tuning jobs among them."""
    refuse("ListTrainingJobs", request, {"TrainingPlanArnEquals"})
    pool = request.get("WarmPoolStatusEquals")
    return page(
        context.store,
        request,
        TRAINING_JOB.name,
        summary_key="TrainingJobSummaries",
        summarise=_summary,
        wanted=lambda job: pool is None or pool == _pool_status(job),
    )


def _summary(job: Resource) -> dict[str, Any]:
    described = members(
        job,
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    return {**described, **_warm_pool(job)}


def _warm_pool(job: Resource) -> dict[str, Any]:
    status = _pool_status(job)
    if status is None:
        return {}
    retained = {"ResourceRetainedBillableTimeInSeconds": 0} if status == "Terminated" else {}
    return {"WarmPoolStatus": {"Status": status, **retained}}


def _pool_status(job: Resource) -> str | None:
    if not job.document["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        return None
    return "Terminated" if state_of(job).is_terminal else "InUse"


def update_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change how long a job's warm pool would be kept, or switch the profiler off.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has no warm pool, or not any more; or something is to be switched on that matinee does
        not have.
    """
    name = request["TrainingJobName"]
    refuse("UpdateTrainingJob", request, {"ProfilerRuleConfigurations"})
    profiler = request.get("ProfilerConfig", {})
    refuse("ProfilerConfig", profiler, profiler.keys() - {"DisableProfiler"})
    for member, value in (
        ("ProfilerConfig with DisableProfiler false", profiler.get("DisableProfiler") is False),
        ("RemoteDebugConfig", request.get("RemoteDebugConfig", {}).get("EnableRemoteDebug")),
    ):
        if value:
            raise ValidationException(f"not implemented by matinee: {member}")

    def change(job: Resource) -> Resource:
        document = dict(job.document)
        if "ResourceConfig" in request:
            if _pool_status(job) != "InUse":
                raise ValidationException(
                    f"The training job {name!r} has no warm pool whose KeepAlivePeriodInSeconds "
                    "could be changed."
                )
            document["ResourceConfig"] = {**document["ResourceConfig"], **request["ResourceConfig"]}
        if profiler:
            document["ProfilerConfig"] = {**document.get("ProfilerConfig", {}), **profiler}
        now = document["LastModifiedTime"] = context.clock()
        return dataclasses.replace(job, document=document, modified=now)

    try:
        job = context.store.update(TRAINING_JOB.name, name, change)
    except KeyError as error:
        raise ResourceNotFound(jobs.missing_words(TRAINING_JOB, name)) from error
    return {"TrainingJobArn": job.arn}


def stop_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Tell a training job to end; what its model folder holds by then is kept.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ValidationException
        It has ended.
    """
    return jobs.stop(context, TRAINING_JOB, request)


def delete_training_job(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a job that has ended, its log included; what it left in S3 stays.

    Raises
    ------
    ResourceNotFound
        There is no such job.
    ResourceInUse
        It has not ended, or its tuning job has not.
    """
    job = jobs.find(context, TRAINING_JOB, request)
    tuning = [
        parent
        for parent in context.store.find(TUNING_JOB.name, statuses=("InProgress", "Stopping"))
        if parent.arn == job.parent
    ]
    if tuning:
        raise ResourceInUse(
            f"The training job {job.name!r} belongs to the tuning job {tuning[0].name!r}, which "
            "has not ended."
        )
    return jobs.delete(context, job)


OPERATIONS: Mapping[str, Operation] = {
    "CreateTrainingJob": create_training_job,
    "DescribeTrainingJob": describe_training_job,
    "ListTrainingJobs": list_training_jobs,
    "StopTrainingJob": stop_training_job,
    "UpdateTrainingJob": update_training_job,
    "DeleteTrainingJob": delete_training_job,
}
