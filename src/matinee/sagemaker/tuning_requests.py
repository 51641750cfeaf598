"""What CreateHyperParameterTuningJob takes, the job it makes, and that job's training jobs.

What this version cannot do (Grid and Hyperband, several training job definitions, warm start,
completion criteria ..) is refused by name when the job is created, as is everything its training
jobs would be refused for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import search, training_requests
from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.states import TUNING_JOB, State
from matinee.sagemaker.store import Resource
from matinee.sagemaker.training_requests import refuse
from matinee.sagemaker.trials import OBJECTIVE_DEFINITION

OBJECTIVE_PARAMETER = "_tuning_objective_metric"

STRATEGIES = ("Bayesian", "Random")
_NOT_IN_TRAINING = {"DefinitionName", "StaticHyperParameters"}


def check(context: Context, request: Mapping[str, Any]) -> Algorithm:
    """Check a request beyond what the service's model says, and return its algorithm.

    Raises
    ------
    ValidationException
        It can be seen now that the job cannot run here, or not on AWS.
    """
    refuse("a tuning job", request, {"TrainingJobDefinitions", "WarmStartConfig", "Autotune"})
    config, definition = request["HyperParameterTuningJobConfig"], _definition(request)
    for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        if member not in config:
            raise ValidationException(f"HyperParameterTuningJobConfig must have {member}")
    _check_config(config)
    child = child_request(definition, config, "child", {})
    algorithm = training_requests.check(context, child)
    _check_objective(config["HyperParameterTuningJobObjective"], definition, algorithm)
    _check_ranges(config, definition, algorithm)
    return algorithm


def _definition(request: Mapping[str, Any]) -> Mapping[str, Any]:
    if "TrainingJobDefinition" not in request:
        raise ValidationException("The request must have a TrainingJobDefinition")
    definition: Mapping[str, Any] = request["TrainingJobDefinition"]
    refuse(
        "TrainingJobDefinition",
        definition,
        {"HyperParameterTuningResourceConfig", "HyperParameterRanges", "TuningObjective"},
    )
    return definition


def _check_config(config: Mapping[str, Any]) -> None:
    strategy, limits = config["Strategy"], config["ResourceLimits"]
    if strategy not in STRATEGIES:
        raise ValidationException(
            f"not implemented by matinee: Strategy {strategy}; use {' or '.join(STRATEGIES)}"
        )
    refuse(
        "HyperParameterTuningJobConfig", config, {"StrategyConfig", "TuningJobCompletionCriteria"}
    )
    refuse("ResourceLimits", limits, {"MaxRuntimeInSeconds"})
    if config["ParameterRanges"].get("AutoParameters"):
        raise ValidationException("not implemented by matinee: ParameterRanges.AutoParameters")
    if "MaxNumberOfTrainingJobs" not in limits:
        raise ValidationException(
            f"ResourceLimits must have MaxNumberOfTrainingJobs for the {strategy} strategy"
        )


def _check_objective(
    objective: Mapping[str, str], definition: Mapping[str, Any], algorithm: Algorithm
) -> None:
    specification = definition["AlgorithmSpecification"]
    metric, direction = objective["MetricName"], objective["Type"]
    if algorithm.objectives is None:
        if metric not in {item["Name"] for item in specification.get("MetricDefinitions", ())}:
            raise ValidationException(
                "A metric is required for this hyperparameter tuning job objective. "
                f"Provide a metric in the metric definitions: {metric!r} has none."
            )
    elif metric not in algorithm.objectives:
        raise ValidationException(
            f"The objective metric for the hyperparameter tuning job, [{metric}], isn't valid for "
            f"the [{specification['TrainingImage']}] algorithm. Choose a valid objective metric: "
            f"{', '.join(algorithm.objectives)}"
        )
    elif algorithm.objectives[metric] != direction:
        raise ValidationException(
            f"The objective metric type, [{direction}], that you specified for objective metric "
            f"[{metric}] isn't valid for the [{specification['TrainingImage']}] algorithm. "
            f"Choose {algorithm.objectives[metric]}."
        )


def _check_ranges(
    config: Mapping[str, Any], definition: Mapping[str, Any], algorithm: Algorithm
) -> None:
    try:
        parameters = search.space(config["ParameterRanges"])
    except search.RangeError as error:
        raise ValidationException(str(error)) from error
    names = {parameter.name for parameter in parameters}
    if not names:
        raise ValidationException("ParameterRanges must have a range")
    if algorithm.tunable is not None and (untunable := sorted(names - algorithm.tunable)):
        image = definition["AlgorithmSpecification"]["TrainingImage"]
        raise ValidationException(
            "The hyperparameter tuning job you requested has the following untunable "
            f"hyperparameters: [{', '.join(untunable)}]. For the algorithm, {image}, you can tune "
            f"only [{', '.join(sorted(algorithm.tunable))}]. Delete untunable hyperparameters."
        )
    if both := sorted(names & definition.get("StaticHyperParameters", {}).keys()):
        raise ValidationException(f"hyperparameters {both} are both static and have a range")
    wanted = config["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    if (possible := search.combinations(parameters)) < wanted:
        raise ValidationException(
            "You don't have enough combinations of hyperparameter ranges. The total number of "
            f"hyperparameter combinations for the provided ranges [{float(possible)}] must be "
            f"equal or greater than the value of MaxNumberOfJobs, [{wanted}]. "
            "Provide additional ranges."
        )


def child_request(
    definition: Mapping[str, Any],
    config: Mapping[str, Any],
    name: str,
    tuned: Mapping[str, str],
) -> dict[str, Any]:
    """Return the CreateTrainingJob request of one trial."""
    return {
        **{member: value for member, value in definition.items() if member not in _NOT_IN_TRAINING},
        "TrainingJobName": name,
        "HyperParameters": {**_static(definition, config), **tuned},
    }


def _static(definition: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    return {**definition.get("StaticHyperParameters", {}), OBJECTIVE_PARAMETER: objective}


def objective_definition(
    config: Mapping[str, Any], definition: Mapping[str, Any], algorithm: Algorithm
) -> dict[str, str]:
    """Return the metric definition that takes the objective's value from a training job's log."""
    definitions = algorithm.metric_definitions or definition["AlgorithmSpecification"].get(
        "MetricDefinitions", ()
    )
    metric = config["HyperParameterTuningJobObjective"]["MetricName"]
    patterns = {item["Name"]: item["Regex"] for item in definitions}
    return {"Name": OBJECTIVE_DEFINITION, "Regex": patterns[metric]}


def new_job(context: Context, request: Mapping[str, Any], algorithm: Algorithm) -> Resource:
    """Return the tuning job of a checked request, ready for the store.

    Parameters
    ----------
    context
        The server's surroundings.
    request
        As CreateHyperParameterTuningJob gets it.
    algorithm
        What ``check`` returned for it.
    """
    name, now = request["HyperParameterTuningJobName"], context.clock()
    arn = context.arn(f"hyper-parameter-tuning-job/{name}")
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    # The definition is described as its training jobs are: with every default filled in.
    child = training_requests.new_job(
        context,
        child_request(definition, config, name, {}),
        algorithm,
        more_definitions=[objective_definition(config, definition, algorithm)],
    ).document
    filled = (
        "AlgorithmSpecification",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
        "EnableNetworkIsolation",
        "InputDataConfig",
        "OutputDataConfig",
        "StoppingCondition",
    )
    document = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobConfig": {"TrainingJobEarlyStoppingType": "Off", **config},
        "TrainingJobDefinition": {
            **definition,
            **{member: child[member] for member in filled if member in child},
            "StaticHyperParameters": _static(definition, config),
        },
        "HyperParameterTuningJobStatus": State.IN_PROGRESS.status,
        "CreationTime": now,
        "LastModifiedTime": now,
        "TrainingJobStatusCounters": {
            "Completed": 0,
            "InProgress": 0,
            "RetryableError": 0,
            "NonRetryableError": 0,
            "Stopped": 0,
        },
        "ObjectiveStatusCounters": {"Succeeded": 0, "Pending": 0, "Failed": 0},
    }
    private = {
        "folder": context.new_id(),
        "seed": config.get("RandomSeed", int(context.new_id(), 16)),
        # As it was sent: the described one would be refused as overriding metric definitions.
        "definition": definition,
    }
    status = State.IN_PROGRESS.status
    return Resource(TUNING_JOB.name, name, arn, status, now, now, document, private)
