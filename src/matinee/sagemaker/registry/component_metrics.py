"""The metrics of trial components: what was put with BatchPutMetrics, and what their job logged.

Each request's values are kept as they came, so putting costs the same however many there are.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.monitoring import job_metrics
from matinee.sagemaker.monitoring.metric_search import MetricsError
from matinee.sagemaker.registry.components import Component
from matinee.sagemaker.store import Resource

_BATCH = "TrialComponentMetrics"


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric; ``step`` is the iteration, if it was said."""

    name: str
    value: float
    time: datetime
    step: int | None = None


def put(context: Context, component: Component, data: Sequence[Mapping[str, Any]]) -> None:
    """Keep values, as BatchPutMetrics gets them."""
    name, now = context.new_id(), context.clock()
    arn = f"{component.arn}/metrics/{name}"
    document = {"MetricData": list(data)}
    context.store.insert(Resource(_BATCH, name, arn, "", now, now, document, {}, component.arn))


def delete(context: Context, component: Component) -> None:
    """Forget the values that were put."""
    for batch in context.store.find(_BATCH, parent=component.arn):
        context.store.delete(_BATCH, batch.name)


def points(context: Context, component: Component) -> list[Point]:
    """Return a component's values: its job's in the order of the log, then those put, by time."""
    found = [
        Point(item["MetricName"], item["Value"], item["Timestamp"], item.get("Step"))
        for batch in context.store.find(_BATCH, parent=component.arn)
        for item in batch.document["MetricData"]
    ]
    return [*_logged(context, component), *sorted(found, key=lambda point: point.time)]


def _logged(context: Context, component: Component) -> list[Point]:
    if component.source is None or component.source.kind != "TrainingJob":
        return []
    try:
        found = job_metrics.of_job(context, component.stored)
    except MetricsError:
        # The log is there to say why; the job's own description has the last value of each metric.
        return [
            Point(item["MetricName"], item["Value"], item["Timestamp"])
            for item in component.stored.document.get("FinalMetricDataList", ())
        ]
    return [
        Point(point.name, point.value, datetime.fromtimestamp(point.timestamp_ms / 1000, UTC))
        for point in found
    ]


def summaries(context: Context, component: Component) -> list[dict[str, Any]]:
    """Return what DescribeTrialComponent says of each metric, in the order they appeared."""
    by_name: dict[str, list[Point]] = {}
    for point in points(context, component):
        by_name.setdefault(point.name, []).append(point)
    source = component.document.get("Source", {}).get("SourceArn", component.arn)
    return [
        {
            "MetricName": name,
            "SourceArn": source,
            "TimeStamp": found[-1].time,
            **{statistic: of_values(statistic, [p.value for p in found]) for statistic in _NAMES},
            "Count": len(found),
        }
        for name, found in by_name.items()
    ]


_NAMES = ("Max", "Min", "Last", "Avg", "StdDev")


def of_values(statistic: str, values: Sequence[float]) -> float:
    """Return a statistic of values, by AWS's name; StdDev is that of the whole population."""
    match statistic:
        case "Min":
            return min(values)
        case "Max":
            return max(values)
        case "Avg":
            return statistics.fmean(values)
        case "Count":
            return float(len(values))
        case "StdDev":
            return statistics.pstdev(values)
        case "Last":
            return values[-1]
        case _:
            raise ValueError(f"{statistic!r} is no statistic of a metric")
