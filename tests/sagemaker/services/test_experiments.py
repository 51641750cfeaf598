"""Experiments, trials and trial components, asked with boto3."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from matinee.sagemaker.registry import experiments
from matinee.sagemaker.store import Resource
from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.jobs.conftest import refusal

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
LATER = NOON + timedelta(minutes=1)
TRAINING: Mapping[str, Any] = {
    "AlgorithmSpecification": {
        "TrainingImage": "an/image:1",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
    },
    "HyperParameters": {"epochs": "3", "kind": "regressor"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "ContentType": "text/csv",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/train"}},
        }
    ],
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/o/model.tar.gz"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "TrainingStartTime": NOON,
    "TrainingEndTime": LATER,
}
TRANSFORM: Mapping[str, Any] = {
    "ModelName": "m",
    "TransformInput": {
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}},
    },
    "TransformOutput": {"S3OutputPath": "s3://b/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
    "TransformJobStatus": "InProgress",
}
PROCESSING: Mapping[str, Any] = {
    "AppSpecification": {"ImageUri": "an/image:2"},
    "ProcessingInputs": [{"InputName": "raw", "S3Input": {"S3Uri": "s3://b/raw"}}],
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": "clean", "S3Output": {"S3Uri": "s3://b/clean"}}]
    },
    "ProcessingResources": {
        "ClusterConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
        }
    },
    "ProcessingJobStatus": "Completed",
}
JOBS = {
    "TrainingJob": ("training-job", TRAINING),
    "TransformJob": ("transform-job", TRANSFORM),
    "ProcessingJob": ("processing-job", PROCESSING),
}


def add_job(front: Front, kind: str, name: str, **changes: Any) -> Resource:
    """Put a job into the store as its driver would leave it."""
    path, document = JOBS[kind]
    arn, folder = front.context.arn(f"{path}/{name}"), front.context.new_id()
    now = front.clock.now
    described = {**document, f"{kind}Name": name, f"{kind}Arn": arn, **changes}
    status = described[f"{kind}Status"]
    kept = {"folder": folder, "hosts": ["algo-1"]}
    job = Resource(kind, name, arn, status, now, now, described, kept)
    front.context.store.insert(job)
    return job


def log(front: Front, job: Resource, *lines: str) -> None:
    path = front.context.folder / "jobs" / job.private["folder"] / "algo-1" / "log.jsonl"
    path.parent.mkdir(parents=True)
    times = range(1000, 1000 * (len(lines) + 1), 1000)
    path.write_text("".join(json.dumps(event) + "\n" for event in zip(times, lines, strict=True)))


@pytest.fixture
def client(front: Front) -> Any:
    client = front.client("sagemaker")
    client.create_experiment(ExperimentName="Stars", Description="of books")
    client.create_trial(TrialName="First", ExperimentName="stars")
    client.create_trial_component(TrialComponentName="Step")
    return client


def test_an_experiment(client: Any) -> None:
    described = client.describe_experiment(ExperimentName="stars")
    described.pop("ResponseMetadata")
    assert described == {
        "ExperimentName": "Stars",
        "ExperimentArn": f"{ARN}:experiment/stars",
        "DisplayName": "Stars",
        "Description": "of books",
        "CreationTime": NOON,
        "CreatedBy": {},
        "LastModifiedTime": NOON,
        "LastModifiedBy": {},
    }


def test_names_are_taken_in_any_case(client: Any) -> None:
    assert refusal(client.create_experiment, ExperimentName="STARS") == (
        "ValidationException",
        "Experiment names must be unique within an AWS account and region. "
        "Experiment with name (STARS) already exists.",
    )
    for call, request in (
        (client.create_trial, {"TrialName": "first", "ExperimentName": "Stars"}),
        (client.create_trial_component, {"TrialComponentName": "step"}),
    ):
        code, message = refusal(call, **request)
        assert (code, message[-16:]) == ("ValidationException", " already exists.")


def test_what_does_not_exist(client: Any) -> None:
    for call, noun, path in (
        ("describe_experiment", "Experiment", "experiment"),
        ("update_experiment", "Experiment", "experiment"),
        ("delete_experiment", "Experiment", "experiment"),
        ("describe_trial", "Trial", "experiment-trial"),
        ("update_trial", "Trial", "experiment-trial"),
        ("delete_trial", "Trial", "experiment-trial"),
        ("describe_trial_component", "TrialComponent", "experiment-trial-component"),
        ("update_trial_component", "TrialComponent", "experiment-trial-component"),
        ("delete_trial_component", "TrialComponent", "experiment-trial-component"),
    ):
        with pytest.raises(client.exceptions.ResourceNotFound) as caught:
            getattr(client, call)(**{f"{noun}Name": "none"})
        message = caught.value.response["Error"]["Message"]
        assert message == f"{noun} '{ARN}:{path}/none' does not exist."
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.create_trial(TrialName="t", ExperimentName="none")


def test_changes(client: Any, front: Front) -> None:
    front.clock.now = LATER
    client.update_experiment(ExperimentName="Stars", DisplayName="d", Description="e")
    client.update_trial(TrialName="First", DisplayName="f")
    experiment = client.describe_experiment(ExperimentName="Stars")
    assert (experiment["DisplayName"], experiment["Description"]) == ("d", "e")
    assert (experiment["CreationTime"], experiment["LastModifiedTime"]) == (NOON, LATER)
    trial = client.describe_trial(TrialName="First")
    assert (trial["DisplayName"], trial["ExperimentName"]) == ("f", "Stars")


def test_lists(client: Any, front: Front) -> None:
    front.clock.now = LATER
    client.create_experiment(ExperimentName="Other")
    client.create_trial(TrialName="Second", ExperimentName="Other")
    names = [item["ExperimentName"] for item in client.list_experiments()["ExperimentSummaries"]]
    assert names == ["Other", "Stars"]
    found = client.list_experiments(CreatedBefore=LATER)["ExperimentSummaries"]
    assert [item["ExperimentName"] for item in found] == ["Stars"]
    pages = client.get_paginator("list_trials").paginate(
        SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}
    )
    assert [item["TrialName"] for page in pages for item in page["TrialSummaries"]] == [
        "First",
        "Second",
    ]
    found = client.list_trials(ExperimentName="stars")["TrialSummaries"]
    assert [item["TrialName"] for item in found] == ["First"]


def test_nothing_is_deleted_that_has_parts(client: Any) -> None:
    client.associate_trial_component(TrialComponentName="Step", TrialName="First")
    client.associate_trial_component(TrialComponentName="Step", TrialName="First")
    assert refusal(client.delete_experiment, ExperimentName="Stars")[1] == (
        f"Experiment '{ARN}:experiment/stars' is linked to 1 or more trials and cannot be deleted."
    )
    assert refusal(client.delete_trial, TrialName="First")[0] == "ValidationException"
    assert refusal(client.delete_trial_component, TrialComponentName="Step") == (
        "ValidationException",
        f"TrialComponent '{ARN}:experiment-trial-component/step' is linked to 1 or more trials "
        "and cannot be deleted.",
    )
    client.disassociate_trial_component(TrialComponentName="Step", TrialName="First")
    with pytest.raises(client.exceptions.ResourceNotFound, match="is not associated"):
        client.disassociate_trial_component(TrialComponentName="Step", TrialName="First")
    client.delete_trial_component(TrialComponentName="Step")
    client.delete_trial(TrialName="First")
    client.delete_experiment(ExperimentName="Stars")
    assert client.list_experiments()["ExperimentSummaries"] == []


def test_the_trials_of_a_component_and_its_likes(client: Any) -> None:
    """``step`` is not ``step-2``, whose membership sorts beside it."""
    client.create_trial(TrialName="Second", ExperimentName="Stars")
    client.create_trial_component(TrialComponentName="step-2")
    client.associate_trial_component(TrialComponentName="step", TrialName="Second")
    client.associate_trial_component(TrialComponentName="step", TrialName="First")
    client.associate_trial_component(TrialComponentName="step-2", TrialName="First")
    found = client.list_trials(TrialComponentName="Step", SortOrder="Ascending")["TrialSummaries"]
    assert [trial["TrialName"] for trial in found] == ["First", "Second"]
    of_trial = client.list_trial_components(TrialName="First", SortBy="Name")
    names = [item["TrialComponentName"] for item in of_trial["TrialComponentSummaries"]]
    assert names == ["step-2", "Step"]
    of_experiment = client.list_trial_components(ExperimentName="Stars", MaxResults=1)
    assert len(of_experiment["TrialComponentSummaries"]) == 1
    rest = client.list_trial_components(
        ExperimentName="Stars", MaxResults=1, NextToken=of_experiment["NextToken"]
    )
    assert "NextToken" not in rest
    refused = refusal(client.list_trial_components, ExperimentName="Stars", TrialName="First")
    assert refused == (
        "ValidationException",
        "Filter by one of these only: ExperimentName, TrialName",
    )


def test_changes_a_component(client: Any) -> None:
    client.update_trial_component(
        TrialComponentName="Step",
        DisplayName="d",
        Status={"PrimaryStatus": "Completed", "Message": "m"},
        StartTime=NOON,
        Parameters={"a": {"NumberValue": 1.0}, "b": {"StringValue": "x"}},
        InputArtifacts={"in": {"Value": "s3://b/in", "MediaType": "text/csv"}},
    )
    client.update_trial_component(
        TrialComponentName="Step",
        Parameters={"b": {"StringValue": "y"}},
        ParametersToRemove=["a"],
        InputArtifactsToRemove=["in"],
        OutputArtifacts={"out": {"Value": "s3://b/out"}},
    )
    described = client.describe_trial_component(TrialComponentName="Step")
    assert described["DisplayName"] == "d"
    assert described["Status"] == {"PrimaryStatus": "Completed", "Message": "m"}
    assert described["StartTime"] == NOON
    assert described["Parameters"] == {"b": {"StringValue": "y"}}
    assert described["InputArtifacts"] == {}
    assert described["OutputArtifacts"] == {"out": {"Value": "s3://b/out"}}
    many = {str(number): {"NumberValue": 0.0} for number in range(300)}
    code, message = refusal(
        client.update_trial_component, TrialComponentName="Step", Parameters=many
    )
    assert (code, message) == (
        "ValidationException",
        "'Step' would have 301 Parameters; the limit is 300",
    )


def test_a_training_job_is_a_component(client: Any, front: Front) -> None:
    job = add_job(front, "TrainingJob", "Fit")
    log(front, job, "loss=3.0", "loss=1.0", "loss=2.0")
    described = client.describe_trial_component(TrialComponentName="fit-aws-training-job")
    described.pop("ResponseMetadata")
    assert described == {
        "TrialComponentName": "Fit-aws-training-job",
        "TrialComponentArn": f"{ARN}:experiment-trial-component/fit-aws-training-job",
        "DisplayName": "Fit-aws-training-job",
        "Source": {
            "SourceArn": f"{ARN}:training-job/fit",
            "SourceType": "SageMakerTrainingJob",
        },
        "Status": {
            "PrimaryStatus": "Completed",
            "Message": "Status: Completed, secondary status: Completed, failure reason: .",
        },
        "StartTime": NOON,
        "EndTime": LATER,
        "CreationTime": NOON,
        "CreatedBy": {},
        "LastModifiedTime": NOON,
        "LastModifiedBy": {},
        "Parameters": {
            "epochs": {"NumberValue": 3.0},
            "kind": {"StringValue": "regressor"},
            "SageMaker.InstanceType": {"StringValue": "ml.m5.large"},
            "SageMaker.InstanceCount": {"NumberValue": 1.0},
            "SageMaker.VolumeSizeInGB": {"NumberValue": 10.0},
        },
        "InputArtifacts": {
            "SageMaker.ImageUri": {"Value": "an/image:1"},
            "train": {"Value": "s3://b/train", "MediaType": "text/csv"},
        },
        "OutputArtifacts": {"SageMaker.ModelArtifact": {"Value": "s3://b/o/model.tar.gz"}},
        "Metrics": [
            {
                "MetricName": "loss",
                "SourceArn": f"{ARN}:training-job/fit",
                "TimeStamp": described["Metrics"][0]["TimeStamp"],
                "Max": 3.0,
                "Min": 1.0,
                "Last": 2.0,
                "Avg": 2.0,
                "StdDev": pytest.approx((2 / 3) ** 0.5),
                "Count": 3,
            }
        ],
    }
    assert described["Metrics"][0]["TimeStamp"].timestamp() == 3.0


def test_other_jobs_are_components_too(client: Any, front: Front) -> None:
    add_job(front, "TransformJob", "t")
    add_job(front, "ProcessingJob", "p")
    transform = client.describe_trial_component(TrialComponentName="t-aws-transform-job")
    assert transform["Status"]["PrimaryStatus"] == "InProgress"
    assert transform["InputArtifacts"]["SageMaker.TransformInput"]["Value"] == "s3://b/in"
    assert transform["OutputArtifacts"]["SageMaker.TransformOutput"]["Value"] == "s3://b/out"
    processing = client.describe_trial_component(TrialComponentName="p-aws-processing-job")
    assert processing["InputArtifacts"]["raw"]["Value"] == "s3://b/raw"
    assert processing["OutputArtifacts"]["clean"]["Value"] == "s3://b/clean"


def test_a_jobs_component_is_found_by_its_job(client: Any, front: Front) -> None:
    job = add_job(front, "TrainingJob", "Fit")
    found = client.list_trial_components(SourceArn=job.arn)["TrialComponentSummaries"]
    assert [item["TrialComponentName"] for item in found] == ["Fit-aws-training-job"]
    assert found[0]["TrialComponentSource"]["SourceArn"] == job.arn
    assert client.list_trial_components(SourceArn=f"{ARN}:x/y")["TrialComponentSummaries"] == []


def test_what_is_changed_of_a_jobs_component_is_kept(client: Any, front: Front) -> None:
    add_job(front, "TrainingJob", "Fit")
    name = "Fit-aws-training-job"
    number = {"NumberValue": 1.0}
    client.update_trial_component(
        TrialComponentName=name, DisplayName="d", Parameters={"a": number, "epochs": number}
    )
    client.update_trial_component(
        TrialComponentName=name, ParametersToRemove=["a", "kind"], Parameters={"b": number}
    )
    described = client.describe_trial_component(TrialComponentName=name)
    assert described["DisplayName"] == "d"
    assert {key for key in described["Parameters"] if not key.startswith("SageMaker")} == {
        "epochs",
        "b",
    }
    assert described["Parameters"]["epochs"] == number
    client.delete_trial_component(TrialComponentName=name)
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.describe_trial_component(TrialComponentName=name)
    names = [
        item["TrialComponentName"]
        for item in client.list_trial_components()["TrialComponentSummaries"]
    ]
    assert names == ["Step"]


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize("sort_by", ["Name", "CreationTime"])
def test_pages_through_jobs_and_components(
    client: Any, front: Front, order: str, sort_by: str
) -> None:
    for minute, kind, name in (
        (1, "TrainingJob", "a"),
        (1, "TransformJob", "a"),
        (2, "TrainingJob", "c"),
        (3, "ProcessingJob", "b"),
    ):
        front.clock.now = NOON + timedelta(minutes=minute)
        add_job(front, kind, name)

    def listed(size: int) -> list[str]:
        pages = client.get_paginator("list_trial_components").paginate(
            SortBy=sort_by, SortOrder=order, PaginationConfig={"PageSize": size}
        )
        return [
            item["TrialComponentName"].replace("-aws", "")
            for page in pages
            for item in page["TrialComponentSummaries"]
        ]

    first = ["a-training-job", "a-transform-job"]
    expected = (
        ["Step", *first, "b-processing-job", "c-training-job"]
        if sort_by == "Name"
        else ["Step", *first, "c-training-job", "b-processing-job"]
    )
    if order == "Descending":
        expected.reverse()
    assert [listed(size) for size in (1, 2, 3, 100)] == [expected] * 4


def test_a_token_belongs_to_its_query(client: Any) -> None:
    client.create_trial_component(TrialComponentName="other")
    token = client.list_trial_components(MaxResults=1)["NextToken"]
    refused = refusal(client.list_trial_components, SortBy="Name", NextToken=token)
    assert refused[0] == "ValidationException"
    assert refused[1].endswith("belongs to another query")
    assert refusal(client.list_trial_components, NextToken="x")[0] == "ValidationException"


def test_a_job_is_enrolled_once(client: Any, front: Front) -> None:
    config = {"ExperimentName": "Stars", "TrialComponentDisplayName": "shown"}
    job = add_job(front, "TrainingJob", "Fit", ExperimentConfig=config)
    experiments.enrol(front.context, job)
    experiments.enrol(front.context, job)
    (trial,) = client.list_trials(TrialComponentName="Fit-aws-training-job")["TrialSummaries"]
    assert trial["TrialName"] == "Fit-trial"
    (summary,) = client.list_trial_components(ExperimentName="Stars")["TrialComponentSummaries"]
    assert summary["DisplayName"] == "shown"
    client.disassociate_trial_component(
        TrialComponentName="Fit-aws-training-job", TrialName="Fit-trial"
    )
    kept = front.context.store.get("TrainingJob", "Fit")
    assert kept is not None
    experiments.enrol(front.context, kept)
    assert client.list_trial_components(TrialName="Fit-trial")["TrialComponentSummaries"] == []


def test_a_job_joins_the_trial_it_names(client: Any, front: Front) -> None:
    config = {"ExperimentName": "Stars", "TrialName": "First"}
    experiments.enrol(front.context, add_job(front, "TransformJob", "t", ExperimentConfig=config))
    (summary,) = client.list_trial_components(TrialName="First")["TrialComponentSummaries"]
    assert summary["TrialComponentName"] == "t-aws-transform-job"


def test_a_job_of_an_experiment_that_was_deleted_stays_alone(front: Front) -> None:
    job = add_job(front, "TrainingJob", "Fit", ExperimentConfig={"ExperimentName": "gone"})
    experiments.enrol(front.context, job)
    assert list(experiments.trials_of(front.context, f"{ARN}:x/fit-aws-training-job")) == []


def test_a_new_trial_does_not_take_anothers_name(client: Any, front: Front) -> None:
    client.create_experiment(ExperimentName="Other")
    client.create_trial(TrialName="Fit-trial", ExperimentName="Other")
    job = add_job(front, "TrainingJob", "Fit", ExperimentConfig={"ExperimentName": "Stars"})
    job = dataclasses.replace(job, private={**job.private, "folder": "0123456789"})
    experiments.enrol(front.context, job)
    (trial,) = client.list_trials(TrialComponentName="Fit-aws-training-job")["TrialSummaries"]
    assert trial["TrialName"] == "Fit-trial-01234567"
