"""GetMetricData, asked for with boto3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import NOON, Front


@pytest.fixture
def cloudwatch(front: Front) -> Any:
    client = front.client("cloudwatch")
    data = [
        {"MetricName": name, "Value": value, "Timestamp": NOON + timedelta(minutes=minute)}
        for name, values in {"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0]}.items()
        for minute, value in enumerate(values)
    ]
    client.put_metric_data(Namespace="films", MetricData=data)
    return client


def stat(identifier: str, name: str, **changes: Any) -> dict[str, Any]:
    metric = {"Namespace": "films", "MetricName": name}
    given = {"Metric": metric, "Period": 60, "Stat": "Average", **changes}
    return {"Id": identifier, "MetricStat": given}


def math(identifier: str, expression: str, **more: Any) -> dict[str, Any]:
    return {"Id": identifier, "Expression": expression, **more}


RANGE = {"StartTime": NOON, "EndTime": NOON + timedelta(minutes=3)}


def ask(client: Any, *queries: dict[str, Any], **more: Any) -> Any:
    return client.get_metric_data(MetricDataQueries=list(queries), **{**RANGE, **more})


def test_series_the_latest_first(cloudwatch: Any) -> None:
    answer = ask(cloudwatch, stat("x", "a"), stat("none", "c"))
    assert answer["MetricDataResults"] == [
        {
            "Id": "x",
            "Label": "a",
            "Timestamps": [NOON + timedelta(minutes=minute) for minute in (2, 1, 0)],
            "Values": [3.0, 2.0, 1.0],
            "StatusCode": "Complete",
        },
        {"Id": "none", "Label": "c", "Timestamps": [], "Values": [], "StatusCode": "Complete"},
    ]
    assert "NextToken" not in answer


def values(answer: Any) -> dict[str, list[float]]:
    return {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}


def test_expressions_use_each_other(cloudwatch: Any) -> None:
    answer = ask(
        cloudwatch,
        math("total", "both * 2", Label="twice"),
        math("both", "x + y", ReturnData=False),
        {**stat("x", "a"), "ReturnData": False},
        stat("y", "b", Stat="p50", Period=180),
        ScanBy="TimestampAscending",
    )
    assert values(answer) == {"total": [42.0], "y": [20.0]}
    assert answer["MetricDataResults"][0]["Label"] == "twice"


def test_pages(cloudwatch: Any) -> None:
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[stat("x", "a"), stat("y", "b")],
        ScanBy="TimestampAscending",
        PaginationConfig={"PageSize": 4},
        **RANGE,
    )
    assert [values(page) for page in pages] == [
        {"x": [1.0, 2.0, 3.0], "y": [10.0]},
        {"x": [], "y": [20.0, 30.0]},
    ]


def test_a_part_says_so(cloudwatch: Any) -> None:
    answer = ask(cloudwatch, stat("x", "a"), MaxDatapoints=2)
    (result,) = answer["MetricDataResults"]
    assert (result["Values"], result["StatusCode"]) == ([3.0, 2.0], "PartialData")


@pytest.mark.parametrize(
    ("queries", "code", "words"),
    [
        ([stat("X", "a")], "ValidationError", "must begin with a lowercase letter"),
        ([stat("x", "a"), stat("x", "b")], "ValidationError", "more than once"),
        ([{"Id": "x"}], "ValidationError", "either MetricStat or Expression"),
        ([math("x", "y")], "ValidationError", "no query has the id 'y'"),
        ([math("x", "y"), math("y", "x")], "ValidationError", "x, y use each other in a circle"),
        ([stat("x", "a", Stat="tm99")], "InvalidParameterValue", "'tm99'"),
        ([stat("x", "a", Period=7)], "InvalidParameterValue", "not 7"),
        ([math("x", "SELECT AVG(a) FROM b")], "UnknownOperationException", "Metrics Insights"),
        ([{**stat("x", "a"), "AccountId": "1"}], "UnknownOperationException", "AccountId"),
    ],
)
def test_queries_that_do_not_fit(
    cloudwatch: Any, queries: list[dict[str, Any]], code: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as call:
        ask(cloudwatch, *queries)
    assert call.value.response["Error"]["Code"] == code


def test_a_made_up_token_is_refused(cloudwatch: Any) -> None:
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        ask(cloudwatch, stat("x", "a"), NextToken="x")
    token = ask(cloudwatch, stat("x", "a"), MaxDatapoints=2)["NextToken"]
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        ask(cloudwatch, stat("x", "b"), MaxDatapoints=2, NextToken=token)
