"""What CreateProcessingJob takes, and the job it makes.

What matinee cannot do (feature store outputs, dataset definitions of Athena and Redshift, Pipe
mode) is refused by name when the job is created; what only data can tell fails the job after its
start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.machine import hosts
from matinee.sagemaker.requests import (
    check_isolation,
    check_s3_uri,
    find_algorithm,
    find_command,
    refuse,
)
from matinee.sagemaker.states import PROCESSING_JOB, State
from matinee.sagemaker.store import Resource

DEFAULT_RUNTIME_SECONDS = 24 * 3600
BASE = PurePosixPath("/opt/ml")
# CreateProcessingJob's documentation: paths of inputs and outputs lie below.
_LOCAL = BASE / "processing"
_INPUT_DEFAULTS = {
    "S3InputMode": "File",
    "S3DataDistributionType": "FullyReplicated",
    "S3CompressionType": "None",
}


def check(context: Context, request: Mapping[str, Any]) -> None:
    """Check a request beyond what the service's model says.

    Raises
    ------
    ValidationException
        It can be seen now that the job cannot run here, or not on AWS.
    """
    application = request["AppSpecification"]
    image = application["ImageUri"]
    command = find_command(find_algorithm(context, image), "process", image, application)
    count = _check_cluster(request["ProcessingResources"]["ClusterConfig"])
    inputs, outputs = request.get("ProcessingInputs", ()), _outputs(request)
    _refuse_twice("ProcessingInputs", "InputName", inputs)
    _refuse_twice("ProcessingOutputConfig.Outputs", "OutputName", outputs)
    for item in inputs:
        _check_input(item)
    for item in outputs:
        _check_output(item)
    if request.get("NetworkConfig", {}).get("EnableNetworkIsolation"):
        check_isolation(command, count)


def _outputs(request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    outputs: Sequence[Mapping[str, Any]] = request.get("ProcessingOutputConfig", {}).get(
        "Outputs", ()
    )
    return outputs


def _check_cluster(cluster: Mapping[str, Any]) -> int:
    refuse("ClusterConfig", cluster, {"SelectedInstanceType", "SelectedInstanceCount"})
    preferences = cluster.get("InstancePreferences", ())
    if bool(preferences) == ("InstanceType" in cluster):
        raise ValidationException(
            "ClusterConfig must have either InstanceType or InstancePreferences"
        )
    types = [item["InstanceType"] for item in preferences]
    if len(set(types)) != len(types):
        raise ValidationException("An instance type can appear only once in InstancePreferences")
    counted = [item for item in preferences if "InstanceCount" in item]
    if counted and (len(counted) < len(preferences) or "InstanceCount" in cluster):
        raise ValidationException(
            "InstanceCount must be set for every one of the InstancePreferences, or once for all "
            "of them in ClusterConfig"
        )
    if (count := _instance_count(cluster)) > hosts.MAX_HOSTS:
        raise ValidationException(
            f"ClusterConfig.InstanceCount {count} is over {hosts.MAX_HOSTS}, the most hosts that a "
            "job of matinee can have"
        )
    return count


def _instance_count(cluster: Mapping[str, Any]) -> int:
    first: Mapping[str, Any] = next(iter(cluster.get("InstancePreferences", ())), {})
    count: int = cluster.get("InstanceCount", first.get("InstanceCount", 1))
    return count


def _refuse_twice(where: str, member: str, items: Sequence[Mapping[str, Any]]) -> None:
    names = [item[member] for item in items]
    for name in names:
        if names.count(name) > 1:
            raise ValidationException(
                f"{where}: {member} {name!r} is there twice; it must be unique"
            )


def _check_input(item: Mapping[str, Any]) -> None:
    where = f"input {item['InputName']!r}"
    refuse(where, item, {"DatasetDefinition"})
    if "S3Input" not in item:
        raise ValidationException(f"{where} must have an S3Input")
    source = item["S3Input"]
    check_s3_uri(f"{where}: S3Uri", source["S3Uri"])
    if item.get("AppManaged"):
        return
    _check_local_path(where, source)
    compression = source.get("S3CompressionType", "None")
    if source.get("S3InputMode", "File") != "File":
        raise ValidationException(f"not implemented by matinee: {where} with S3InputMode Pipe")
    if compression != "None":
        raise ValidationException(
            f"{where}: S3CompressionType {compression} can only be used with S3InputMode Pipe"
        )


def _check_output(item: Mapping[str, Any]) -> None:
    where = f"output {item['OutputName']!r}"
    refuse(where, item, {"FeatureStoreOutput"})
    if "S3Output" not in item:
        raise ValidationException(f"{where} must have an S3Output")
    check_s3_uri(f"{where}: S3Uri", item["S3Output"]["S3Uri"])
    if not item.get("AppManaged"):
        _check_local_path(where, item["S3Output"])


def _check_local_path(where: str, item: Mapping[str, Any]) -> None:
    if "LocalPath" not in item:
        raise ValidationException(f"{where}: LocalPath is required when AppManaged is False")
    path = PurePosixPath(item["LocalPath"])
    if not path.is_relative_to(_LOCAL) or path == _LOCAL or ".." in path.parts or "\0" in str(path):
        raise ValidationException(
            f"{where}: LocalPath {item['LocalPath']!r} must be an absolute path that begins with "
            f"{_LOCAL}/"
        )


def new_job(context: Context, request: Mapping[str, Any]) -> Resource:
    """Return the processing job of a checked request, ready for the store."""
    name, now = request["ProcessingJobName"], context.clock()
    arn = context.arn(f"processing-job/{name}")
    cluster = request["ProcessingResources"]["ClusterConfig"]
    count = _instance_count(cluster)
    document = {
        **{member: value for member, value in request.items() if member != "Tags"},
        "ProcessingJobArn": arn,
        "ProcessingJobStatus": State.IN_PROGRESS.status,
        "ProcessingResources": {"ClusterConfig": {**cluster, **_selected(cluster, count)}},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS,
            **request.get("StoppingCondition", {}),
        },
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    if "ProcessingInputs" in request:
        document["ProcessingInputs"] = [*map(_with_defaults, request["ProcessingInputs"])]
    if "ProcessingOutputConfig" in request:
        outputs = [{"AppManaged": False, **item} for item in _outputs(request)]
        document["ProcessingOutputConfig"] = {
            **request["ProcessingOutputConfig"],
            "Outputs": outputs,
        }
    private = {
        "folder": context.new_id(),
        "hosts": hosts.numbered(1, count),
    }
    status = State.IN_PROGRESS.status
    return Resource(PROCESSING_JOB.name, name, arn, status, now, now, document, private)


def _selected(cluster: Mapping[str, Any], count: int) -> dict[str, Any]:
    if "InstancePreferences" not in cluster:
        return {"InstanceCount": count}
    # Every instance type is this machine, so the first one is to be had.
    first = cluster["InstancePreferences"][0]["InstanceType"]
    return {"SelectedInstanceType": first, "SelectedInstanceCount": count}


def _with_defaults(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"AppManaged": False, **item, "S3Input": {**_INPUT_DEFAULTS, **item["S3Input"]}}


def managed_inputs(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the S3Input of every input that is downloaded for the job."""
    for item in document.get("ProcessingInputs", ()):
        if not item["AppManaged"]:
            yield item["S3Input"]


def managed_outputs(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the S3Output of every output that is uploaded for the job."""
    for item in document.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        if not item["AppManaged"]:
            yield item["S3Output"]
