"""SageMaker Metrics: put values of a trial component's metrics, and get them back.

A query may name a trial component or the job one was read off. Values of a job's log have no
iteration of their own: it is their place in the log, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ServiceError, ValidationException
from matinee.sagemaker.monitoring.metric_worker import LARGEST
from matinee.sagemaker.registry import component_metrics, components
from matinee.sagemaker.registry.component_metrics import Point

_PERIODS: Mapping[str, int] = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}


def batch_put_metrics(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep values of a component's metrics; those CloudWatch does not take are refused one by one.

    Raises
    ------
    ResourceNotFound
        There is no such component.
    """
    component = components.get(context, request["TrialComponentName"])
    errors = [
        {"Code": "VALIDATION_ERROR", "MetricIndex": index}
        for index, item in enumerate(request["MetricData"])
        if not abs(item["Value"]) <= LARGEST
    ]
    wrong = {error["MetricIndex"] for error in errors}
    kept = [item for index, item in enumerate(request["MetricData"]) if index not in wrong]
    if kept:
        component_metrics.put(context, component, kept)
    return {"Errors": errors} if errors else {}


def batch_get_metrics(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return statistics of metrics over time or iterations, query by query."""
    return {"MetricQueryResults": [_result(context, query) for query in request["MetricQueries"]]}


def _result(context: Context, query: Mapping[str, Any]) -> dict[str, Any]:
    try:
        axis, values = _series(context, query)
    except ServiceError as error:
        message = error.message
        return {
            "Status": "ValidationError",
            "Message": message,
            "XAxisValues": [],
            "MetricValues": [],
        }
    return {"Status": "Complete", "XAxisValues": axis, "MetricValues": values}


def _series(context: Context, query: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    arn = query["ResourceArn"]
    component = components.of_source(context, arn) or components.find(context, arn)
    if component is None:
        raise ValidationException(f"ResourceArn {arn!r} is no job and no trial component here")
    by_iteration = query["XAxisType"] == "IterationNumber"
    if by_iteration != (query["Period"] == "IterationNumber"):
        raise ValidationException(
            f"Period {query['Period']} does not go with XAxisType {query['XAxisType']}"
        )
    found = [
        point
        for point in component_metrics.points(context, component)
        if point.name == query["MetricName"]
    ]
    place = _iteration if by_iteration else _period(_PERIODS[query["Period"]])
    first, end = query.get("Start", -math.inf), query.get("End", math.inf)
    groups: dict[int, list[float]] = {}
    for index, point in enumerate(found):
        if first <= (position := place(index, point)) <= end:
            groups.setdefault(position, []).append(point.value)
    axis = sorted(groups)
    name = query["MetricStat"]
    return axis, [component_metrics.of_values(name, groups[position]) for position in axis]


def _iteration(index: int, point: Point) -> int:
    return index if point.step is None else point.step


def _period(seconds: int) -> Callable[[int, Point], int]:
    def start(_index: int, point: Point) -> int:
        return int(point.time.timestamp()) // seconds * seconds

    return start


OPERATIONS: Mapping[str, Operation] = {
    "BatchPutMetrics": batch_put_metrics,
    "BatchGetMetrics": batch_get_metrics,
}
