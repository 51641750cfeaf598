"""The clean-up step: what a run leaves behind that nobody needs, whatever became of the run.

Stops the run's jobs that still run, a Glue job's runs too, deletes its SageMaker models and the
prepared RecordIO. Keeps the model artifacts, predictions, splits, index tables, reports and
metrics. Touches nothing whose name or key isn't the run's, and may run any number of times. Of the
endpoint's models, which are named after the endpoint, those that neither serve nor are next to go
back to are deleted too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypedDict

import boto3
from botocore.exceptions import ClientError

from matinee.workflow.endpoint import Endpoint
from matinee.workflow.engines.glue import Glue
from matinee.workflow.errors import PublishError
from matinee.workflow.objects import Objects
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE_S = 120.0
_LOOK_EVERY_S = 1.0


class JobKind(NamedTuple):
    """The boto3 names of one kind of job."""

    noun: str
    list_operation: str
    stop_operation: str

    @property
    def name_member(self) -> str:
        return f"{self.noun}Name"

    @property
    def status_member(self) -> str:
        return f"{self.noun}Status"


# Tuning jobs first: one that runs would start new training jobs for those stopped.
KINDS = (
    JobKind(
        "HyperParameterTuningJob",
        "list_hyper_parameter_tuning_jobs",
        "stop_hyper_parameter_tuning_job",
    ),
    JobKind("TrainingJob", "list_training_jobs", "stop_training_job"),
    JobKind("TransformJob", "list_transform_jobs", "stop_transform_job"),
)


class Stopped(TypedDict):
    """The jobs that were told to stop, and those that had not ended when patience did."""

    stopped_jobs: list[str]
    still_stopping: list[str]


class CleanedUp(Stopped):
    """What `clean_up` removed."""

    run: str
    deleted_models: list[str]
    deleted_endpoint_configs: list[str]
    deleted_objects: int


def clean_up(settings: Settings, inputs: dict[str, Any]) -> CleanedUp:
    """Stop the run's jobs, delete its models and its prepared data.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `run`, the run's name.

    Returns
    -------
    CleanedUp
    """
    run = inputs["run"]
    sagemaker = boto3.client("sagemaker")
    stopped = stop_jobs(run, sagemaker)
    models = [
        model["ModelName"]
        for model in _listed(sagemaker, "list_models", "Models", "ModelName", run)
    ]
    for model in models:
        sagemaker.delete_model(ModelName=model)
    replaced = _delete_replaced(settings, sagemaker) if settings.publish else []
    deleted_objects = Objects().delete_folder(f"{settings.folder(run)}/prepare")
    if settings.engine == "glue":
        deleted_objects += Glue(settings, run).stop()
    outputs: CleanedUp = {
        "run": run,
        **stopped,
        "deleted_models": models,
        "deleted_endpoint_configs": replaced,
        "deleted_objects": deleted_objects,
    }
    logger.info("cleaned up: %s", outputs)
    return outputs


def _delete_replaced(settings: Settings, sagemaker: Any) -> list[str]:
    endpoint = Endpoint(settings.endpoint, sagemaker, check_s=settings.check_interval)
    try:
        return endpoint.delete_replaced()
    except PublishError as error:
        # An endpoint of somebody else's is why publishing failed, and nothing to clean up.
        logger.info("nothing of endpoint %s was deleted: %s", settings.endpoint, error)
        return []


def stop_jobs(
    run: str,
    sagemaker: Any,
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Stopped:
    """Stop all jobs of a run and wait until they have ended.

    Parameters
    ----------
    run : str
        The run's name; its jobs' names start with it and a dash.
    sagemaker
        A boto3 SageMaker client.
    patience_s : float
        How long to wait, in seconds; the jobs end by themselves afterwards.
    clock, sleep : callable
        Time, in seconds.
    """
    told: list[str] = []
    give_up = clock() + patience_s
    while active := list(_active(run, sagemaker)):
        for kind, name, status in active:
            if status == "InProgress" and tell_to_stop(sagemaker, kind, name):
                told.append(name)
        if clock() >= give_up:
            break
        sleep(_LOOK_EVERY_S)
    return {"stopped_jobs": told, "still_stopping": [name for _, name, _ in active]}


def _active(run: str, sagemaker: Any) -> Iterator[tuple[JobKind, str, str]]:
    for kind in KINDS:
        for job in _listed(
            sagemaker, kind.list_operation, f"{kind.noun}Summaries", kind.name_member, run
        ):
            if job[kind.status_member] in ("InProgress", "Stopping"):
                yield kind, job[kind.name_member], job[kind.status_member]


def tell_to_stop(sagemaker: Any, kind: JobKind, name: str) -> bool:
    """Tell a job to stop; False if it ended by itself meanwhile."""
    try:
        getattr(sagemaker, kind.stop_operation)(**{kind.name_member: name})
    except ClientError as error:
        # Stopping a job that ended between the listing and the stop is refused so.
        if error.response["Error"]["Code"] == "ValidationException":
            logger.info("%s was not stopped: %s", name, error)
            return False
        raise
    logger.info("told %s %s to stop", kind.noun, name)
    return True


def _listed(
    sagemaker: Any, operation: str, summaries: str, name_member: str, run: str
) -> Iterator[dict[str, Any]]:
    """List what is the run's: NameContains also finds the run's name in the midst of another."""
    for page in sagemaker.get_paginator(operation).paginate(NameContains=run):
        yield from (item for item in page[summaries] if item[name_member].startswith(f"{run}-"))
