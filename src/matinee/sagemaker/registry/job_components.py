"""What a job says as a trial component: where it came from, its parameters, what went in and out.

Names and forms are those of the components SageMaker makes of jobs by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker.states import State
from matinee.sagemaker.store import Resource

_TEXT_LIMIT = 2500
_MESSAGE_LIMIT = 1024

Parts = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of job that has components.

    Attributes
    ----------
    kind, path
        In the store, and in ARNs.
    suffix
        What the component's name has after the job's.
    source_type
        AWS's word for the kind.
    read
        Returns Parameters, InputArtifacts and OutputArtifacts of a job's description.
    """

    kind: str
    path: str
    suffix: str
    source_type: str
    read: Callable[[Mapping[str, Any]], Parts]


def describe(source: Source, job: Resource) -> dict[str, Any]:
    """Return what a job's component says, but for its names and metrics."""
    document = job.document
    config = document.get("ExperimentConfig", {})
    start, end = (document.get(f"{source.kind.removesuffix('Job')}{word}Time") for word in _TIMES)
    return {
        **({"DisplayName": name} if (name := config.get("TrialComponentDisplayName")) else {}),
        "Source": {"SourceArn": job.arn, "SourceType": source.source_type},
        "Status": {"PrimaryStatus": job.status, "Message": _message(job)[:_MESSAGE_LIMIT]},
        **({"StartTime": start} if start else {}),
        **({"EndTime": end} if end else {}),
        "CreationTime": job.created,
        "CreatedBy": {},
        "LastModifiedTime": job.modified,
        "LastModifiedBy": {},
        **source.read(document),
    }


_TIMES = ("Start", "End")


def _message(job: Resource) -> str:
    secondary = job.document.get("SecondaryStatus", job.status)
    reason = job.document.get("FailureReason", "")
    return f"Status: {job.status}, secondary status: {secondary}, failure reason: {reason}."


def _parameter(text: str) -> dict[str, Any]:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return {"NumberValue": number} if math.isfinite(number) else {"StringValue": text[:_TEXT_LIMIT]}


def _resources(resources: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if member in resources:
            yield f"SageMaker.{member}", _parameter(str(resources[member]))


def _artifact(uri: str, media_type: str | None = None) -> dict[str, str]:
    return {**({"MediaType": media_type} if media_type else {}), "Value": uri}


def channel_uri(channel: Mapping[str, Any]) -> str | None:
    """Return where a channel's data is; None for a source that is not S3."""
    uri: str | None = channel["DataSource"].get("S3DataSource", {}).get("S3Uri")
    return uri


def processing_inputs(document: Mapping[str, Any]) -> dict[str, str]:
    """Return where a processing job's inputs are, by name; but for those that are not in S3."""
    return {
        item["InputName"]: item["S3Input"]["S3Uri"]
        for item in document.get("ProcessingInputs", ())
        if "S3Input" in item
    }


def processing_outputs(document: Mapping[str, Any]) -> dict[str, str]:
    """Return where a processing job's outputs go, by name; but for those that are not in S3."""
    return {
        item["OutputName"]: item["S3Output"]["S3Uri"]
        for item in document.get("ProcessingOutputConfig", {}).get("Outputs", ())
        if "S3Output" in item
    }


def _training(document: Mapping[str, Any]) -> Parts:
    hyperparameters = document.get("HyperParameters", {})
    inputs = {"SageMaker.ImageUri": _artifact(document["AlgorithmSpecification"]["TrainingImage"])}
    for channel in document.get("InputDataConfig", ()):
        if (uri := channel_uri(channel)) is not None:
            inputs[channel["ChannelName"]] = _artifact(uri, channel.get("ContentType"))
    outputs = {}
    if document["TrainingJobStatus"] == State.COMPLETED:
        uri = document["ModelArtifacts"]["S3ModelArtifacts"]
        outputs["SageMaker.ModelArtifact"] = _artifact(uri)
    return {
        "Parameters": {
            **{name: _parameter(text) for name, text in hyperparameters.items()},
            **dict(_resources(document.get("ResourceConfig", {}))),
        },
        "InputArtifacts": inputs,
        "OutputArtifacts": outputs,
    }


def _processing(document: Mapping[str, Any]) -> Parts:
    image = document["AppSpecification"]["ImageUri"]
    inputs = {"SageMaker.ImageUri": image, **processing_inputs(document)}
    outputs = processing_outputs(document)
    return {
        "Parameters": dict(_resources(document["ProcessingResources"].get("ClusterConfig", {}))),
        "InputArtifacts": {name: _artifact(uri) for name, uri in inputs.items()},
        "OutputArtifacts": {name: _artifact(uri) for name, uri in outputs.items()},
    }


def _transform(document: Mapping[str, Any]) -> Parts:
    given = document["TransformInput"]
    uri = given["DataSource"]["S3DataSource"]["S3Uri"]
    return {
        "Parameters": {
            "SageMaker.ModelName": {"StringValue": document["ModelName"]},
            **dict(_resources(document["TransformResources"])),
        },
        "InputArtifacts": {"SageMaker.TransformInput": _artifact(uri, given.get("ContentType"))},
        "OutputArtifacts": {
            "SageMaker.TransformOutput": _artifact(document["TransformOutput"]["S3OutputPath"])
        },
    }


SOURCES = (
    Source("TrainingJob", "training-job", "-aws-training-job", "SageMakerTrainingJob", _training),
    Source(
        "ProcessingJob",
        "processing-job",
        "-aws-processing-job",
        "SageMakerProcessingJob",
        _processing,
    ),
    Source(
        "TransformJob", "transform-job", "-aws-transform-job", "SageMakerTransformJob", _transform
    ),
)
