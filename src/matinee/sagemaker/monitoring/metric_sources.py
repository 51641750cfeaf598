"""Which metrics there are: what was put into the store, and what training jobs write in their logs.

A training job's metrics are computed from its log when asked, so nothing is lost and no resolution
fades.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from matinee.sagemaker.context import Context
from matinee.sagemaker.monitoring import job_metrics
from matinee.sagemaker.monitoring.metric_series import Periods
from matinee.sagemaker.store import MetricDatum, Resource

TRAINING_JOBS = "/aws/sagemaker/TrainingJobs"
DIMENSION = "TrainingJobName"
_TRAINING_JOB = "TrainingJob"
_RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's full name.

    Attributes
    ----------
    namespace, name
        In CloudWatch's words.
    dimensions
        Value by name.
    """

    namespace: str
    name: str
    dimensions: Mapping[str, str]

    @property
    def key(self) -> tuple[str, str, str]:
        """Sorts metrics, and names one."""
        return self.namespace, self.name, json.dumps(sorted(self.dimensions.items()))


def data(context: Context, metric: Metric, periods: Periods, unit: str | None) -> list[MetricDatum]:
    """Return what was measured of a metric in a range of time, by time.

    Parameters
    ----------
    context
        The server's surroundings.
    metric
        Which one.
    periods
        The range.
    unit
        Only data in this unit.
    """
    found = context.store.metrics(
        metric.namespace, metric.name, metric.dimensions, start=periods.begin, end=periods.stop
    )
    if metric.namespace == TRAINING_JOBS and metric.dimensions.keys() == {DIMENSION}:
        job = context.store.get(_TRAINING_JOB, metric.dimensions[DIMENSION])
        if job is not None:
            found += _logged(context, job, metric, periods)
    return [datum for datum in found if unit is None or datum.unit == unit]


def _logged(
    context: Context, job: Resource, metric: Metric, periods: Periods
) -> Iterator[MetricDatum]:
    for point in job_metrics.of_job(context, job):
        moment = datetime.fromtimestamp(point.timestamp_ms / 1000, UTC)
        if point.name == metric.name and periods.begin <= moment < periods.stop:
            yield MetricDatum(
                namespace=metric.namespace,
                name=metric.name,
                dimensions=metric.dimensions,
                timestamp=moment,
                count=1,
                total=point.value,
                minimum=point.value,
                maximum=point.value,
                unit="None",
            )


def listed(context: Context, *, job: str | None) -> list[Metric]:
    """Return the metrics that have data, sorted.

    Parameters
    ----------
    context
        The server's surroundings.
    job
        Of the metrics of training jobs, only this job's.
    """
    found = [Metric(*names) for names in context.store.metric_names()]
    if job is None:
        jobs = context.store.find(_TRAINING_JOB)
    else:
        one = context.store.get(_TRAINING_JOB, job)
        jobs = [] if one is None else [one]
    for resource in jobs:
        dimensions = {DIMENSION: resource.name}
        found += [Metric(TRAINING_JOBS, name, dimensions) for name in _names(context, resource)]
    unique = {metric.key: metric for metric in found}
    return [unique[key] for key in sorted(unique)]


def _names(context: Context, job: Resource) -> set[str]:
    if job.status in _RUNNING:
        return {point.name for point in job_metrics.of_job(context, job)}
    # What an ended job has measured stands in its description; its log need not be read.
    return {item["MetricName"] for item in job.document.get("FinalMetricDataList", ())}
