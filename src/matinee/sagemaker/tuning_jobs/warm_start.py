"""Start a tuning job from what earlier ones found: AWS's WarmStartConfig.

The rules are those of SageMaker's Developer Guide ("Run a Warm Start Hyperparameter Tuning Job").
Trials of a parent outside the new ranges are left out; what a parent tuned and the new job does not
is ignored. With TransferLearning the objectives of different data cannot be compared, so each
job's are counted in standard deviations from their mean. Parents of parents do not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker import algorithms
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.states import TUNING_JOB, state_of
from matinee.sagemaker.store import Resource, Store
from matinee.sagemaker.tuning_jobs import definitions, trials
from matinee.sagemaker.tuning_jobs.definitions import Definition
from matinee.sagemaker.tuning_jobs.ranges import Choice, Parameter
from matinee.sagemaker.tuning_jobs.search import Trial

_STRATEGIES = ("Bayesian", "Random")
_MOST_CHANGES = 10
IDENTICAL = "IdenticalDataAndAlgorithm"


def parents(context: Context, request: Mapping[str, Any]) -> list[Resource]:
    """Return the tuning jobs that a request's WarmStartConfig names.

    Raises
    ------
    ValidationException
        One does not exist, or is named twice.
    """
    named = request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    names = [item.get("HyperParameterTuningJobName", "") for item in named]
    found = []
    for name in names:
        parent = context.store.get(TUNING_JOB.name, name)
        if parent is None:
            raise ValidationException(
                f"WarmStartConfig: Amazon SageMaker can't find a tuning job called {name!r}."
            )
        if names.count(name) > 1:
            raise ValidationException(f"WarmStartConfig names the tuning job {name!r} twice")
        found.append(parent)
    return found


def check(context: Context, request: Mapping[str, Any], found: Sequence[Definition]) -> None:
    """Refuse a request that cannot start from its parents.

    Parameters
    ----------
    context
        The server's surroundings.
    request
        As CreateHyperParameterTuningJob gets it, with a WarmStartConfig.
    found
        Its definitions.

    Raises
    ------
    ValidationException
        A rule is broken; it names the parent.
    """
    strategy = request["HyperParameterTuningJobConfig"]["Strategy"]
    if strategy not in _STRATEGIES:
        raise ValidationException(
            f"WarmStartConfig is for the strategies {' and '.join(_STRATEGIES)}, not {strategy}"
        )
    if len(found) > 1:
        raise ValidationException(
            f"WarmStartConfig is for tuning jobs with one training job definition, not {len(found)}"
        )
    for parent in parents(context, request):
        if not state_of(parent).is_terminal:
            raise ValidationException(
                f"The parent tuning job {parent.name} is in status {parent.status}. "
                "Parent tuning jobs must be Completed, Stopped or Failed."
            )
        theirs = _definitions(parent)
        if len(theirs) > 1:
            raise ValidationException(
                f"The parent tuning job {parent.name} has {len(theirs)} training job definitions; "
                "a parent can have one"
            )
        _check_parent(parent.name, theirs[0], found[0])
        if request["WarmStartConfig"]["WarmStartType"] == IDENTICAL:
            _check_identical(parent.name, theirs[0], found[0])


def _definitions(job: Resource) -> list[Definition]:
    config = job.document["HyperParameterTuningJobConfig"]
    return definitions.read(config, job.private["definitions"])


def _check_parent(name: str, parent: Definition, current: Definition) -> None:
    if dict(parent.objective) != dict(current.objective):
        raise ValidationException(
            f"The objective metric {dict(current.objective)} is not that of the parent tuning job "
            f"{name}, {dict(parent.objective)}."
        )
    ours, theirs = _names(current), _names(parent)
    if ours != theirs:
        raise ValidationException(
            "The set of tunable plus static HyperParameter names is not the same across current "
            f"and parent tuning jobs. Different in parent {name}: {sorted(ours ^ theirs)}"
        )
    kinds = {parameter.name: _kind(parameter) for parameter in parent.parameters}
    for parameter in current.parameters:
        before = kinds.get(parameter.name, _kind(parameter))
        if before != _kind(parameter):
            raise ValidationException(
                f"The hyperparameter {parameter.name!r} is {before} in the parent tuning job "
                f"{name}; its type cannot change to {_kind(parameter)}."
            )
    if (changes := _changes(parent, current)) > _MOST_CHANGES:
        raise ValidationException(
            f"{changes} changes of static hyperparameters from the parent tuning job {name} are "
            f"more than {_MOST_CHANGES}."
        )


def _names(definition: Definition) -> set[str]:
    return {parameter.name for parameter in definition.parameters} | definition.statics.keys()


def _kind(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return "categorical"
    return "integer" if parameter.is_integer else "continuous"


def _changes(parent: Definition, current: Definition) -> int:
    """Count as AWS does: each value of a categorical hyperparameter is one."""
    tuned = {parameter.name: parameter for parameter in parent.parameters}
    changes = 0
    for name, value in current.statics.items():
        parameter = tuned.get(name)
        if isinstance(parameter, Choice):
            changes += len(parameter.options)
        elif parameter is not None:
            changes += 1
        elif (before := parent.statics[name]) != value:
            changes += 1 if _is_number(before) and _is_number(value) else 2
    return changes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_identical(name: str, parent: Definition, current: Definition) -> None:
    # A new version of the image may change what is no part of the algorithm.
    ours, theirs = algorithms.repository(current.image), algorithms.repository(parent.image)
    if ours != theirs:
        raise ValidationException(
            f"The training image {current.image} is not that of the parent tuning job {name}, "
            f"{parent.image}; {IDENTICAL} needs the same."
        )
    if current.request.get("InputDataConfig") != parent.request.get("InputDataConfig"):
        raise ValidationException(
            f"InputDataConfig is not that of the parent tuning job {name}; {IDENTICAL} needs the "
            "same. Use TransferLearning for other data."
        )


@dataclass(frozen=True, slots=True)
class Past:
    """What a tuning job's parents found.

    Attributes
    ----------
    comparable
        Whether their objectives are on the scale of the new ones.
    jobs
        The trials of each parent, within the new ranges and with an objective.
    best
        AWS's summary of the best trial of all parents; None without one.
    """

    comparable: bool
    jobs: tuple[tuple[Trial, ...], ...]
    best: Mapping[str, Any] | None

    def join(self, own: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
        """Return the parents' trials and the job's own, with objectives that can be compared."""
        if self.comparable or not self.jobs:
            return [trial for job in self.jobs for trial in job], list(own)
        return [trial for job in self.jobs for trial in _standard(job)], _standard(own)


def _standard(job: Sequence[Trial]) -> list[Trial]:
    values = [trial.value for trial in job if trial.value is not None]
    mean = statistics.fmean(values) if values else 0.0
    spread = statistics.pstdev(values) if values else 0.0
    return [
        Trial(
            trial.parameters,
            None if trial.value is None else (trial.value - mean) / (spread or 1.0),
        )
        for trial in job
    ]


def past(store: Store, job: Resource, definition: Definition) -> Past:
    """Return what the parents of a tuning job found.

    Parameters
    ----------
    store
        Where their training jobs are; the parents themselves may be deleted by now.
    job
        The tuning job.
    definition
        Its definition.
    """
    best: tuple[float, Resource, str] | None = None
    names = [parameter.name for parameter in definition.parameters]
    found = []
    for parent in job.private["parents"]:
        children = trials.children_of(store, parent["arn"], parent["folder"])
        kept = []
        for child in children:
            if (value := trials.objective(child)) is None:
                continue
            if best is None or trials.is_better(value, best[0], definition.objective["Type"]):
                best = value, child, parent["name"]
            given = child.document["HyperParameters"]
            if all(parameter.holds(given[parameter.name]) for parameter in definition.parameters):
                kept.append(Trial({name: given[name] for name in names}, value))
        found.append(tuple(kept))
    comparable = job.document.get("WarmStartConfig", {}).get("WarmStartType") == IDENTICAL
    summary = None if best is None else {**trials.summary(best[1]), "TuningJobName": best[2]}
    return Past(comparable, tuple(found), summary)
