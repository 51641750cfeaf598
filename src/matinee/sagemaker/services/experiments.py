"""SageMaker experiments: what trials are grouped by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.registry.entities import MEMBERSHIP, created_between, without
from matinee.sagemaker.registry.experiments import EXPERIMENT, TRIAL
from matinee.sagemaker.store import Query


def create_experiment(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep an experiment.

    Raises
    ------
    ValidationException
        The name is taken.
    """
    document = {
        "DisplayName": request["ExperimentName"],
        **without(request, ["Tags"]),
        "CreatedBy": {},
        "LastModifiedBy": {},
    }
    return {"ExperimentArn": EXPERIMENT.create(context, request, document=document).arn}


def describe_experiment(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe an experiment.

    Raises
    ------
    ResourceNotFound
        There is no such experiment.
    """
    return EXPERIMENT.get(context, request["ExperimentName"]).document


def list_experiments(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List experiments, the newest first unless asked otherwise."""
    return page(
        context.store,
        {"SortOrder": "Descending", **created_between(request)},
        EXPERIMENT.name,
        summary_key="ExperimentSummaries",
        summarise=lambda experiment: members(
            experiment,
            "ExperimentArn",
            "ExperimentName",
            "DisplayName",
            "CreationTime",
            "LastModifiedTime",
        ),
    )


def update_experiment(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change an experiment's display name or description.

    Raises
    ------
    ResourceNotFound
        There is no such experiment.
    """
    name = request["ExperimentName"]
    changes = without(request, ["ExperimentName"])
    changed = EXPERIMENT.change(context, name, lambda document: {**document, **changes})
    return {"ExperimentArn": changed.arn}


def delete_experiment(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget an experiment without trials.

    Raises
    ------
    ResourceNotFound
        There is no such experiment.
    ValidationException
        It has trials.
    """
    with MEMBERSHIP:
        experiment = EXPERIMENT.get(context, request["ExperimentName"])
        if context.store.page(Query(kind=TRIAL.name, parent=experiment.arn), 1):
            raise ValidationException(
                f"Experiment '{experiment.arn}' is linked to 1 or more trials and "
                "cannot be deleted."
            )
        context.store.delete(EXPERIMENT.name, experiment.name)
    return {"ExperimentArn": experiment.arn}


OPERATIONS: Mapping[str, Operation] = {
    "CreateExperiment": create_experiment,
    "DescribeExperiment": describe_experiment,
    "ListExperiments": list_experiments,
    "UpdateExperiment": update_experiment,
    "DeleteExperiment": delete_experiment,
}
