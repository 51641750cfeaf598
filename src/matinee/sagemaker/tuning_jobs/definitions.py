"""A tuning job's training job definitions: what each of them trains, varies and is judged by.

A tuning job has one TrainingJobDefinition, judged by the objective and varied by the ranges of its
HyperParameterTuningJobConfig, or several TrainingJobDefinitions, each with its own. Everything
else of tuning sees only what is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker import algorithms
from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.data.objects import join_uri
from matinee.sagemaker.tuning_jobs import ranges
from matinee.sagemaker.tuning_jobs.ranges import Parameter

# The metric of a training job that is its tuning job's objective.
OBJECTIVE_METRIC = "ObjectiveMetric"
# The hyperparameter that tells a training job of a tuning job what it is judged by.
OBJECTIVE_PARAMETER = "_tuning_objective_metric"
# A metric of this name and suffix has the objective's value after each epoch.
_EACH_EPOCH = ":epoch"
_NOT_IN_TRAINING = {
    "DefinitionName",
    "HyperParameterRanges",
    "HyperParameterTuningResourceConfig",
    "StaticHyperParameters",
    "TuningObjective",
}


@dataclass(frozen=True, slots=True)
class Definition:
    """One training job definition.

    Attributes
    ----------
    request
        The HyperParameterTrainingJobDefinition as it was sent.
    objective
        Type and MetricName of what its training jobs are judged by.
    parameters
        The hyperparameters to vary.
    """

    request: Mapping[str, Any]
    objective: Mapping[str, str]
    parameters: tuple[Parameter, ...]

    @property
    def name(self) -> str | None:
        """Its DefinitionName."""
        return self.request.get("DefinitionName")

    @property
    def image(self) -> str:
        """The training image."""
        image: str = self.request["AlgorithmSpecification"]["TrainingImage"]
        return image

    def algorithm(self, registered: Mapping[str, Algorithm]) -> Algorithm:
        """Return the algorithm of the training image.

        Raises
        ------
        UnknownImageError
            Its repository is not registered.
        """
        return algorithms.find(registered, self.image)

    @property
    def statics(self) -> dict[str, str]:
        """The hyperparameters that all its training jobs have, the objective's name among them."""
        given = self.request.get("StaticHyperParameters", {})
        return {**given, OBJECTIVE_PARAMETER: self.objective["MetricName"]}

    def training_job(self, name: str, tuned: Mapping[str, str]) -> dict[str, Any]:
        """Return the CreateTrainingJob request of one trial."""
        kept = {m: value for m, value in self.request.items() if m not in _NOT_IN_TRAINING}
        if "HyperParameterTuningResourceConfig" in self.request:
            kept["ResourceConfig"] = _resources(self.request["HyperParameterTuningResourceConfig"])
        if "CheckpointConfig" in self.request:
            checkpoints = self.request["CheckpointConfig"]
            # Each has its own, or trials would go on from one another's.
            uri = join_uri(checkpoints["S3Uri"], name)
            kept["CheckpointConfig"] = {**checkpoints, "S3Uri": uri}
        return {**kept, "TrainingJobName": name, "HyperParameters": {**self.statics, **tuned}}

    def objective_metrics(self, algorithm: Algorithm) -> list[dict[str, str]]:
        """Return the metric definitions that take the objective's value from a training job's log.

        Where the algorithm also writes it after each epoch, as a metric of its own, that one comes
        first: the value at the end is still the last.
        """
        own = self.request["AlgorithmSpecification"].get("MetricDefinitions", ())
        patterns = {item["Name"]: item["Regex"] for item in algorithm.metric_definitions or own}
        metric = self.objective["MetricName"]
        names = [name for name in (metric + _EACH_EPOCH, metric) if name in patterns]
        return [{"Name": OBJECTIVE_METRIC, "Regex": patterns[name]} for name in names]


def _resources(tuned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ResourceConfig of a training job; every instance is this machine, so the first."""
    alternatives = tuned.get("InstanceConfigs", [{}])
    shared = {m: v for m, v in tuned.items() if m not in {"AllocationStrategy", "InstanceConfigs"}}
    return {**shared, **alternatives[0]}


def requested(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the definitions of a CreateHyperParameterTuningJob request, however it has them."""
    if "TrainingJobDefinitions" in request:
        return list(request["TrainingJobDefinitions"])
    return [request["TrainingJobDefinition"]] if "TrainingJobDefinition" in request else []


def read(config: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> list[Definition]:
    """Return a tuning job's definitions.

    Parameters
    ----------
    config
        Its HyperParameterTuningJobConfig.
    requests
        Its HyperParameterTrainingJobDefinitions, with objective and ranges here or in the config.

    Raises
    ------
    ranges.RangeError
        A range breaks a rule.
    """
    return [
        Definition(
            request,
            request.get("TuningObjective") or config["HyperParameterTuningJobObjective"],
            tuple(
                ranges.space(
                    request.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
                )
            ),
        )
        for request in requests
    ]


def next_one(counts: Sequence[int], capacities: Sequence[float]) -> int:
    """Return the number of the definition whose turn it is: one with the fewest trials so far.

    One that has had all it can have is passed over, unless all have.

    Parameters
    ----------
    counts
        How many trials each has had.
    capacities
        How many different trials each can have.
    """
    return min(
        range(len(counts)),
        key=lambda number: (counts[number] >= capacities[number], counts[number], number),
    )
