"""What a run's SageMaker jobs used: instances and seconds, as SageMaker itself counts them.

Whoever knows the prices of the instances can tell from it what the run costs on AWS; no price is
known here. Jobs that have not begun, or have not ended, used nothing yet and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypedDict


class Usage(TypedDict):
    """The instances of one job, and for how many seconds each is billed."""

    job: str
    kind: str
    status: str
    instance_type: str
    instance_count: int
    billable_seconds: int


def job_usage(run: str, sagemaker: Any) -> list[Usage]:
    """List what the run's training and transform jobs used, by kind and name.

    Parameters
    ----------
    run : str
        The run's name; its jobs' names start with it and a dash. A tuning job's training jobs are
        among them, since their names start with its own.
    sagemaker
        A boto3 SageMaker client.
    """
    return [*_training(run, sagemaker), *_transform(run, sagemaker)]


def _training(run: str, sagemaker: Any) -> Iterator[Usage]:
    for name in _names(sagemaker, "list_training_jobs", "TrainingJob", run):
        job = sagemaker.describe_training_job(TrainingJobName=name)
        seconds = job.get("BillableTimeInSeconds")
        if seconds is not None:
            resources = job["ResourceConfig"]
            yield {
                "job": name,
                "kind": "training",
                "status": job["TrainingJobStatus"],
                "instance_type": resources["InstanceType"],
                "instance_count": resources["InstanceCount"],
                "billable_seconds": seconds,
            }


def _transform(run: str, sagemaker: Any) -> Iterator[Usage]:
    for name in _names(sagemaker, "list_transform_jobs", "TransformJob", run):
        job = sagemaker.describe_transform_job(TransformJobName=name)
        if "TransformStartTime" in job and "TransformEndTime" in job:
            seconds = (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds()
            yield {
                "job": name,
                "kind": "transform",
                "status": job["TransformJobStatus"],
                "instance_type": job["TransformResources"]["InstanceType"],
                "instance_count": job["TransformResources"]["InstanceCount"],
                # SageMaker bills whole seconds.
                "billable_seconds": int(-(-seconds // 1)),
            }


def _names(sagemaker: Any, operation: str, noun: str, run: str) -> list[str]:
    pages = sagemaker.get_paginator(operation).paginate(NameContains=run)
    names = (job[f"{noun}Name"] for page in pages for job in page[f"{noun}Summaries"])
    return sorted(name for name in names if name.startswith(f"{run}-"))
