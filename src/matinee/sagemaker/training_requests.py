"""What CreateTrainingJob takes, and the job it makes.

A tuning job's children come through here too. What this version cannot do (several instances, Pipe
and FastFile mode, file systems, checkpoints, debugger rules ..) is refused by name when the job is
created; what only data can tell fails the job after its start, as on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from matinee.sagemaker import algorithms
from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.objects import join_uri, parse_uri
from matinee.sagemaker.states import TRAINING_JOB, State
from matinee.sagemaker.store import Resource

DEFAULT_RUNTIME_SECONDS = 24 * 3600
MAX_RUNTIME_SECONDS = 28 * 24 * 3600

_UNSUPPORTED = frozenset(
    {
        "CheckpointConfig",
        "DebugRuleConfigurations",
        "MlflowConfig",
        "ModelPackageConfig",
        "ProfilerRuleConfigurations",
        "RemoteDebugConfig",
        "RetryStrategy",
        "ServerlessJobConfig",
        "SessionChainingConfig",
        "TensorBoardOutputConfig",
    }
)
_UNSUPPORTED_OF_ALGORITHM = frozenset(
    {"ContainerArguments", "ContainerEntrypoint", "TrainingImageConfig"}
)
_UNSUPPORTED_OF_RESOURCES = frozenset(
    {"InstanceGroups", "InstancePlacementConfig", "InstancePreferences", "TrainingPlanArn"}
)


def refuse(where: str, members: Collection[str], unsupported: Collection[str]) -> None:
    """Refuse members that this version would have to ignore.

    Raises
    ------
    ValidationException
        Some are there; it names them.
    """
    if found := sorted(set(members) & set(unsupported)):
        raise ValidationException(f"not implemented by matinee: {where} with {', '.join(found)}")


def check_s3_uri(member: str, uri: str) -> None:
    """Refuse what is not ``s3://bucket/..``.

    Raises
    ------
    ValidationException
    """
    try:
        parse_uri(uri)
    except ValueError as error:
        raise ValidationException(f"{member}: {error}") from error


def find_algorithm(context: Context, image: str) -> Algorithm:
    """Return the algorithm of an image.

    Raises
    ------
    ValidationException
        Its repository is not registered.
    """
    try:
        return algorithms.find(context.algorithms, image)
    except algorithms.UnknownImageError as error:
        raise ValidationException(str(error)) from error


def check(context: Context, request: Mapping[str, Any]) -> Algorithm:
    """Check a request beyond what the service's model says, and return its algorithm.

    Raises
    ------
    ValidationException
        It can be seen now that the job cannot run here, or not on AWS.
    """
    refuse("a training job", request, _UNSUPPORTED)
    algorithm = _check_algorithm(context, request)
    _check_resources(request.get("ResourceConfig", {}))
    check_s3_uri("OutputDataConfig.S3OutputPath", request["OutputDataConfig"]["S3OutputPath"])
    if request["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        raise ValidationException(
            "not implemented by matinee: OutputDataConfig with CompressionType NONE"
        )
    _check_channels(request.get("InputDataConfig", ()))
    runtime = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 1)
    if runtime > MAX_RUNTIME_SECONDS:
        raise ValidationException(
            f"StoppingCondition.MaxRuntimeInSeconds {runtime} is over {MAX_RUNTIME_SECONDS} "
            "(28 days)"
        )
    return algorithm


def _check_algorithm(context: Context, request: Mapping[str, Any]) -> Algorithm:
    specification = request.get("AlgorithmSpecification", {})
    if "TrainingImage" not in specification:
        raise ValidationException(
            "AlgorithmSpecification must name a TrainingImage; matinee has no algorithm resources"
        )
    refuse("AlgorithmSpecification", specification, _UNSUPPORTED_OF_ALGORITHM)
    _check_file_mode("AlgorithmSpecification.TrainingInputMode", specification["TrainingInputMode"])
    image = specification["TrainingImage"]
    algorithm = find_algorithm(context, image)
    if not algorithm.train:
        raise ValidationException(f"The image {image!r} is registered without a train command.")
    definitions = specification.get("MetricDefinitions", ())
    if definitions and algorithm.metric_definitions:
        raise ValidationException(
            "You can't override the metric definitions for Amazon SageMaker algorithms. "
            "Please retry the request without specifying metric definitions."
        )
    _check_definitions(definitions)
    return algorithm


def _check_definitions(definitions: Sequence[Mapping[str, str]]) -> None:
    for definition in definitions:
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise ValidationException(
                f"Regex {definition['Regex']!r} of metric {definition['Name']!r} "
                f"is not a regular expression: {error}"
            ) from error


def _check_file_mode(member: str, mode: str) -> None:
    if mode != "File":
        raise ValidationException(f"not implemented by matinee: {member} {mode}; use File")


def _check_resources(resources: Mapping[str, Any]) -> None:
    refuse("ResourceConfig", resources, _UNSUPPORTED_OF_RESOURCES)
    for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if member not in resources:
            raise ValidationException(f"ResourceConfig must have {member}")
    if (count := resources["InstanceCount"]) != 1:
        raise ValidationException(
            f"ResourceConfig.InstanceCount {count}: matinee trains on one instance"
        )


def _check_channels(channels: Sequence[Mapping[str, Any]]) -> None:
    names = [channel["ChannelName"] for channel in channels]
    for name, channel in zip(names, channels, strict=True):
        where = f"channel {name!r}"
        if names.count(name) > 1:
            raise ValidationException(f"{where} is there twice; the names of channels are unique")
        if name in {".", ".."}:
            raise ValidationException(f"{where} cannot be the name of a folder")
        refuse(where, channel, {"ShuffleConfig"})
        refuse(f"{where}: DataSource", channel["DataSource"], _OTHER_SOURCES)
        _check_file_mode(f"{where}: InputMode", channel.get("InputMode", "File"))
        for member in ("CompressionType", "RecordWrapperType"):
            if channel.get(member, "None") != "None":
                raise ValidationException(
                    f"{where}: {member} {channel[member]} is for Pipe input mode; in File mode "
                    "leave it unset or set it to None"
                )
        if "S3DataSource" not in channel["DataSource"]:
            raise ValidationException(f"{where} must have an S3DataSource")
        _check_source(where, channel["DataSource"]["S3DataSource"])


_OTHER_SOURCES = {"FileSystemDataSource", "DatasetSource"}


def _check_source(where: str, source: Mapping[str, Any]) -> None:
    check_data_type(where, source["S3DataType"])
    check_s3_uri(f"{where}: S3Uri", source["S3Uri"])
    refuse(where, source, {"InstanceGroupNames", "ModelAccessConfig", "HubAccessConfig"})


def check_data_type(where: str, data_type: str) -> None:
    """Refuse kinds of data source this version cannot read.

    Raises
    ------
    ValidationException
    """
    if data_type not in {"S3Prefix", "ManifestFile"}:
        raise ValidationException(
            f"not implemented by matinee: {where} with S3DataType {data_type}; "
            "use S3Prefix or ManifestFile"
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
        **{member: value for member, value in request.items() if member != "Tags"},
        "TrainingJobArn": arn,
        "ModelArtifacts": {
            "S3ModelArtifacts": join_uri(output["S3OutputPath"], f"{name}/output/model.tar.gz")
        },
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
        document["InputDataConfig"] = [_with_defaults(item) for item in request["InputDataConfig"]]
    kept = {
        "folder": context.new_id(),
        "hosts": ["algo-1"],
        **private,
    }
    status = State.STARTING.status
    return Resource(TRAINING_JOB.name, name, arn, status, now, now, document, kept, parent)


def _with_defaults(channel: Mapping[str, Any]) -> dict[str, Any]:
    source = channel["DataSource"]["S3DataSource"]
    return {
        "CompressionType": "None",
        "RecordWrapperType": "None",
        **channel,
        "DataSource": {"S3DataSource": {"S3DataDistributionType": "FullyReplicated", **source}},
    }
