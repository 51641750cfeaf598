"""Experiments, their trials, and which trial components belong to which trial.

A job with an ExperimentConfig is enrolled: its component joins the trial the config names, or a
new trial of the experiment. Enrolling a job twice does nothing, so a server that was killed between
keeping a job and enrolling it does so when it starts again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.registry import components
from matinee.sagemaker.registry.entities import MEMBERSHIP, Kind, by_prefix, without
from matinee.sagemaker.store import Resource, ResourceExists

EXPERIMENT = Kind("Experiment", "experiment", "ExperimentName", "ExperimentArn")
TRIAL = Kind("Trial", "experiment-trial", "TrialName", "TrialArn")
_MEMBER = "TrialMembership"


def associate(context: Context, trial: Resource, component_arn: str) -> None:
    """Make a component part of a trial; one that is already stays."""
    now, component, name = context.clock(), _last(component_arn), _last(trial.arn)
    document = {
        "TrialArn": trial.arn,
        "TrialName": trial.document["TrialName"],
        "ExperimentName": trial.document["ExperimentName"],
        "TrialComponentArn": component_arn,
    }
    # The component comes first in the name: its trials are found by that.
    key, arn = f"{component}/{name}", f"{trial.arn}/{component}"
    member = Resource(_MEMBER, key, arn, "", now, now, document, {}, trial.arn)
    try:
        context.store.insert(member)
    except ResourceExists:
        return


def disassociate(context: Context, trial: Resource, component_arn: str) -> bool:
    """Take a component out of a trial; return whether it was part of it."""
    return context.store.delete(_MEMBER, f"{_last(component_arn)}/{_last(trial.arn)}")


def members(context: Context, trial_arn: str) -> list[str]:
    """Return the ARNs of a trial's components, in the order they joined."""
    found = context.store.find(_MEMBER, parent=trial_arn)
    return [member.document["TrialComponentArn"] for member in found]


def trials_of(context: Context, component_arn: str) -> Iterator[dict[str, Any]]:
    """Yield TrialArn, TrialName and ExperimentName of each trial a component is part of."""
    for member in by_prefix(context, _MEMBER, f"{_last(component_arn)}/"):
        yield member.document


def trials_of_all(context: Context) -> dict[str, list[dict[str, Any]]]:
    """Return what ``trials_of`` yields of each component that is part of a trial, by its ARN."""
    found: dict[str, list[dict[str, Any]]] = {}
    for member in context.store.find(_MEMBER):
        found.setdefault(member.document["TrialComponentArn"], []).append(member.document)
    return found


def create_trial(context: Context, request: Mapping[str, Any], experiment: Resource) -> Resource:
    """Keep a trial of an experiment.

    Raises
    ------
    ValidationException
        The name is taken.
    """
    name = request["TrialName"]
    document = {
        "DisplayName": name,
        **without(request, ["Tags"]),
        "ExperimentName": experiment.document["ExperimentName"],
        "CreatedBy": {},
        "LastModifiedBy": {},
    }
    return TRIAL.create(context, request, document=document, parent=experiment.arn)


def check_config(context: Context, request: Mapping[str, Any]) -> None:
    """Refuse a job whose ExperimentConfig names what does not exist.

    Raises
    ------
    ResourceNotFound
        There is no such experiment or trial.
    ValidationException
        The trial belongs to another experiment.
    """
    config = request.get("ExperimentConfig", {})
    experiment, trial = config.get("ExperimentName"), config.get("TrialName")
    if experiment is not None:
        experiment = EXPERIMENT.get(context, experiment).arn
    if trial is not None:
        found = TRIAL.get(context, trial)
        if experiment is not None and found.parent != experiment:
            raise ValidationException(
                f"Trial '{found.arn}' belongs to the experiment "
                f"{found.document['ExperimentName']!r}, not to {config['ExperimentName']!r}."
            )


def enrol(context: Context, job: Resource) -> None:
    """Make a new job's component part of the trial its ExperimentConfig means.

    What was deleted since the job was created is not made again.
    """
    config = job.document.get("ExperimentConfig", {})
    named = config.keys() & {"ExperimentName", "TrialName"}
    if not named or job.private.get("enrolled", False):
        return
    with MEMBERSHIP:
        trial = _trial(context, job, config)
        if trial is not None:
            associate(context, trial, components.arn_of(context, job))

    def enrolled(job: Resource) -> Resource:
        return dataclasses.replace(job, private={**job.private, "enrolled": True})

    context.store.update(job.kind, job.name, enrolled)


def _trial(context: Context, job: Resource, config: Mapping[str, str]) -> Resource | None:
    if "TrialName" in config:
        return TRIAL.find(context, config["TrialName"])
    experiment = EXPERIMENT.find(context, config["ExperimentName"])
    if experiment is None:
        return None
    name = f"{job.name}-trial"
    found = TRIAL.find(context, name)
    if found is not None and found.parent == experiment.arn:
        return found
    if found is not None:
        name = f"{name}-{job.private['folder'][:8]}"
    return create_trial(context, {"TrialName": name}, experiment)


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
