"""SageMaker trials: what the components of one try of an experiment are grouped by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceNotFound, ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.registry import components, experiments
from matinee.sagemaker.registry.entities import MEMBERSHIP, created_between, without
from matinee.sagemaker.registry.experiments import EXPERIMENT, TRIAL
from matinee.sagemaker.store import Resource


def create_trial(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a trial of an experiment.

    Raises
    ------
    ResourceNotFound
        There is no such experiment.
    ValidationException
        The name is taken.
    """
    with MEMBERSHIP:
        experiment = EXPERIMENT.get(context, request["ExperimentName"])
        return {"TrialArn": experiments.create_trial(context, request, experiment).arn}


def describe_trial(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a trial.

    Raises
    ------
    ResourceNotFound
        There is no such trial.
    """
    return TRIAL.get(context, request["TrialName"]).document


def list_trials(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List trials, the newest first unless asked otherwise.

    Raises
    ------
    ResourceNotFound
        There is no such experiment or component.
    """
    parent, part_of = None, None
    if "ExperimentName" in request:
        parent = EXPERIMENT.get(context, request["ExperimentName"]).arn
    if "TrialComponentName" in request:
        component = components.get(context, request["TrialComponentName"])
        part_of = {trial["TrialArn"] for trial in experiments.trials_of(context, component.arn)}

    def wanted(trial: Resource) -> bool:
        return part_of is None or trial.arn in part_of

    return page(
        context.store,
        {"SortOrder": "Descending", **created_between(request)},
        TRIAL.name,
        summary_key="TrialSummaries",
        summarise=lambda trial: members(
            trial, "TrialArn", "TrialName", "DisplayName", "CreationTime", "LastModifiedTime"
        ),
        parent=parent,
        wanted=wanted,
    )


def update_trial(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change a trial's display name.

    Raises
    ------
    ResourceNotFound
        There is no such trial.
    """
    changes = without(request, ["TrialName"])
    name = request["TrialName"]
    changed = TRIAL.change(context, name, lambda document: {**document, **changes})
    return {"TrialArn": changed.arn}


def delete_trial(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a trial without components.

    Raises
    ------
    ResourceNotFound
        There is no such trial.
    ValidationException
        It has components.
    """
    with MEMBERSHIP:
        trial = TRIAL.get(context, request["TrialName"])
        if experiments.members(context, trial.arn):
            raise ValidationException(
                f"Trial '{trial.arn}' is linked to 1 or more trial components and "
                "cannot be deleted."
            )
        context.store.delete(TRIAL.name, trial.name)
    return {"TrialArn": trial.arn}


def associate_trial_component(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Make a component part of a trial; one that is already stays.

    Raises
    ------
    ResourceNotFound
        There is no such component or trial.
    """
    with MEMBERSHIP:
        component = components.get(context, request["TrialComponentName"])
        trial = TRIAL.get(context, request["TrialName"])
        experiments.associate(context, trial, component.arn)
    return {"TrialComponentArn": component.arn, "TrialArn": trial.arn}


def disassociate_trial_component(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Take a component out of a trial.

    Raises
    ------
    ResourceNotFound
        There is no such component or trial, or the one is not part of the other.
    """
    component = components.get(context, request["TrialComponentName"])
    trial = TRIAL.get(context, request["TrialName"])
    if not experiments.disassociate(context, trial, component.arn):
        raise ResourceNotFound(
            f"TrialComponent '{component.arn}' is not associated with Trial '{trial.arn}'."
        )
    return {"TrialComponentArn": component.arn, "TrialArn": trial.arn}


OPERATIONS: Mapping[str, Operation] = {
    "CreateTrial": create_trial,
    "DescribeTrial": describe_trial,
    "ListTrials": list_trials,
    "UpdateTrial": update_trial,
    "DeleteTrial": delete_trial,
    "AssociateTrialComponent": associate_trial_component,
    "DisassociateTrialComponent": disassociate_trial_component,
}
