"""The kinds of resource that have a list and pages of their own, and where those are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker.console import texts
from matinee.sagemaker.console.frame import href
from matinee.sagemaker.endpoints import hosting_states
from matinee.sagemaker.registry.model_registry import GROUP, PACKAGE
from matinee.sagemaker.services import models
from matinee.sagemaker.states import (
    KINDS,
    PROCESSING_JOB,
    TRAINING_JOB,
    TRANSFORM_JOB,
    TUNING_JOB,
)
from matinee.sagemaker.store import Resource


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: its heading, and what it says of a resource."""

    heading: str
    value: Callable[[Resource], str]
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource.

    Attributes
    ----------
    name
        In the store.
    path
        Of its list, below the console; a resource's page is below that.
    title, one
        What many and one of it are called.
    columns
        Of its list, besides name, status and creation.
    has_status
        Whether a list can be narrowed down by it.
    log_group
        Of its jobs; empty where there are no logs.
    """

    name: str
    path: str
    title: str
    one: str
    columns: tuple[Column, ...] = ()
    has_status: bool = True
    log_group: str = ""

    def href(self, name: str, *more: str) -> str:
        """Return the path of a resource's page, or of one that belongs to it."""
        return href(self.path, name, *more)


def seconds(job: Resource) -> float | None:
    """Return how long a job ran; None before its end, and for one that never started."""
    kind, document = KINDS[job.kind], job.document
    start = document.get(kind.start_field or "CreationTime")
    end = document.get(kind.end_field)
    return None if start is None or end is None else float((end - start).total_seconds())


def _took(job: Resource) -> str:
    return texts.duration(seconds(job))


def _objective(job: Resource) -> str:
    best = job.document.get("BestTrainingJob", {})
    value = best.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")
    return texts.number(value)


def _trials(job: Resource) -> str:
    counters: Mapping[str, int] = job.document["TrainingJobStatusCounters"]
    limits = job.document["HyperParameterTuningJobConfig"].get("ResourceLimits", {})
    most = limits.get("MaxNumberOfTrainingJobs")
    done = sum(counters.values()) - counters["InProgress"]
    return f"{done} of {most}" if most else str(done)


def _final_metric(job: Resource) -> str:
    metrics: list[dict[str, Any]] = job.document.get("FinalMetricDataList", [])
    shown = [f"{item['MetricName']} {texts.number(item['Value'])}" for item in metrics]
    # An objective stands there twice, under its own name first.
    return ", ".join(text for text in shown if not text.startswith("ObjectiveMetric "))


_TOOK = Column("Took", _took, is_number=True)

TRAINING = Kind(
    TRAINING_JOB.name,
    "training-jobs",
    "Training jobs",
    "Training job",
    (_TOOK, Column("Final metrics", _final_metric)),
    log_group="/aws/sagemaker/TrainingJobs",
)
TUNING = Kind(
    TUNING_JOB.name,
    "tuning-jobs",
    "Tuning jobs",
    "Tuning job",
    (
        _TOOK,
        Column("Trials", _trials, is_number=True),
        Column("Best objective", _objective, is_number=True),
    ),
)
TRANSFORM = Kind(
    TRANSFORM_JOB.name,
    "transform-jobs",
    "Transform jobs",
    "Transform job",
    (_TOOK, Column("Model", lambda job: str(job.document["ModelName"]))),
    log_group="/aws/sagemaker/TransformJobs",
)
PROCESSING = Kind(
    PROCESSING_JOB.name,
    "processing-jobs",
    "Processing jobs",
    "Processing job",
    (_TOOK, Column("Image", lambda job: str(job.document["AppSpecification"]["ImageUri"]))),
    log_group="/aws/sagemaker/ProcessingJobs",
)
MODEL = Kind(models.KIND, "models", "Models", "Model", has_status=False)
ENDPOINT = Kind(
    hosting_states.KIND,
    "endpoints",
    "Endpoints",
    "Endpoint",
    (Column("Configuration", lambda endpoint: str(endpoint.document["EndpointConfigName"])),),
)
REGISTRY = Kind(
    GROUP.name,
    "registry",
    "Registry",
    "Model package group",
    (
        Column("Versions made", lambda group: str(group.private.get("versions", 0)), True),
        Column("Description", lambda group: group.document.get("ModelPackageGroupDescription", "")),
    ),
    has_status=False,
)

JOBS = (TRAINING, TUNING, TRANSFORM, PROCESSING)
LISTED = (*JOBS, MODEL, ENDPOINT, REGISTRY)


def page_of(resource: Resource) -> str | None:
    """Return the path of a resource's page; None if it has none."""
    if resource.kind == PACKAGE.name:
        return href("packages", resource.name)
    kind = next((kind for kind in LISTED if kind.name == resource.kind), None)
    return None if kind is None else kind.href(resource.name)
