"""CloudWatch metrics: several series at once, and arithmetic of them.

Metrics Insights queries (SQL) and other accounts' metrics are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from matinee.sagemaker import page_tokens
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    InvalidNextToken,
    NotImplementedByMatinee,
    ValidationException,
)
from matinee.sagemaker.monitoring import metric_math, metric_sources
from matinee.sagemaker.monitoring.metric_math import Series
from matinee.sagemaker.monitoring.metric_series import (
    Periods,
    by_period,
    check_statistic,
    statistic,
)
from matinee.sagemaker.monitoring.metric_sources import Metric
from matinee.sagemaker.services.metrics import dimensions

MAX_QUERIES = 500
MAX_DATAPOINTS = 100_800
_ID = re.compile("[a-z][a-zA-Z0-9_]*")
_INSIGHTS = re.compile(r"\s*SELECT\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Result:
    """The answer to one query: its points in the order asked for."""

    query: Mapping[str, Any]
    points: list[tuple[float, float]]

    @property
    def label(self) -> str:
        query = self.query
        name = query["MetricStat"]["Metric"].get("MetricName", "") if "MetricStat" in query else ""
        return str(query.get("Label", name or query["Id"]))


def get_metric_data(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return the series that queries ask for, the latest point first unless told otherwise.

    Raises
    ------
    ValidationException
        The queries do not fit together, or an expression cannot be read.
    InvalidParameterValueException
        ``StartTime`` is not before ``EndTime``, or a period or a statistic is not allowed.
    InvalidNextToken
        The token is not one of this query.
    NotImplementedByMatinee
        Something asked for is not here.
    """
    queries = request["MetricDataQueries"]
    _check(queries)
    series: dict[str, Series] = {}
    for query in queries:
        if "MetricStat" in query:
            series[query["Id"]] = _measured(context, request, query["MetricStat"])
    _compute([query for query in queries if "Expression" in query], series)
    descending = request.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    results = [
        _Result(query, sorted(series[query["Id"]].items(), reverse=descending))
        for query in queries
        if query.get("ReturnData", True)
    ]
    return _page(request, results)


def _check(queries: list[dict[str, Any]]) -> None:
    if len(queries) > MAX_QUERIES:
        raise ValidationException(f"The limit is {MAX_QUERIES} MetricDataQueries.")
    ids = [query["Id"] for query in queries]
    for query in queries:
        name = query["Id"]
        if not _ID.fullmatch(name):
            raise ValidationException(
                f"The value {name!r} for Id must begin with a lowercase letter and have only "
                "letters, digits and underscores."
            )
        if ids.count(name) > 1:
            raise ValidationException(f"The Id {name!r} is used more than once.")
        if ("MetricStat" in query) == ("Expression" in query):
            raise ValidationException(
                f"The query {name!r} must have either MetricStat or Expression, but not both."
            )
        if "AccountId" in query:
            raise NotImplementedByMatinee("AccountId of GetMetricData")
        if _INSIGHTS.match(query.get("Expression", "")):
            raise NotImplementedByMatinee("Metrics Insights queries")


def _measured(context: Context, request: Mapping[str, Any], wanted: Mapping[str, Any]) -> Series:
    check_statistic(wanted["Stat"])
    periods = Periods.of(request["StartTime"], request["EndTime"], wanted["Period"])
    if periods.count > MAX_DATAPOINTS:
        raise ValidationException(
            f"You have requested up to {periods.count} datapoints of a metric, which exceeds the "
            f"limit of {MAX_DATAPOINTS}."
        )
    given = wanted["Metric"]
    metric = Metric(given.get("Namespace", ""), given.get("MetricName", ""), dimensions(given))
    found: dict[int, list[Any]] = {}
    data = metric_sources.data(context, metric, periods, wanted.get("Unit"))
    for (number, _), some in by_period(data, periods).items():
        found.setdefault(number, []).extend(some)
    values = {number: statistic(wanted["Stat"], some) for number, some in found.items()}
    return {
        periods.moment(number).timestamp(): value
        for number, value in values.items()
        if value is not None
    }


def _compute(queries: list[dict[str, Any]], series: dict[str, Series]) -> None:
    """Compute the expressions, each after those it uses."""
    left = {query["Id"]: query["Expression"] for query in queries}
    while left:
        ready = {
            name: expression
            for name, expression in left.items()
            if not metric_math.names(expression) & left.keys()
        }
        if not ready:
            raise ValidationException(
                f"The expressions {', '.join(sorted(left))} use each other in a circle."
            )
        for name, expression in ready.items():
            series[name] = metric_math.evaluate(expression, series)
            del left[name]


def _page(request: Mapping[str, Any], results: list[_Result]) -> dict[str, Any]:
    """Return the part of the results that one answer may have."""
    fingerprint = page_tokens.fingerprint(request, {"NextToken"})
    start = _read_token(request["NextToken"], fingerprint) if "NextToken" in request else 0
    stop = start + request.get("MaxDatapoints", MAX_DATAPOINTS)
    total = sum(len(result.points) for result in results)
    before = 0
    shown = []
    for result in results:
        here = slice(max(0, start - before), max(0, stop - before))
        points = result.points[here]
        before += len(result.points)
        shown.append(
            {
                "Id": result.query["Id"],
                "Label": result.label,
                "Timestamps": [datetime.fromtimestamp(at, UTC) for at, _ in points],
                "Values": [value for _, value in points],
                "StatusCode": "Complete" if before <= stop else "PartialData",
            }
        )
    answer: dict[str, Any] = {"MetricDataResults": shown, "Messages": []}
    if stop < total:
        answer["NextToken"] = page_tokens.write(fingerprint, stop)
    return answer


def _read_token(token: str, fingerprint: str) -> int:
    try:
        (start,) = page_tokens.read(token, fingerprint)
        return max(0, int(start))
    except (ValueError, TypeError) as error:
        raise InvalidNextToken("The next token specified is invalid.") from error


OPERATIONS: Mapping[str, Operation] = {"GetMetricData": get_metric_data}
