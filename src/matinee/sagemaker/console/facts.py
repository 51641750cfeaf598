"""What a resource's page says of it in tables: read off its description, in AWS's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.sagemaker.console import texts
from matinee.sagemaker.console.kinds import ENDPOINT, MODEL, TRAINING
from matinee.sagemaker.registry.model_registry import PACKAGE
from matinee.sagemaker.states import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB, TUNING_JOB
from matinee.sagemaker.store import Resource


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of a table: what it is about, what it says, where it leads."""

    label: str
    value: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A table with its caption."""

    title: str
    facts: tuple[Fact, ...]


def of(resource: Resource) -> list[Section]:
    """Return the tables of a resource; those that would be empty are left out."""
    found = _READERS[resource.kind](resource.document)
    return [Section(title, facts) for title, facts in found if facts]


_Sections = Iterator[tuple[str, tuple[Fact, ...]]]


def _values(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    return tuple(Fact(name, _text(value)) for name, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{texts.moment(value)} UTC"
    return value if isinstance(value, str) else texts.document(value)


def _chosen(document: Mapping[str, Any], *names: str) -> tuple[Fact, ...]:
    return _values({name: document[name] for name in names if name in document})


def _channels(channels: list[Mapping[str, Any]]) -> tuple[Fact, ...]:
    facts = []
    for channel in channels:
        source = channel["DataSource"].get("S3DataSource", channel["DataSource"])
        facts.append(Fact(channel["ChannelName"], _text(source.get("S3Uri", source))))
    return tuple(facts)


def _training(document: Mapping[str, Any]) -> _Sections:
    yield "Hyperparameters", _values(dict(sorted(document["HyperParameters"].items())))
    yield "Inputs", _channels(document.get("InputDataConfig", []))
    outputs = [Fact("Output path", document["OutputDataConfig"]["S3OutputPath"])]
    if document["TrainingJobStatus"] in {"Completed", "Stopped"}:
        outputs.insert(0, Fact("Model", document["ModelArtifacts"]["S3ModelArtifacts"]))
    if "CheckpointConfig" in document:
        outputs.append(Fact("Checkpoints", document["CheckpointConfig"]["S3Uri"]))
    yield "Outputs", tuple(outputs)
    specification = document["AlgorithmSpecification"]
    yield (
        "Algorithm and resources",
        (
            *_chosen(specification, "TrainingImage", "TrainingInputMode"),
            *_chosen(document["ResourceConfig"], "InstanceType", "InstanceCount", "InstanceGroups"),
            *_chosen(document["StoppingCondition"], "MaxRuntimeInSeconds"),
            *_chosen(document, "TrainingTimeInSeconds", "BillableTimeInSeconds", "RoleArn"),
        ),
    )
    yield "Environment", _values(document.get("Environment", {}))


def _tuning(document: Mapping[str, Any]) -> _Sections:
    config = document["HyperParameterTuningJobConfig"]
    best = document.get("BestTrainingJob")
    if best is not None:
        metric = best["FinalHyperParameterTuningJobObjectiveMetric"]
        name = best["TrainingJobName"]
        yield (
            "Best training job",
            (
                Fact("Training job", name, TRAINING.href(name)),
                Fact(metric["MetricName"], texts.number(metric["Value"])),
                *_values(dict(sorted(best["TunedHyperParameters"].items()))),
            ),
        )
    objective = config.get("HyperParameterTuningJobObjective", {})
    yield (
        "Search",
        (
            *_chosen(config, "Strategy"),
            *_chosen(objective, "MetricName", "Type"),
            *_values(config.get("ResourceLimits", {})),
            *_chosen(config, "TrainingJobEarlyStoppingType", "RandomSeed"),
        ),
    )
    if "TrainingJobDefinition" in document:
        definition = document["TrainingJobDefinition"]
        yield (
            "Fixed hyperparameters",
            _values(dict(sorted(definition["StaticHyperParameters"].items()))),
        )
        yield "Inputs", _channels(definition.get("InputDataConfig", []))
    yield "Trials by status", _values(document["TrainingJobStatusCounters"])


def _transform(document: Mapping[str, Any]) -> _Sections:
    name = document["ModelName"]
    yield "Model", (Fact("Model", name, MODEL.href(name)),)
    given, output = document["TransformInput"], document["TransformOutput"]
    yield (
        "Input",
        (
            *_chosen(given["DataSource"]["S3DataSource"], "S3Uri"),
            *_chosen(given, "ContentType", "SplitType", "CompressionType"),
        ),
    )
    yield "Output", _chosen(output, "S3OutputPath", "Accept", "AssembleWith")
    yield (
        "Resources",
        (
            *_chosen(document["TransformResources"], "InstanceType", "InstanceCount"),
            *_chosen(document, "BatchStrategy", "MaxConcurrentTransforms", "MaxPayloadInMB"),
        ),
    )
    yield "Environment", _values(document.get("Environment", {}))


def _processing(document: Mapping[str, Any]) -> _Sections:
    yield (
        "Program",
        _chosen(
            document["AppSpecification"], "ImageUri", "ContainerEntrypoint", "ContainerArguments"
        ),
    )
    inputs = document.get("ProcessingInputs", [])
    yield (
        "Inputs",
        tuple(Fact(item["InputName"], _text(item.get("S3Input", item))) for item in inputs),
    )
    outputs = document.get("ProcessingOutputConfig", {}).get("Outputs", [])
    yield (
        "Outputs",
        tuple(Fact(item["OutputName"], _text(item.get("S3Output", item))) for item in outputs),
    )
    yield "Resources", _values(document["ProcessingResources"].get("ClusterConfig", {}))
    yield "Environment", _values(document.get("Environment", {}))
    yield "Its end", _chosen(document, "ExitMessage")


def _model(document: Mapping[str, Any]) -> _Sections:
    containers = document.get("Containers") or [document["PrimaryContainer"]]
    for number, container in enumerate(containers, 1):
        title = "Container" if len(containers) == 1 else f"Container {number}"
        yield title, _values(container)
    yield "Role", _chosen(document, "ExecutionRoleArn")


def _endpoint(document: Mapping[str, Any]) -> _Sections:
    yield "Configuration", _chosen(document, "EndpointConfigName", "LastModifiedTime")
    for variant in document.get("ProductionVariants", []):
        yield (
            f"Variant {variant['VariantName']}",
            _values({name: value for name, value in variant.items() if name != "VariantName"}),
        )
    yield "Being deployed", _values(document.get("PendingDeploymentSummary", {}))


def _package(document: Mapping[str, Any]) -> _Sections:
    yield (
        "Properties",
        _values(dict(sorted(document.get("CustomerMetadataProperties", {}).items()))),
    )
    yield (
        "Approval",
        _chosen(document, "ModelApprovalStatus", "ApprovalDescription", "LastModifiedTime"),
    )
    yield "Metrics", _values(document.get("ModelMetrics", {}))
    containers = document.get("InferenceSpecification", {}).get("Containers", [])
    for number, container in enumerate(containers, 1):
        title = "Container" if len(containers) == 1 else f"Container {number}"
        yield title, _values(container)
    yield "Source", _chosen(document, "SourceUri")


_READERS: Mapping[str, Callable[[Mapping[str, Any]], _Sections]] = {
    TRAINING_JOB.name: _training,
    TUNING_JOB.name: _tuning,
    TRANSFORM_JOB.name: _transform,
    PROCESSING_JOB.name: _processing,
    MODEL.name: _model,
    ENDPOINT.name: _endpoint,
    PACKAGE.name: _package,
}
