"""SageMaker trial components: a step of a trial, made by a user or read off a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.registry import component_metrics, components, experiments, sequences
from matinee.sagemaker.registry.components import COMPONENT, Component
from matinee.sagemaker.registry.entities import MEMBERSHIP, without
from matinee.sagemaker.registry.experiments import EXPERIMENT, TRIAL
from matinee.sagemaker.registry.sequences import stamp

_SUMMARY = "TrialComponentSummaries"


def create_trial_component(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a component.

    Raises
    ------
    ValidationException
        The name is taken, by a job's component perhaps.
    """
    name = request["TrialComponentName"]
    if components.find(context, name) is not None:
        raise ValidationException(
            "TrialComponent names must be unique within an AWS account and region. "
            f"TrialComponent with name ({name}) already exists."
        )
    document = {
        "DisplayName": name,
        **without(request, ["Tags"]),
        "CreatedBy": {},
        "LastModifiedBy": {},
    }
    return {"TrialComponentArn": COMPONENT.create(context, request, document=document).arn}


def describe_trial_component(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a component, its metrics among the rest.

    Raises
    ------
    ResourceNotFound
        There is no such component.
    """
    component = components.get(context, request["TrialComponentName"])
    return {**component.document, "Metrics": component_metrics.summaries(context, component)}


def list_trial_components(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List components, the newest first unless asked otherwise.

    Raises
    ------
    ResourceNotFound
        There is no such experiment or trial.
    ValidationException
        More than one of ExperimentName, TrialName and SourceArn is given.
    """
    given = sorted(request.keys() & {"ExperimentName", "TrialName", "SourceArn"})
    if len(given) > 1:
        raise ValidationException(f"Filter by one of these only: {', '.join(given)}")
    request = {"SortOrder": "Descending", **request}
    if not given:
        return components.page(context, request, _summary)
    after, before = request.get("CreatedAfter"), request.get("CreatedBefore")
    rows = [
        component
        for component in _chosen(context, request)
        if (after is None or component.created > after)
        and (before is None or component.created < before)
    ]
    by_name = request.get("SortBy") == "Name"

    def key(component: Component) -> sequences.Key:
        return (component.name if by_name else stamp(component.created), component.name)

    return sequences.page(rows, request, member=_SUMMARY, key=key, show=_summary)


def _chosen(context: Context, request: Mapping[str, Any]) -> list[Component]:
    if "SourceArn" in request:
        component = components.of_source(context, request["SourceArn"])
        return [] if component is None else [component]
    if "TrialName" in request:
        trials = [TRIAL.get(context, request["TrialName"])]
    else:
        experiment = EXPERIMENT.get(context, request["ExperimentName"])
        trials = context.store.find(TRIAL.name, parent=experiment.arn)
    arns = {arn: None for trial in trials for arn in experiments.members(context, trial.arn)}
    found = (components.find(context, arn) for arn in arns)
    return [component for component in found if component is not None]


def _summary(component: Component) -> dict[str, Any]:
    document = component.document
    summary: dict[str, Any] = {
        name: document[name]
        for name in (
            "TrialComponentName",
            "TrialComponentArn",
            "DisplayName",
            "Status",
            "StartTime",
            "EndTime",
            "CreationTime",
            "CreatedBy",
            "LastModifiedTime",
            "LastModifiedBy",
        )
        if name in document
    }
    if "Source" in document:
        summary["TrialComponentSource"] = document["Source"]
    return summary


def update_trial_component(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change a component; a job's own component can be changed too.

    Raises
    ------
    ResourceNotFound
        There is no such component.
    ValidationException
        It would have too many parameters or artifacts.
    """
    component = components.get(context, request["TrialComponentName"])
    components.update(context, component, request)
    return {"TrialComponentArn": component.arn}


def delete_trial_component(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a component that is part of no trial.

    Raises
    ------
    ResourceNotFound
        There is no such component.
    ValidationException
        It is part of a trial.
    """
    with MEMBERSHIP:
        component = components.get(context, request["TrialComponentName"])
        if any(experiments.trials_of(context, component.arn)):
            raise ValidationException(
                f"TrialComponent '{component.arn}' is linked to 1 or more trials and "
                "cannot be deleted."
            )
        components.delete(context, component)
        component_metrics.delete(context, component)
    return {"TrialComponentArn": component.arn}


OPERATIONS: Mapping[str, Operation] = {
    "CreateTrialComponent": create_trial_component,
    "DescribeTrialComponent": describe_trial_component,
    "ListTrialComponents": list_trial_components,
    "UpdateTrialComponent": update_trial_component,
    "DeleteTrialComponent": delete_trial_component,
}
