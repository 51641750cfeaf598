"""CloudWatch metrics: those of training jobs and one's own, asked for with boto3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import ServiceModel

from matinee.sagemaker.services import metrics
from matinee.sagemaker.services.metrics import MAX_VALUES
from tests.sagemaker.conftest import NOON, Front

DEFINITIONS = [
    {"Name": "train:rmse", "Regex": "train rmse=([0-9.]+)"},
    {"Name": "test:rmse", "Regex": "test rmse=([0-9.]+)"},
]
LOG = [
    (0, "train rmse=1.0"),
    (59_999, "train rmse=0.5, test rmse=2.0"),
    (60_000, "train rmse=0.25"),
    (61_000, "nothing here"),
    (180_000, "train rmse=0.125"),
]


def ask(front: Front, **changes: Any) -> Any:
    request = {
        "Namespace": "/aws/sagemaker/TrainingJobs",
        "MetricName": "train:rmse",
        "Dimensions": [{"Name": "TrainingJobName", "Value": "a"}],
        "StartTime": NOON,
        "EndTime": NOON + timedelta(minutes=3),
        "Period": 60,
        "Statistics": ["Average"],
        **changes,
    }
    return front.client("cloudwatch").get_metric_statistics(
        **{name: value for name, value in request.items() if value is not None}
    )


@pytest.fixture
def job(front: Front) -> None:
    start = int(NOON.timestamp() * 1000)
    document = {"AlgorithmSpecification": {"MetricDefinitions": DEFINITIONS}}
    log = [(start + offset, text) for offset, text in LOG]
    front.add_job("TrainingJob", "a", log, document)


def averages(answer: Any) -> list[tuple[float, float]]:
    return [
        ((point["Timestamp"] - NOON).total_seconds(), point["Average"])
        for point in answer["Datapoints"]
    ]


@pytest.mark.usefixtures("job")
def test_averages_the_values_of_each_period(front: Front) -> None:
    answer = ask(front)
    assert answer["Label"] == "train:rmse"
    assert averages(answer) == [(0, 0.75), (60, 0.25)]
    assert averages(ask(front, MetricName="test:rmse")) == [(0, 2.0)]


@pytest.mark.usefixtures("job")
def test_all_statistics_of_a_longer_period(front: Front) -> None:
    answer = ask(
        front, Period=180, Statistics=["SampleCount", "Average", "Sum", "Minimum", "Maximum"]
    )
    assert answer["Datapoints"] == [
        {
            "Timestamp": NOON,
            "SampleCount": 3.0,
            "Average": 1.75 / 3,
            "Sum": 1.75,
            "Minimum": 0.25,
            "Maximum": 1.0,
            "Unit": "None",
        }
    ]


@pytest.mark.usefixtures("job")
def test_the_start_is_rounded_down_to_the_minute_and_the_end_exclusive(front: Front) -> None:
    answer = ask(
        front,
        StartTime=NOON + timedelta(seconds=59),
        EndTime=NOON + timedelta(seconds=60),
    )
    assert averages(answer) == [(0, 0.75)]


@pytest.mark.usefixtures("job")
def test_a_period_of_one_second(front: Front) -> None:
    assert averages(ask(front, Period=1, MetricName="test:rmse")) == [(59, 2.0)]


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    "changes",
    [
        {"MetricName": "train:loss"},
        {"Namespace": "AWS/EC2"},
        {"Dimensions": [{"Name": "TrainingJobName", "Value": "b"}]},
        {"Dimensions": [{"Name": "Host", "Value": "a"}]},
        {"Dimensions": None},
        {"Unit": "Seconds"},
    ],
)
def test_what_was_not_measured_has_no_data(front: Front, changes: dict[str, Any]) -> None:
    assert ask(front, **changes)["Datapoints"] == []


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"EndTime": NOON}, "InvalidParameterValue", "StartTime must be less than"),
        ({"Period": 61}, "InvalidParameterValue", "multiple of 60, not 61"),
        (
            {"Statistics": None, "ExtendedStatistics": ["tm99"]},
            "InvalidParameterValue",
            "The statistic 'tm99' is none of",
        ),
        (
            {"ExtendedStatistics": ["p50"]},
            "InvalidParameterCombination",
            "cannot be specified together",
        ),
        ({"Statistics": None}, "InvalidParameterCombination", "At least one of the parameters"),
        (
            {"EndTime": NOON + timedelta(minutes=1441)},
            "InvalidParameterCombination",
            "up to 1441 datapoints",
        ),
    ],
)
def test_requests_that_do_not_fit(
    front: Front, changes: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as call:
        ask(front, **changes)
    assert call.value.response["Error"]["Code"] == code


NAMESPACE = "films"


def put(front: Front, *data: dict[str, Any]) -> None:
    front.client("cloudwatch").put_metric_data(
        Namespace=NAMESPACE, MetricData=[{"MetricName": "watched", **item} for item in data]
    )


def own(front: Front, **changes: Any) -> Any:
    changes = {"Namespace": NAMESPACE, "MetricName": "watched", "Dimensions": None, **changes}
    return ask(front, **changes)["Datapoints"]


def test_values_that_were_put(front: Front) -> None:
    put(front, {"Value": 1.0}, {"Values": [3.0, 5.0], "Counts": [2.0, 1.0]})
    statistics = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"]
    (point,) = own(front, Statistics=statistics)
    assert point == {
        "Timestamp": NOON,
        "Unit": "None",
        "SampleCount": 4.0,
        "Average": 3.0,
        "Sum": 12.0,
        "Minimum": 1.0,
        "Maximum": 5.0,
    }


def test_a_summary_that_was_put(front: Front) -> None:
    summary = {"SampleCount": 4.0, "Sum": 10.0, "Minimum": 1.0, "Maximum": 4.0}
    put(front, {"StatisticValues": summary})
    (point,) = own(front)
    assert point["Average"] == 2.5
    # Percentiles need the values themselves.
    assert own(front, Statistics=None, ExtendedStatistics=["p50"]) == []


def test_percentiles(front: Front) -> None:
    put(front, {"Values": [float(n) for n in range(1, 101)]})
    (point,) = own(front, Statistics=None, ExtendedStatistics=["p0", "p50", "p99", "p99.5", "p100"])
    assert point["ExtendedStatistics"] == {
        "p0": 1.0, "p50": 50.0, "p99": 99.0, "p99.5": 100.0, "p100": 100.0
    }  # fmt: skip
    put(front, {"Value": -1.0})
    assert own(front, Statistics=None, ExtendedStatistics=["p50"]) == []


def test_dimensions_and_units_are_kept_apart(front: Front) -> None:
    here = [{"Name": "country", "Value": "ch"}]
    put(
        front,
        {"Value": 1.0, "Dimensions": here, "Unit": "Count"},
        {"Value": 2.0, "Dimensions": here, "Unit": "Seconds"},
        {"Value": 4.0},
    )
    found = [(point["Unit"], point["Average"]) for point in own(front, Dimensions=here)]
    assert found == [("Count", 1.0), ("Seconds", 2.0)]
    assert [point["Average"] for point in own(front, Dimensions=here, Unit="Seconds")] == [2.0]
    assert [point["Average"] for point in own(front)] == [4.0]


def test_high_resolution(front: Front) -> None:
    moment = NOON + timedelta(seconds=59)
    put(front, {"Value": 1.0, "Timestamp": moment, "StorageResolution": 1})
    put(front, {"Value": 2.0, "Timestamp": moment})
    assert [point["Timestamp"] for point in own(front, Period=1)] == [NOON, moment]


@pytest.mark.parametrize(
    ("item", "code", "words"),
    [
        ({}, "InvalidParameterCombination", "must be specified, not none"),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombination", "Value, "),
        ({"Value": 2.0**361}, "InvalidParameterValue", "between -2"),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, "InvalidParameterValue", "the same size"),
        ({"Values": [1.0], "Counts": [0.0]}, "InvalidParameterValue", "greater than 0"),
        ({"Value": 1.0, "StorageResolution": 5}, "InvalidParameterValue", "must be 1 or 60"),
        (
            {"Value": 1.0, "Timestamp": NOON - timedelta(days=15)},
            "InvalidParameterValue",
            "within the past two weeks",
        ),
        (
            {"Value": 1.0, "Timestamp": NOON + timedelta(hours=3)},
            "InvalidParameterValue",
            "more than two hours in the future",
        ),
    ],
)
def test_what_is_not_put(front: Front, item: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(ClientError, match=words) as call:
        put(front, {"Value": 1.0}, item)
    assert call.value.response["Error"]["Code"] == code
    assert own(front) == []


def test_whose_metrics_may_be_put(front: Front) -> None:
    client = front.client("cloudwatch")
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="AWS/EC2"):
        client.put_metric_data(Namespace="AWS/EC2", MetricData=[{"MetricName": "a", "Value": 1.0}])
    with pytest.raises(client.exceptions.MissingRequiredParameterException, match="MetricData"):
        client.put_metric_data(Namespace=NAMESPACE)


@pytest.mark.usefixtures("job")
def test_lists_metrics(front: Front) -> None:
    put(front, {"Value": 1.0, "Dimensions": [{"Name": "country", "Value": "ch"}]}, {"Value": 2.0})
    client = front.client("cloudwatch")
    found = client.list_metrics()["Metrics"]
    assert [(item["Namespace"], item["MetricName"]) for item in found] == [
        ("/aws/sagemaker/TrainingJobs", "test:rmse"),
        ("/aws/sagemaker/TrainingJobs", "train:rmse"),
        (NAMESPACE, "watched"),
        (NAMESPACE, "watched"),
    ]
    assert found[0]["Dimensions"] == [{"Name": "TrainingJobName", "Value": "a"}]
    by_dimension = client.list_metrics(Dimensions=[{"Name": "country"}])["Metrics"]
    assert [item["Dimensions"] for item in by_dimension] == [[{"Name": "country", "Value": "ch"}]]
    of_job = client.list_metrics(
        MetricName="train:rmse", Dimensions=[{"Name": "TrainingJobName", "Value": "a"}]
    )
    assert len(of_job["Metrics"]) == 1


def test_lists_metrics_in_pages(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_METRICS", 2)
    put(front, *({"MetricName": name, "Value": 1.0} for name in "abc"))
    pages = front.client("cloudwatch").get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
    assert [[item["MetricName"] for item in page["Metrics"]] for page in pages] == [
        ["a", "b"], ["c"]
    ]  # fmt: skip


@pytest.mark.parametrize("request_", [{"NextToken": "%"}, {"RecentlyActive": "PT3H"}])
def test_what_is_not_listed(front: Front, request_: dict[str, str]) -> None:
    with pytest.raises(ClientError, match=r"NextToken|RecentlyActive"):
        front.client("cloudwatch").list_metrics(**request_)


@pytest.mark.parametrize(
    ("protocol", "content_type"),
    [
        ("json", "application/x-amz-json-1.0"),
        ("query", "text/xml; charset=utf-8"),
        ("smithy-rpc-v2-cbor", "application/cbor"),
    ],
)
def test_in_every_protocol(
    front: Front, protocol: str, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which of a service's protocols a client speaks is the SDK's own choice.
    monkeypatch.setattr(ServiceModel, "resolved_protocol", protocol)
    client = front.client("cloudwatch")
    client.put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[
            {
                "MetricName": "watched",
                "Timestamp": NOON,
                "Values": [1.5, 2.5],
                "Dimensions": [{"Name": "country", "Value": "中"}],
            }
        ],
    )
    answer = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="watched",
        Dimensions=[{"Name": "country", "Value": "中"}],
        StartTime=NOON,
        EndTime=NOON + timedelta(minutes=1),
        Period=60,
        Statistics=["Average", "SampleCount"],
    )
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == content_type
    assert answer["Label"] == "watched"
    (point,) = answer["Datapoints"]
    assert (point["Timestamp"], point["Average"], point["SampleCount"]) == (NOON, 2.0, 2.0)
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_metric_data(Namespace="AWS/a", MetricData=[{"MetricName": "a", "Value": 1.0}])
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert "AWS/a" in caught.value.response["Error"]["Message"]


def test_a_request_may_be_compressed(front: Front) -> None:
    # Clients compress what is over 10 KiB.
    values = [float(n) + 1 / 3 for n in range(MAX_VALUES)]
    put(front, *({"Values": values} for _ in range(10)))
    (point,) = own(front, Statistics=["SampleCount"])
    assert point["SampleCount"] == 10 * MAX_VALUES
