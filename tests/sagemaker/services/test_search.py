"""SageMaker's Search, asked with boto3."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.jobs.conftest import refusal
from tests.sagemaker.services.test_experiments import add_job, log


@pytest.fixture
def client(front: Front) -> Any:
    return front.client("sagemaker")


def search(client: Any, resource: str, *filters: tuple[str, str, str], **changes: Any) -> Any:
    expression = [
        {"Name": name, "Operator": operator, "Value": value} for name, operator, value in filters
    ]
    request = {"SearchExpression": {"Filters": expression}} if expression else {}
    return client.search(Resource=resource, **request, **changes)


def names(answer: Any, record: str) -> list[str]:
    return [result[record][f"{record}Name"] for result in answer["Results"]]


def add_jobs(front: Front) -> None:
    for minute, (name, epochs, loss) in enumerate((("a", "9", 3.0), ("b", "10", 1.0))):
        front.clock.now = NOON + timedelta(minutes=minute)
        document = {
            "HyperParameters": {"epochs": epochs},
            "FinalMetricDataList": [{"MetricName": "loss", "Value": loss, "Timestamp": NOON}],
            "CreationTime": front.clock.now,
            "LastModifiedTime": front.clock.now,
        }
        log(front, add_job(front, "TrainingJob", name, **document), f"loss={loss}")


def test_finds_training_jobs(client: Any, front: Front) -> None:
    add_jobs(front)
    client.add_tags(
        ResourceArn="arn:aws:sagemaker:us-east-1:000000000000:training-job/a",
        Tags=[{"Key": "team", "Value": "x"}],
    )
    assert names(search(client, "TrainingJob"), "TrainingJob") == ["b", "a"]
    for condition in (
        ("TrainingJobName", "Equals", "a"),
        ("HyperParameters.epochs", "LessThan", "10"),
        ("Metrics.loss", "GreaterThan", "2"),
        ("Tags.team", "Equals", "x"),
        ("CreationTime", "LessThanOrEqualTo", NOON.isoformat()),
    ):
        answer = search(client, "TrainingJob", condition)
        assert names(answer, "TrainingJob") == ["a"]
        assert answer["TotalHits"] == {"Value": 1, "Relation": "EqualTo"}
    record = answer["Results"][0]["TrainingJob"]
    assert record["Tags"] == [{"Key": "team", "Value": "x"}]
    assert record["HyperParameters"] == {"epochs": "9"}


def test_sorts_and_pages(client: Any, front: Front) -> None:
    add_jobs(front)

    def listed(**request: Any) -> list[str]:
        pages = client.get_paginator("search").paginate(
            Resource="TrainingJob", PaginationConfig={"PageSize": 1}, **request
        )
        return [name for page in pages for name in names(page, "TrainingJob")]

    assert listed() == ["b", "a"]
    assert listed(SortOrder="Ascending") == ["a", "b"]
    assert listed(SortBy="Metrics.loss") == ["a", "b"]
    assert listed(SortBy="TrainingJobName", SortOrder="Ascending") == ["a", "b"]


def test_finds_the_components_of_an_experiment(client: Any, front: Front) -> None:
    """What the SDK's ExperimentAnalytics asks."""
    add_jobs(front)
    client.create_experiment(ExperimentName="Stars", Tags=[{"Key": "k", "Value": "v"}])
    client.create_trial(TrialName="First", ExperimentName="Stars")
    for name in ("a", "b"):
        client.associate_trial_component(
            TrialComponentName=f"{name}-aws-training-job", TrialName="First"
        )
    client.create_trial_component(TrialComponentName="alone")
    answer = search(
        client,
        "ExperimentTrialComponent",
        ("Parents.ExperimentName", "Equals", "Stars"),
        ("Parameters.epochs", "GreaterThan", "1"),
        SortBy="metrics.loss.max",
        SortOrder="Ascending",
    )
    assert names(answer, "TrialComponent") == ["b-aws-training-job", "a-aws-training-job"]
    record = answer["Results"][0]["TrialComponent"]
    assert record["Parents"] == [{"TrialName": "First", "ExperimentName": "Stars"}]
    assert [metric["Last"] for metric in record["Metrics"]] == [1.0]
    assert record["SourceDetail"]["TrainingJob"]["TrainingJobName"] == "b"
    assert names(search(client, "ExperimentTrialComponent"), "TrialComponent")[0] != ""

    (trial,) = search(client, "ExperimentTrial")["Results"]
    assert len(trial["Trial"]["TrialComponentSummaries"]) == 2
    (experiment,) = search(client, "Experiment", ("Tags.k", "Equals", "v"))["Results"]
    assert experiment["Experiment"]["ExperimentName"] == "Stars"


def test_finds_packages(client: Any) -> None:
    client.create_model_package_group(ModelPackageGroupName="Stars")
    container = {"Image": "i"}
    for approval in ("Approved", "Rejected"):
        client.create_model_package(
            ModelPackageGroupName="Stars",
            ModelApprovalStatus=approval,
            InferenceSpecification={"Containers": [container]},
        )
    answer = search(client, "ModelPackage", ("ModelApprovalStatus", "Equals", "Approved"))
    assert [item["ModelPackage"]["ModelPackageVersion"] for item in answer["Results"]] == [1]
    (group,) = search(client, "ModelPackageGroup")["Results"]
    assert group["ModelPackageGroup"]["ModelPackageGroupName"] == "Stars"


def test_finds_tuning_jobs(client: Any, front: Front) -> None:
    document = {
        "HyperParameterTuningJobName": "t",
        "HyperParameterTuningJobArn": "arn",
        "HyperParameterTuningJobStatus": "Completed",
    }
    front.add_job("HyperParameterTuningJob", "t", [], document)
    answer = search(
        client,
        "HyperParameterTuningJob",
        ("HyperParameterTuningJobStatus", "In", "Completed,Failed"),
    )
    assert names(answer, "HyperParameterTuningJob") == ["t"]


def test_visibility_is_by_tag(client: Any) -> None:
    client.create_experiment(ExperimentName="a", Tags=[{"Key": "k", "Value": "v"}])
    client.create_experiment(ExperimentName="b")
    visible = [{"Key": "Tags.k", "Value": "v"}]
    assert names(search(client, "Experiment", VisibilityConditions=visible), "Experiment") == ["a"]
    with pytest.raises(ClientError, match="has a Key and a Value"):
        search(client, "Experiment", VisibilityConditions=[{}])
    shared = search(client, "Experiment", CrossAccountFilterOption="CrossAccount")
    assert shared["Results"] == []


def test_what_cannot_be_searched(client: Any) -> None:
    assert refusal(client.search, Resource="Pipeline") == (
        "ValidationException",
        "not implemented by matinee: Search with Resource Pipeline",
    )
    refused = refusal(client.search, Resource="Experiment", SearchExpression={})
    assert refused[0] == "ValidationException"


@pytest.mark.parametrize("levels", [100, 400])
def test_a_deep_expression_is_refused(front: Front, levels: int) -> None:
    expression: dict[str, Any] = {"Filters": [{"Name": "A", "Value": "b"}]}
    for _ in range(levels):
        expression = {"SubExpressions": [expression]}
    body = json.dumps({"Resource": "TrainingJob", "SearchExpression": expression}).encode()
    headers = {
        "X-Amz-Target": "SageMaker.Search",
        "Content-Type": "application/x-amz-json-1.1",
    }
    answer = front.post("sagemaker", body, headers)
    assert (answer.status_code, "nested too deeply" in answer.text) == (400, True)
