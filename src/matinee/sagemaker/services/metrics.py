"""CloudWatch metrics: put, list, and read as statistics for each period.

Metrics of training jobs are there by themselves. Alarms, dashboards and metrics of AWS's own
namespaces are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from matinee.sagemaker import page_tokens
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    MissingRequiredParameterException,
    NotImplementedByMatinee,
)
from matinee.sagemaker.monitoring import metric_sources
from matinee.sagemaker.monitoring.metric_series import (
    Periods,
    by_period,
    check_statistic,
    statistic,
)
from matinee.sagemaker.monitoring.metric_sources import DIMENSION, Metric
from matinee.sagemaker.monitoring.metric_worker import LARGEST
from matinee.sagemaker.store import MetricDatum

MAX_DATAPOINTS = 1440
MAX_METRICS = 500
MAX_DATA = 1000
MAX_VALUES = 150
_OLDEST, _NEWEST = timedelta(days=14), timedelta(hours=2)


def get_metric_statistics(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return statistics of a metric for every period that has values.

    Periods begin at ``StartTime`` rounded down to a minute, or to the period if that is shorter;
    ``EndTime`` is exclusive.

    Raises
    ------
    InvalidParameterValueException
        ``StartTime`` is not before ``EndTime``, or the period or a statistic is not allowed.
    InvalidParameterCombinationException
        Statistics are asked for in no way or in two, or too many data points.
    """
    periods = Periods.of(request["StartTime"], request["EndTime"], request["Period"])
    if "Statistics" in request and "ExtendedStatistics" in request:
        raise InvalidParameterCombinationException(
            "The parameters Statistics and ExtendedStatistics cannot be specified together."
        )
    if not {"Statistics", "ExtendedStatistics"} & request.keys():
        raise InvalidParameterCombinationException(
            "At least one of the parameters Statistics and ExtendedStatistics must be specified."
        )
    if periods.count > MAX_DATAPOINTS:
        raise InvalidParameterCombinationException(
            f"You have requested up to {periods.count} datapoints, which exceeds the limit of "
            f"{MAX_DATAPOINTS}. You may reduce the datapoints requested by increasing Period, or "
            "decreasing the time range."
        )
    extended = request.get("ExtendedStatistics", [])
    for name in extended:
        check_statistic(name)
    metric = Metric(request["Namespace"], request["MetricName"], dimensions(request))
    data = metric_sources.data(context, metric, periods, request.get("Unit"))
    datapoints = []
    for (number, unit), some in by_period(data, periods).items():
        point: dict[str, Any] = {"Timestamp": periods.moment(number), "Unit": unit}
        point |= {name: statistic(name, some) for name in request.get("Statistics", ())}
        more = {name: statistic(name, some) for name in extended}
        if more := {name: value for name, value in more.items() if value is not None}:
            point["ExtendedStatistics"] = more
        if not extended or more:
            datapoints.append(point)
    return {"Label": request["MetricName"], "Datapoints": datapoints}


def list_metrics(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the metrics that have data.

    Raises
    ------
    InvalidParameterValueException
        The token is not one of this operation.
    NotImplementedByMatinee
        Only recently active ones are asked for.
    """
    if "RecentlyActive" in request:
        raise NotImplementedByMatinee("RecentlyActive of ListMetrics")
    wanted = [(item["Name"], item.get("Value")) for item in request.get("Dimensions", ())]
    job = dict(wanted).get(DIMENSION)
    found = [
        metric
        for metric in metric_sources.listed(context, job=job)
        if request.get("Namespace") in {None, metric.namespace}
        and request.get("MetricName") in {None, metric.name}
        and all(
            name in metric.dimensions and value in {None, metric.dimensions[name]}
            for name, value in wanted
        )
    ]
    query = page_tokens.fingerprint(request, {"NextToken"})
    if "NextToken" in request:
        last = _read_token(request["NextToken"], query)
        found = [metric for metric in found if metric.key > last]
    answer: dict[str, Any] = {"Metrics": [_described(metric) for metric in found[:MAX_METRICS]]}
    if len(found) > MAX_METRICS:
        answer["NextToken"] = page_tokens.write(query, *found[MAX_METRICS - 1].key)
    return answer


def _described(metric: Metric) -> dict[str, Any]:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [
            {"Name": name, "Value": value} for name, value in sorted(metric.dimensions.items())
        ],
    }


def _read_token(token: str, query: str) -> tuple[str, str, str]:
    try:
        namespace, name, dimensions = page_tokens.read(token, query)
        return str(namespace), str(name), str(dimensions)
    except ValueError as error:
        raise InvalidParameterValueException(
            "The value for parameter NextToken is not a token of this operation."
        ) from error


def put_metric_data(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep metric data: all of the request, or nothing.

    Raises
    ------
    InvalidParameterValueException
        The namespace is AWS's, or a number or a time is out of bounds.
    InvalidParameterCombinationException
        A datum has no value, or is given in several ways.
    MissingRequiredParameterException
        There are no data.
    NotImplementedByMatinee
        Entities are given.
    """
    if "EntityMetricData" in request:
        raise NotImplementedByMatinee("EntityMetricData of PutMetricData")
    namespace, given = request["Namespace"], request.get("MetricData", [])
    if namespace.startswith("AWS/"):
        raise InvalidParameterValueException(
            f"The value {namespace} for parameter Namespace is invalid."
        )
    if not given:
        raise MissingRequiredParameterException("The parameter MetricData is required.")
    if len(given) > MAX_DATA:
        raise InvalidParameterValueException(
            f"The collection MetricData must not have a size greater than {MAX_DATA}."
        )
    now = context.clock()
    data = []
    for number, item in enumerate(given, 1):
        data += _data(namespace, item, f"MetricData.member.{number}", now)
    context.store.add_metrics(data)
    return {}


def _data(namespace: str, item: Mapping[str, Any], path: str, now: datetime) -> list[MetricDatum]:
    ways = [name for name in ("Value", "Values", "StatisticValues") if name in item]
    if len(ways) != 1:
        raise InvalidParameterCombinationException(
            f"One of the parameters {path}.Value, {path}.Values and {path}.StatisticValues must be "
            f"specified, not {', '.join(ways) or 'none'}."
        )
    if item.get("StorageResolution", 60) not in {1, 60}:
        raise InvalidParameterValueException(
            f"The value {item['StorageResolution']} for parameter {path}.StorageResolution must be "
            "1 or 60."
        )
    moment = item.get("Timestamp", now)
    if not now - _OLDEST <= moment <= now + _NEWEST:
        raise InvalidParameterValueException(
            f"The parameter {path}.Timestamp must specify a time within the past two weeks and no "
            "more than two hours in the future."
        )
    if item.get("StorageResolution", 60) == 60:
        moment = moment.replace(second=0, microsecond=0)
    return [
        MetricDatum(
            namespace=namespace,
            name=item["MetricName"],
            dimensions=dimensions(item),
            timestamp=moment,
            count=count,
            total=total,
            minimum=minimum,
            maximum=maximum,
            unit=item.get("Unit", "None"),
        )
        for count, total, minimum, maximum in _numbers(item, path)
    ]


def _numbers(item: Mapping[str, Any], path: str) -> list[tuple[float, float, float, float]]:
    """Return count, sum, minimum and maximum of what a datum says."""
    if "StatisticValues" in item:
        given = item["StatisticValues"]
        found = [(given["SampleCount"], given["Sum"], given["Minimum"], given["Maximum"])]
    elif "Value" in item:
        found = [(1.0, item["Value"], item["Value"], item["Value"])]
    else:
        values, counts = item["Values"], item.get("Counts", [1.0] * len(item["Values"]))
        if len(values) != len(counts) or not 0 < len(values) <= MAX_VALUES:
            raise InvalidParameterValueException(
                f"The parameters {path}.Values and {path}.Counts must have the same size, at least "
                f"1 and at most {MAX_VALUES}."
            )
        pairs = zip(values, counts, strict=True)
        found = [(count, value * count, value, value) for value, count in pairs]
    for numbers in found:
        if not all(abs(number) <= LARGEST for number in numbers):
            raise InvalidParameterValueException(
                f"The value for parameter {path} must be a number between -2^360 and 2^360."
            )
        if numbers[0] <= 0:
            raise InvalidParameterValueException(
                f"The number of samples of parameter {path} must be greater than 0."
            )
    return found


def dimensions(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the dimensions that a request names, by name."""
    return {item["Name"]: item["Value"] for item in request.get("Dimensions", ())}


OPERATIONS: Mapping[str, Operation] = {
    "GetMetricStatistics": get_metric_statistics,
    "ListMetrics": list_metrics,
    "PutMetricData": put_metric_data,
}
