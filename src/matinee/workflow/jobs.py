"""What a run's SageMaker jobs came to: how they ended, and the model they trained.

Refuses jobs that were stopped before they were done: the operators take `Stopped` for success.
"""

from __future__ import annotations

from typing import Any, TypedDict

import boto3

from matinee.workflow.errors import EvaluationError


class Trained(TypedDict):
    """The model of a run and where it comes from."""

    job: str
    tuned: bool
    tuning_job: str | None
    hyperparameters: dict[str, str]
    model: str


def require_completed(description: dict[str, Any], kind: str) -> None:
    """Refuse a job that ended, but not by completing.

    Parameters
    ----------
    description : dict
        What Describe answers.
    kind : str
        "TrainingJob", "HyperParameterTuningJob" or "TransformJob".

    Raises
    ------
    EvaluationError
        Naming the job and its status.
    """
    status = description[f"{kind}Status"]
    if status != "Completed":
        detail = description.get("SecondaryStatus", status)
        raise EvaluationError(
            f"{kind} {description[f'{kind}Name']} ended as {status} ({detail}), not as Completed"
        )


def trained_model(
    *, training_job: str | None = None, tuning_job: str | None = None, client: Any | None = None
) -> Trained:
    """Find the model of a training job, or of a tuning job's best training job.

    Parameters
    ----------
    training_job, tuning_job : str or None
        The job's name; one of the two.
    client : optional
        A boto3 SageMaker client.

    Raises
    ------
    EvaluationError
        If the job did not complete, or none of the tuning job's training jobs reached the
        objective.
    """
    sagemaker = client or boto3.client("sagemaker")
    if tuning_job is not None:
        tuning = sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=tuning_job
        )
        require_completed(tuning, "HyperParameterTuningJob")
        best = tuning.get("BestTrainingJob")
        if best is None:
            raise EvaluationError(
                f"tuning job {tuning_job} has no best training job: none of its jobs completed"
                " with a value of the objective"
            )
        training_job = best["TrainingJobName"]
    job = sagemaker.describe_training_job(TrainingJobName=training_job)
    require_completed(job, "TrainingJob")
    return {
        "job": job["TrainingJobName"],
        "tuned": tuning_job is not None,
        "tuning_job": tuning_job,
        "hyperparameters": job["HyperParameters"],
        "model": job["ModelArtifacts"]["S3ModelArtifacts"],
    }
