"""What CreateHyperParameterTuningJob takes, and the tuning job it makes.

What matinee cannot do (Autotune and its AutoParameters) is refused by name when the job is
created, as is everything its training jobs would be refused for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.requests import refuse
from matinee.sagemaker.states import TUNING_JOB, State
from matinee.sagemaker.store import Resource
from matinee.sagemaker.training_jobs import training_requests
from matinee.sagemaker.tuning_jobs import definitions, early_stopping, trials, warm_start
from matinee.sagemaker.tuning_jobs.definitions import Definition
from matinee.sagemaker.tuning_jobs.ranges import Choice, RangeError, combinations

# Of AWS's model and quotas, for all ranges of a definition together, and with its statics.
_MOST_TUNED = 30
_MOST_HYPERPARAMETERS = 100
_AUTO = {"AutoParameters"}


def check(context: Context, request: Mapping[str, Any]) -> list[Definition]:
    """Check a request beyond what the service's model says, and return its definitions.

    Raises
    ------
    ValidationException
        It can be seen now that the job cannot run here, or not on AWS.
    """
    refuse("a tuning job", request, {"Autotune"})
    config = request["HyperParameterTuningJobConfig"]
    _check_members(request, config)
    for ranges in (config.get("ParameterRanges", {}), *_own_ranges(request)):
        refuse("ParameterRanges", [name for name, value in ranges.items() if value], _AUTO)
    try:
        found = definitions.read(config, definitions.requested(request))
    except RangeError as error:
        raise ValidationException(str(error)) from error
    for definition in found:
        algorithm = _check_definition(context, definition)
        _check_parameters(definition, algorithm, config["Strategy"])
    if len({definition.objective["Type"] for definition in found}) > 1:
        raise ValidationException(
            "The objectives of TrainingJobDefinitions must have one Type: all are minimized, or "
            "all maximized"
        )
    _check_limits(config, found)
    _check_stopping(config, found)
    if "WarmStartConfig" in request:
        warm_start.check(context, request, found)
    return found


def _own_ranges(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item.get("HyperParameterRanges", {}) for item in definitions.requested(request)]


def _check_members(request: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Objective and ranges belong to the config of one definition, or to each of several."""
    requests = definitions.requested(request)
    if not requests:
        raise ValidationException(
            "The request must have a TrainingJobDefinition or TrainingJobDefinitions"
        )
    if "TrainingJobDefinition" in request and "TrainingJobDefinitions" in request:
        raise ValidationException(
            "The request must have TrainingJobDefinition or TrainingJobDefinitions, not both"
        )
    shared = ("HyperParameterTuningJobObjective", "ParameterRanges")
    own = ("DefinitionName", "TuningObjective", "HyperParameterRanges")
    if "TrainingJobDefinition" in request:
        _require("HyperParameterTuningJobConfig", config, shared)
        _exclude("TrainingJobDefinition", requests[0], own[1:], "HyperParameterTuningJobConfig")
        return
    _exclude("HyperParameterTuningJobConfig", config, shared, "each of TrainingJobDefinitions")
    names = []
    for definition in requests:
        _require("each of TrainingJobDefinitions", definition, own)
        names.append(definition["DefinitionName"])
    if len(set(names)) < len(names):
        raise ValidationException(f"DefinitionName must be unique, unlike those of {names}")


def _require(where: str, members: Mapping[str, Any], wanted: Sequence[str]) -> None:
    for member in wanted:
        if member not in members:
            raise ValidationException(f"{where} must have {member}")


def _exclude(
    where: str, members: Mapping[str, Any], unwanted: Sequence[str], rightful: str
) -> None:
    for member in unwanted:
        if member in members:
            raise ValidationException(f"{member} does not belong to {where}, but to {rightful}")


def _check_definition(context: Context, definition: Definition) -> Algorithm:
    request = definition.request
    if tuned := request.get("HyperParameterTuningResourceConfig"):
        if "ResourceConfig" in request:
            raise ValidationException(
                "A training job definition must have ResourceConfig or "
                "HyperParameterTuningResourceConfig, not both"
            )
        if "InstanceConfigs" in tuned:
            _exclude(
                "HyperParameterTuningResourceConfig with InstanceConfigs",
                tuned,
                ("InstanceType", "InstanceCount", "VolumeSizeInGB"),
                "each of InstanceConfigs",
            )
    return training_requests.check(context, definition.training_job("child", {}))


def _check_parameters(definition: Definition, algorithm: Algorithm, strategy: str) -> None:
    _check_objective(definition, algorithm)
    names = {parameter.name for parameter in definition.parameters}
    if not names:
        raise ValidationException("ParameterRanges must have a range")
    if algorithm.tunable is not None and (untunable := sorted(names - algorithm.tunable)):
        raise ValidationException(
            "The hyperparameter tuning job you requested has the following untunable "
            f"hyperparameters: [{', '.join(untunable)}]. For the algorithm, {definition.image}, "
            f"you can tune only [{', '.join(sorted(algorithm.tunable))}]. Delete untunable "
            "hyperparameters."
        )
    if both := sorted(names & definition.statics.keys()):
        raise ValidationException(f"hyperparameters {both} are both static and have a range")
    if len(names) > _MOST_TUNED:
        raise ValidationException(
            f"{len(names)} hyperparameters have a range; at most {_MOST_TUNED} can"
        )
    if (total := len(names) + len(definition.statics)) > _MOST_HYPERPARAMETERS:
        raise ValidationException(
            f"{total} hyperparameters, static ones and those with a range, are more than "
            f"{_MOST_HYPERPARAMETERS}"
        )
    numbers = [item.name for item in definition.parameters if not isinstance(item, Choice)]
    if strategy == "Grid" and numbers:
        raise ValidationException(
            "The Grid strategy is for categorical hyperparameters only; these are not: "
            f"{', '.join(numbers)}"
        )


def _check_objective(definition: Definition, algorithm: Algorithm) -> None:
    specification = definition.request["AlgorithmSpecification"]
    metric, direction = definition.objective["MetricName"], definition.objective["Type"]
    if algorithm.objectives is None:
        if metric not in {item["Name"] for item in specification.get("MetricDefinitions", ())}:
            raise ValidationException(
                "A metric is required for this hyperparameter tuning job objective. "
                f"Provide a metric in the metric definitions: {metric!r} has none."
            )
    elif metric not in algorithm.objectives:
        raise ValidationException(
            f"The objective metric for the hyperparameter tuning job, [{metric}], isn't valid for "
            f"the [{definition.image}] algorithm. Choose a valid objective metric: "
            f"{', '.join(algorithm.objectives)}"
        )
    elif algorithm.objectives[metric] != direction:
        raise ValidationException(
            f"The objective metric type, [{direction}], that you specified for objective metric "
            f"[{metric}] isn't valid for the [{definition.image}] algorithm. "
            f"Choose {algorithm.objectives[metric]}."
        )


def _check_limits(config: Mapping[str, Any], found: Sequence[Definition]) -> None:
    strategy, wanted = config["Strategy"], config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    possible = sum(combinations(definition.parameters) for definition in found)
    if strategy == "Grid":
        if wanted not in {None, possible}:
            raise ValidationException(
                f"ResourceLimits.MaxNumberOfTrainingJobs, [{wanted}], must be the number of "
                f"combinations of the Grid strategy, [{int(possible)}], or be left out"
            )
    elif wanted is None:
        raise ValidationException(
            f"ResourceLimits must have MaxNumberOfTrainingJobs for the {strategy} strategy"
        )
    elif possible < wanted:
        raise ValidationException(
            "You don't have enough combinations of hyperparameter ranges. The total number of "
            f"hyperparameter combinations for the provided ranges [{float(possible)}] must be "
            f"equal or greater than the value of MaxNumberOfJobs, [{wanted}]. "
            "Provide additional ranges."
        )


def _check_stopping(config: Mapping[str, Any], found: Sequence[Definition]) -> None:
    stops_early = config.get("TrainingJobEarlyStoppingType", "Off") == "Auto"
    if config["Strategy"] != "Hyperband":
        if "StrategyConfig" in config:
            raise ValidationException(
                f"StrategyConfig is for the Hyperband strategy, not for {config['Strategy']}"
            )
        if stops_early and len(found) > 1:
            raise ValidationException(
                "TrainingJobEarlyStoppingType Auto is for tuning jobs with one training job "
                f"definition, not {len(found)}"
            )
        return
    if stops_early:
        raise ValidationException("TrainingJobEarlyStoppingType must be Off to use Hyperband")
    for definition in found:
        try:
            early_stopping.resources(config, definition.statics)
        except ValueError as error:
            raise ValidationException(str(error)) from error


def new_job(context: Context, request: Mapping[str, Any], found: Sequence[Definition]) -> Resource:
    """Return the tuning job of a checked request, ready for the store.

    Parameters
    ----------
    context
        The server's surroundings.
    request
        As CreateHyperParameterTuningJob gets it.
    found
        What ``check`` returned for it.
    """
    name, now = request["HyperParameterTuningJobName"], context.clock()
    arn = context.arn(f"hyper-parameter-tuning-job/{name}")
    config = request["HyperParameterTuningJobConfig"]
    described = [_described(context, definition) for definition in found]
    document = {
        **{member: value for member, value in request.items() if member != "Tags"},
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobConfig": {"TrainingJobEarlyStoppingType": "Off", **config},
        **(
            {"TrainingJobDefinition": described[0]}
            if "TrainingJobDefinition" in request
            else {"TrainingJobDefinitions": described}
        ),
        "HyperParameterTuningJobStatus": State.IN_PROGRESS.status,
        "CreationTime": now,
        "LastModifiedTime": now,
        "TrainingJobStatusCounters": dict(trials.NO_TRAINING_JOBS),
        "ObjectiveStatusCounters": dict(trials.NO_OBJECTIVES),
    }
    private = {
        "folder": context.new_id(),
        "seed": config.get("RandomSeed", int(context.new_id(), 16)),
        # As they were sent: described ones would be refused as overriding metric definitions.
        "definitions": [definition.request for definition in found],
        "tags": request.get("Tags", []),
        # They may be deleted while this one runs; their training jobs stay.
        "parents": [
            {"name": parent.name, "arn": parent.arn, "folder": parent.private["folder"]}
            for parent in warm_start.parents(context, request)
        ],
    }
    status = State.IN_PROGRESS.status
    return Resource(TUNING_JOB.name, name, arn, status, now, now, document, private)


_FILLED = (
    "AlgorithmSpecification",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "EnableNetworkIsolation",
    "InputDataConfig",
    "OutputDataConfig",
    # Also where HyperParameterTuningResourceConfig was sent: the SDK attaches to a job by it.
    "ResourceConfig",
    "StoppingCondition",
)


def _described(context: Context, definition: Definition) -> dict[str, Any]:
    """Return a definition as its training jobs are described: with every default filled in."""
    algorithm = definition.algorithm(context.algorithms)
    child = training_requests.new_job(
        context,
        definition.training_job("child", {}),
        algorithm,
        more_definitions=definition.objective_metrics(algorithm),
    ).document
    return {
        **definition.request,
        **{member: child[member] for member in _FILLED if member in child},
        "StaticHyperParameters": definition.statics,
    }
