"""The models that a run chooses among: trials of a tuning job, or training jobs of several
configurations.

The one with the lowest `test:rmse` on the validation split is the run's, or the `ensemble_size`
lowest are, averaged into one. Refuses jobs that did not complete or told no error, and fewer models
than an ensemble needs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, TypedDict

import boto3

from matinee.workflow.ensemble import Averaged, average_models
from matinee.workflow.errors import EvaluationError
from matinee.workflow.jobs import Trained, require_completed
from matinee.workflow.requests import OBJECTIVE
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)


class Candidate(TypedDict):
    """A trained model and its error on the validation split."""

    job: str
    rmse: float
    hyperparameters: dict[str, str]
    model: str


class Selected(Trained):
    """The model of a run; `members` are the candidates it was made of, the best first."""

    members: list[Candidate]


def select(settings: Settings, inputs: dict[str, Any]) -> Selected:
    """Choose the run's model among those of its jobs.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `run`, the run's name, and either `training_jobs`, names of training jobs, or `tuning_job`,
        the name of a tuning job.

    Returns
    -------
    Selected
        `job` and `hyperparameters` are the best candidate's; `model` is its artifact, or that of
        the ensemble, in the run's folder.

    Raises
    ------
    EvaluationError
        If a job did not complete, has no `test:rmse`, or there are too few; as of
        `average_models`.
    """
    tuning_job = inputs.get("tuning_job")
    found = of_jobs(inputs["training_jobs"]) if tuning_job is None else of_tuning_job(tuning_job)
    size = settings.ensemble_size
    if len(found) < size:
        raise EvaluationError(
            f"an ensemble of {size} needs as many models, but only {len(found)} jobs have a model"
            f" and a value of {OBJECTIVE}"
        )
    members = found[:size]
    best = members[0]
    model = best["model"]
    if size > 1:
        averaged: Averaged = average_models(
            [member["model"] for member in members],
            f"{settings.folder(inputs['run'])}/ensemble/model.tar.gz",
        )
        model = averaged["model"]
    logger.info(
        "the best of %d: %s, %s %.4f%s", len(found), best["job"], OBJECTIVE, best["rmse"],
        f"; {size} averaged" if size > 1 else "",
    )  # fmt: skip
    return {
        "job": best["job"],
        "tuned": tuning_job is not None,
        "tuning_job": tuning_job,
        "hyperparameters": best["hyperparameters"],
        "model": model,
        "members": members,
    }


def of_jobs(names: Iterable[str], client: Any | None = None) -> list[Candidate]:
    """Return the models of training jobs, the one with the lowest error first.

    Raises
    ------
    EvaluationError
        If one did not complete, or told no `test:rmse`.
    """
    sagemaker = client or boto3.client("sagemaker")
    found = [_candidate(sagemaker, name) for name in names]
    return sorted(found, key=lambda candidate: (candidate["rmse"], candidate["job"]))


def of_tuning_job(name: str, client: Any | None = None) -> list[Candidate]:
    """Return the models of a tuning job's completed trials, the one with the lowest error first.

    Raises
    ------
    EvaluationError
        If the tuning job did not complete.
    """
    sagemaker = client or boto3.client("sagemaker")
    tuning = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    require_completed(tuning, "HyperParameterTuningJob")
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, StatusEquals="Completed"
    )
    return of_jobs(
        (
            trial["TrainingJobName"]
            for page in pages
            for trial in page["TrainingJobSummaries"]
            if "FinalHyperParameterTuningJobObjectiveMetric" in trial
        ),
        sagemaker,
    )


def _candidate(sagemaker: Any, name: str) -> Candidate:
    job = sagemaker.describe_training_job(TrainingJobName=name)
    require_completed(job, "TrainingJob")
    metrics = {
        metric["MetricName"]: metric["Value"] for metric in job.get("FinalMetricDataList", ())
    }
    if OBJECTIVE not in metrics:
        raise EvaluationError(f"training job {name} told no {OBJECTIVE}, only {sorted(metrics)}")
    return {
        "job": name,
        "rmse": metrics[OBJECTIVE],
        "hyperparameters": job["HyperParameters"],
        "model": job["ModelArtifacts"]["S3ModelArtifacts"],
    }
