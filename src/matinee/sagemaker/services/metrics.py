"""CloudWatch metrics of training jobs, computed from their logs when asked.

A metric is what the job's metric definitions find in its log, as on AWS. Nothing is stored, so
nothing is lost and no resolution fades. Percentiles are refused; other namespaces, dimensions and
units have no data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from matinee.sagemaker import job_metrics, log_events
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    InvalidParameterCombinationException,
    InvalidParameterValueException,
)
from matinee.sagemaker.jobs import job_folder, log_streams

NAMESPACE = "/aws/sagemaker/TrainingJobs"
DIMENSION = "TrainingJobName"
MAX_DATAPOINTS = 1440
_SHORT_PERIODS_S = (1, 5, 10, 20, 30)

_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SampleCount": len,
    "Average": fmean,
    "Sum": math.fsum,
    "Minimum": min,
    "Maximum": max,
}


def get_metric_statistics(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return statistics of a metric for every period that has values.

    Periods begin at ``StartTime`` rounded down to a minute, or to the period if that is shorter;
    ``EndTime`` is exclusive.

    Raises
    ------
    InvalidParameterValueException
        ``StartTime`` is not before ``EndTime``, the period is not allowed, or percentiles are
        asked for.
    InvalidParameterCombinationException
        No statistics are asked for, or too many data points.
    """
    start, end = request["StartTime"].timestamp(), request["EndTime"].timestamp()
    period: int = request["Period"]
    _check(request, start, end, period)
    grid = min(60, period)
    first = math.floor(start / grid) * grid
    buckets: dict[int, list[float]] = {}
    for milliseconds, value in _values(context, request):
        seconds = milliseconds / 1000
        if first <= seconds < end:
            buckets.setdefault(int((seconds - first) // period), []).append(value)
    return {
        "Label": request["MetricName"],
        "Datapoints": [
            {
                "Timestamp": datetime.fromtimestamp(first + number * period, UTC),
                "Unit": "None",
                **{name: _STATISTICS[name](values) for name in request["Statistics"]},
            }
            for number, values in sorted(buckets.items())
        ],
    }


def _check(request: dict[str, Any], start: float, end: float, period: int) -> None:
    if start >= end:
        raise InvalidParameterValueException(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    if period % 60 and period not in _SHORT_PERIODS_S:
        raise InvalidParameterValueException(
            f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60, not {period}."
        )
    if "ExtendedStatistics" in request:
        raise InvalidParameterValueException("matinee computes no ExtendedStatistics.")
    if "Statistics" not in request:
        raise InvalidParameterCombinationException(
            "At least one of the parameters Statistics and ExtendedStatistics must be specified."
        )
    count = math.ceil((end - start) / period)
    if count > MAX_DATAPOINTS:
        raise InvalidParameterCombinationException(
            f"You have requested up to {count} datapoints, which exceeds the limit of "
            f"{MAX_DATAPOINTS}. You may reduce the datapoints requested by increasing Period, or "
            "decreasing the time range."
        )


def _values(context: Context, request: dict[str, Any]) -> list[tuple[int, float]]:
    dimensions = {item["Name"]: item["Value"] for item in request.get("Dimensions", ())}
    if (
        request["Namespace"] != NAMESPACE
        or dimensions.keys() != {DIMENSION}
        or request.get("Unit", "None") != "None"
    ):
        return []
    job = context.store.get("TrainingJob", dimensions[DIMENSION])
    if job is None:
        return []
    wanted = [
        definition
        for definition in job.document["AlgorithmSpecification"].get("MetricDefinitions", ())
        if definition["Name"] == request["MetricName"]
    ]
    folder = job_folder(context, job)
    events = [
        event for host in log_streams(job).values() for event in log_events.read(folder / host)
    ]
    points = job_metrics.points(events, wanted)
    return [(point.timestamp_ms, point.value) for point in points]


OPERATIONS: Mapping[str, Operation] = {"GetMetricStatistics": get_metric_statistics}
