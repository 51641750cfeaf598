"""The lineage of a job that really ran: its component, its data's hash, its metrics, its trial."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.sagemaker.jobs.conftest import Jobs, refusal


def test_a_real_job_tells_where_its_model_came_from(jobs: Jobs) -> None:
    client = jobs.sagemaker
    experiment, name = jobs.new_name("experiment"), jobs.new_name("lineage")
    client.create_experiment(ExperimentName=experiment)
    for part in ("a", "b"):
        jobs.put(f"train/{part}", part)
    request = jobs.training_request(name, print="tuned", x="0.5")
    request["InputDataConfig"] = [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": jobs.uri("train/")}},
        }
    ]
    request["ExperimentConfig"] = {"ExperimentName": experiment}
    job = client.create_training_job(**request)["TrainingJobArn"]
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"

    (component,) = client.list_trial_components(ExperimentName=experiment)[
        "TrialComponentSummaries"
    ]
    described = client.describe_trial_component(TrialComponentName=component["TrialComponentName"])
    assert described["Source"] == {"SourceArn": job, "SourceType": "SageMakerTrainingJob"}
    assert described["Parameters"]["x"] == {"NumberValue": 0.5}
    assert [metric["MetricName"] for metric in described["Metrics"]] == ["loss"]

    rows = client.list_associations(DestinationArn=component["TrialComponentArn"])
    sources = {row["SourceType"]: row["SourceArn"] for row in rows["AssociationSummaries"]}
    assert sources.keys() == {"DataSet", "Image"}
    data = client.describe_artifact(ArtifactArn=sources["DataSet"])
    etags = [hashlib.md5(part.encode(), usedforsecurity=False).hexdigest() for part in "ab"]
    lines = "".join(f"{part}\t1\t{etag}\n" for part, etag in zip("ab", etags, strict=True))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert data["Source"] == {
        "SourceUri": jobs.uri("train/"),
        "SourceTypes": [{"SourceIdType": "Custom", "Value": f"sha256:{digest}"}],
    }
    assert data["Properties"] == {"Objects": "2", "Bytes": "2"}

    (produced,) = client.list_associations(SourceArn=component["TrialComponentArn"])[
        "AssociationSummaries"
    ]
    model = client.describe_artifact(ArtifactArn=produced["DestinationArn"])
    bucket, _, key = model["Source"]["SourceUri"].removeprefix("s3://").partition("/")
    etag = jobs.s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
    assert model["Source"]["SourceTypes"] == [{"SourceIdType": "S3ETag", "Value": etag}]


@pytest.mark.parametrize("member", ["ExperimentName", "TrialName"])
def test_an_experiment_must_exist(jobs: Jobs, member: str) -> None:
    request: dict[str, Any] = jobs.training_request(jobs.new_name("lineage"))
    request["ExperimentConfig"] = {member: "none"}
    code, message = refusal(jobs.sagemaker.create_training_job, **request)
    assert (code, message[-21:]) == ("ResourceNotFound", "none' does not exist.")
