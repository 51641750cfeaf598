"""CloudWatch metrics of training jobs, asked for with boto3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

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
            {"Statistics": None, "ExtendedStatistics": ["p50"]},
            "InvalidParameterValue",
            "matinee computes no ExtendedStatistics",
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
