"""What CreateTrainingJob takes, and the job it makes.

A tuning job's children come through here too. What matinee cannot do (file systems, debugger rules,
training plans ..) is refused by name when the job is created; what only data can tell fails the job
after its start, as on AWS. A managed spot job is never interrupted here, and a warm pool keeps
nothing warm: both are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ResourceLimitExceeded, ValidationException
from matinee.sagemaker.machine import hosts
from matinee.sagemaker.requests import (
    check_isolation,
    check_s3_uri,
    find_algorithm,
    find_command,
    refuse,
)
from matinee.sagemaker.states import TRAINING_JOB, State
from matinee.sagemaker.store import Resource
from matinee.sagemaker.training_jobs import artifacts
from matinee.sagemaker.training_jobs.channel_requests import check_channels, with_defaults
from matinee.sagemaker.training_jobs.training_inputs import CHECKPOINT_FOLDER

DEFAULT_RUNTIME_SECONDS = 24 * 3600
MAX_RUNTIME_SECONDS = 28 * 24 * 3600

_UNSUPPORTED = frozenset(
    {
        "DebugRuleConfigurations",
        "MlflowConfig",
        "ModelPackageConfig",
        "ProfilerRuleConfigurations",
        "ServerlessJobConfig",
        "TensorBoardOutputConfig",
    }
)
# These change nothing as long as they are switched off.
_SWITCHES = {
    "RemoteDebugConfig": "EnableRemoteDebug",
    "SessionChainingConfig": "EnableSessionTagChaining",
}
_NOT_DESCRIBED = frozenset({"Tags", "SessionChainingConfig"})
_UNSUPPORTED_OF_RESOURCES = frozenset(
    {"InstancePlacementConfig", "InstancePreferences", "TrainingPlanArn"}
)
_OTHERS_FOLDERS = ("/opt/ml/input", "/opt/ml/model", "/opt/ml/output")


def check(context: Context, request: Mapping[str, Any]) -> Algorithm:
    """Check a request beyond what the service's model says, and return its algorithm.

    Raises
    ------
    ValidationException
        It can be seen now that the job cannot run here, or not on AWS.
    ResourceLimitExceeded
        It asks for more instances than a job may have.
    """
    refuse("a training job", request, _UNSUPPORTED)
    for member, switch in _SWITCHES.items():
        refuse(member, {name for name, on in request.get(member, {}).items() if on}, {switch})
    resources = request.get("ResourceConfig", {})
    _check_resources(resources)
    algorithm = _check_algorithm(context, request)
    check_s3_uri("OutputDataConfig.S3OutputPath", request["OutputDataConfig"]["S3OutputPath"])
    check_channels(
        request.get("InputDataConfig", ()),
        request["AlgorithmSpecification"]["TrainingInputMode"],
        [group["instance_group_name"] for group in hosts.groups(resources)],
    )
    if "CheckpointConfig" in request:
        _check_checkpoints(request["CheckpointConfig"])
    _check_times(request)
    return algorithm


def _check_algorithm(context: Context, request: Mapping[str, Any]) -> Algorithm:
    specification = request.get("AlgorithmSpecification", {})
    if "TrainingImage" not in specification:
        raise ValidationException(
            "AlgorithmSpecification must name a TrainingImage; matinee has no algorithm resources"
        )
    refuse("AlgorithmSpecification", specification, {"TrainingImageConfig"})
    image = specification["TrainingImage"]
    algorithm = find_algorithm(context, image)
    command = find_command(algorithm, "train", image, specification)
    definitions = specification.get("MetricDefinitions", ())
    if definitions and algorithm.metric_definitions:
        raise ValidationException(
            "You can't override the metric definitions for Amazon SageMaker algorithms. "
            "Please retry the request without specifying metric definitions."
        )
    _check_definitions(definitions)
    if request.get("EnableNetworkIsolation", False):
        check_isolation(command, len(hosts.names(request["ResourceConfig"])))
    return algorithm


def _check_definitions(definitions: Sequence[Mapping[str, str]]) -> None:
    for definition in definitions:
        try:
            re.compile(definition["Regex"])
        except (re.error, OverflowError) as error:
            raise ValidationException(
                f"Regex {definition['Regex']!r} of metric {definition['Name']!r} "
                f"is not a regular expression: {error}"
            ) from error


def _check_resources(resources: Mapping[str, Any]) -> None:
    refuse("ResourceConfig", resources, _UNSUPPORTED_OF_RESOURCES)
    alone = {"InstanceType", "InstanceCount"}
    groups = resources.get("InstanceGroups", ())
    if groups:
        if found := sorted(alone & resources.keys()):
            raise ValidationException(
                f"ResourceConfig has InstanceGroups and {' and '.join(found)}; use one or the other"
            )
        names = [group["InstanceGroupName"] for group in groups]
        if len(set(names)) < len(names):
            raise ValidationException(
                f"ResourceConfig.InstanceGroups has two groups of one name: {names}"
            )
    elif missing := sorted(alone - resources.keys()):
        raise ValidationException(f"ResourceConfig must have {' and '.join(missing)}")
    for place in groups or [resources]:
        if place["InstanceCount"] < 1:
            raise ValidationException(f"InstanceCount {place['InstanceCount']} is below 1")
    count = sum(place["InstanceCount"] for place in groups or [resources])
    if count > hosts.MAX_HOSTS:
        raise ResourceLimitExceeded(
            f"The job asks for {count} instances; a training job has at most {hosts.MAX_HOSTS}"
        )


def _check_checkpoints(configuration: Mapping[str, str]) -> None:
    check_s3_uri("CheckpointConfig.S3Uri", configuration["S3Uri"])
    local = PurePosixPath(configuration.get("LocalPath", CHECKPOINT_FOLDER))
    is_inside = local.is_relative_to("/opt/ml") and local != PurePosixPath("/opt/ml")
    if not is_inside or ".." in local.parts:
        raise ValidationException(
            f"not implemented by matinee: CheckpointConfig.LocalPath {str(local)!r} outside of "
            "/opt/ml"
        )
    if any(local.is_relative_to(folder) for folder in _OTHERS_FOLDERS):
        raise ValidationException(
            f"CheckpointConfig.LocalPath {str(local)!r} is in a folder that has another purpose"
        )


def _check_times(request: Mapping[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    runtime = condition.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS)
    if runtime > MAX_RUNTIME_SECONDS:
        raise ValidationException(
            f"StoppingCondition.MaxRuntimeInSeconds {runtime} is over {MAX_RUNTIME_SECONDS} "
            "(28 days)"
        )
    wait = condition.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining", False):
        if wait is not None:
            raise ValidationException(
                f"StoppingCondition.MaxWaitTimeInSeconds {wait} is for jobs with "
                "EnableManagedSpotTraining"
            )
    elif wait is None or wait < runtime:
        raise ValidationException(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )


def new_job(
    context: Context,
    request: Mapping[str, Any],
    algorithm: Algorithm,
    *,
    more_definitions: Sequence[Mapping[str, str]] = (),
    described: Mapping[str, Any] = MappingProxyType({}),
    private: Mapping[str, Any] = MappingProxyType({}),
    parent: str = "",
) -> Resource:
    """Return the training job of a checked request, ready for the store.

    Parameters
    ----------
    context
        The server's surroundings.
    request
        As CreateTrainingJob gets it.
    algorithm
        What ``check`` returned for it.
    more_definitions
        MetricDefinitions besides the algorithm's and the request's.
    described, private
        Further members of its description and of what is kept about it.
    parent
        ARN of the tuning job it belongs to.
    """
    name, now = request["TrainingJobName"], context.clock()
    arn = context.arn(f"training-job/{name}")
    output = request["OutputDataConfig"]
    specification = request["AlgorithmSpecification"]
    definitions = algorithm.metric_definitions or specification.get("MetricDefinitions", ())
    message = "Starting the training job"
    document = {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        "HyperParameters": {},
        **{member: value for member, value in request.items() if member not in _NOT_DESCRIBED},
        "TrainingJobArn": arn,
        "ModelArtifacts": {"S3ModelArtifacts": artifacts.model_uri(output, name)},
        "TrainingJobStatus": State.STARTING.status,
        "SecondaryStatus": str(State.STARTING),
        "AlgorithmSpecification": {
            **specification,
            "MetricDefinitions": [*map(dict, definitions), *map(dict, more_definitions)],
        },
        # The SDK reads the key of every job it attaches to.
        "OutputDataConfig": {"KmsKeyId": "", **output},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS,
            **request.get("StoppingCondition", {}),
        },
        "CreationTime": now,
        "LastModifiedTime": now,
        "SecondaryStatusTransitions": [
            {"Status": str(State.STARTING), "StartTime": now, "StatusMessage": message}
        ],
        **described,
    }
    if "InputDataConfig" in request:
        document["InputDataConfig"] = [with_defaults(item) for item in request["InputDataConfig"]]
    kept = {
        "folder": context.new_id(),
        "hosts": hosts.names(request["ResourceConfig"]),
        # By which its hosts know each other.
        "secret": context.new_id(),
        **private,
    }
    status = State.STARTING.status
    return Resource(TRAINING_JOB.name, name, arn, status, now, now, document, kept, parent)
