"""SageMaker Metrics, asked with boto3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.services.test_experiments import add_job, log

ARN = "arn:aws:sagemaker:us-east-1:000000000000:experiment-trial-component/step"


@pytest.fixture
def metrics(front: Front) -> Any:
    front.client("sagemaker").create_trial_component(TrialComponentName="step")
    return front.client("sagemaker-metrics")


def put(metrics: Any, *values: float, name: str = "loss") -> Any:
    data = [
        {
            "MetricName": name,
            "Timestamp": NOON + timedelta(seconds=30 * step),
            "Step": step,
            "Value": value,
        }
        for step, value in enumerate(values)
    ]
    return metrics.batch_put_metrics(TrialComponentName="step", MetricData=data)


def get(metrics: Any, **changes: Any) -> Any:
    query = {
        "MetricName": "loss",
        "ResourceArn": ARN,
        "MetricStat": "Avg",
        "Period": "OneMinute",
        "XAxisType": "Timestamp",
        **changes,
    }
    (result,) = metrics.batch_get_metrics(MetricQueries=[query])["MetricQueryResults"]
    return result


def test_what_is_put_is_described(metrics: Any, front: Front) -> None:
    assert "Errors" not in put(metrics, 3.0, 1.0, 2.0)
    put(metrics, 7.0, name="other")
    described = front.client("sagemaker").describe_trial_component(TrialComponentName="step")
    loss, other = described["Metrics"]
    assert other["Last"] == 7.0
    assert loss == {
        "MetricName": "loss",
        "SourceArn": ARN,
        "TimeStamp": NOON + timedelta(minutes=1),
        "Max": 3.0,
        "Min": 1.0,
        "Last": 2.0,
        "Avg": 2.0,
        "StdDev": pytest.approx((2 / 3) ** 0.5),
        "Count": 3,
    }


def test_gets_statistics_over_time(metrics: Any) -> None:
    put(metrics, 1.0, 3.0, 5.0)
    result = get(metrics)
    noon = int(NOON.timestamp())
    assert result == {
        "Status": "Complete",
        "XAxisValues": [noon, noon + 60],
        "MetricValues": [2.0, 5.0],
    }
    assert get(metrics, End=noon)["MetricValues"] == [2.0]
    assert get(metrics, MetricStat="Count", Period="OneHour")["MetricValues"] == [3.0]
    assert get(metrics, MetricName="none")["MetricValues"] == []


@pytest.mark.parametrize(
    ("statistic", "value"),
    [("Min", 1.0), ("Max", 3.0), ("Avg", 2.0), ("Count", 2.0), ("StdDev", 1.0), ("Last", 3.0)],
)
def test_every_statistic(metrics: Any, statistic: str, value: float) -> None:
    put(metrics, 1.0, 3.0)
    assert get(metrics, MetricStat=statistic)["MetricValues"] == [value]


def test_gets_statistics_over_iterations(metrics: Any) -> None:
    put(metrics, 1.0, 3.0)
    put(metrics, 5.0)
    result = get(metrics, Period="IterationNumber", XAxisType="IterationNumber")
    assert (result["XAxisValues"], result["MetricValues"]) == ([0, 1], [3.0, 3.0])


def test_gets_what_a_job_logged(metrics: Any, front: Front) -> None:
    job = add_job(front, "TrainingJob", "Fit")
    log(front, job, "loss=3.0", "no", "loss=1.0")
    result = get(
        metrics, ResourceArn=job.arn, Period="IterationNumber", XAxisType="IterationNumber"
    )
    assert (result["XAxisValues"], result["MetricValues"]) == ([0, 1], [3.0, 1.0])


def test_refuses_query_by_query(metrics: Any) -> None:
    missing = get(metrics, ResourceArn=f"{ARN}-2")
    assert missing["Status"] == "ValidationError"
    assert "no trial component here" in missing["Message"]
    mixed = get(metrics, Period="IterationNumber")
    assert mixed["Message"] == "Period IterationNumber does not go with XAxisType Timestamp"


def test_a_value_cloudwatch_does_not_take_is_refused_alone(metrics: Any) -> None:
    answer = put(metrics, 1.0, 2.5e108, 2.0, -2.5e108)
    assert answer["Errors"] == [
        {"Code": "VALIDATION_ERROR", "MetricIndex": index} for index in (1, 3)
    ]
    assert get(metrics, MetricStat="Count", Period="OneHour")["MetricValues"] == [2.0]


def test_metrics_go_with_their_component(metrics: Any, front: Front) -> None:
    put(metrics, 1.0)
    client = front.client("sagemaker")
    client.delete_trial_component(TrialComponentName="step")
    client.create_trial_component(TrialComponentName="step")
    assert client.describe_trial_component(TrialComponentName="step")["Metrics"] == []


def test_a_component_must_exist(metrics: Any, front: Front) -> None:
    with pytest.raises(metrics.exceptions.ClientError) as caught:
        metrics.batch_put_metrics(
            TrialComponentName="none",
            MetricData=[{"MetricName": "a", "Timestamp": NOON, "Value": 1.0}],
        )
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    assert front.context.store.find("TrialComponentMetrics") == []
