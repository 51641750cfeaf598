"""Training on several instances, from ratings to a model: real steps and a real job."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from matinee.workflow.images import factorization_machines
from matinee.workflow.jobs import trained_model
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.requests import training_request
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.workflow.conftest import as_csv, grid

RUN = "matinee-shared"


def test_two_instances_train_on_half_the_ratings_each(
    put: Callable[[str, bytes | str], str],
    bucket: str,
    aws: AWS,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_by(aws.environment, monkeypatch)
    settings = Settings.from_parameters(
        {
            "ratings": put("r.csv", as_csv(grid(20, 20))),
            "output": f"s3://{bucket}/runs",
            "role": "arn:aws:iam::000000000000:role/matinee-sagemaker",
            "training_instance_count": 2,
            "epochs": 2,
        }
    )
    preprocessed = preprocess(settings, {"run": RUN}, part_rows=100)
    prepared = prepare(settings, dict(preprocessed))
    train = preprocessed["rating_counts"]["train"]
    parts = len(preprocessed["ratings"]["train"])
    assert parts > 1
    assert len(Objects().list(prepared["train"])) == 2 * parts
    sagemaker, logs = aws.client("sagemaker"), aws.client("logs")
    request = training_request(
        settings, prepared, name=f"{RUN}-train-1", image=factorization_machines("us-east-1")
    )
    sagemaker.create_training_job(**request)
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=f"{RUN}-train-1", WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    trained = trained_model(training_job=f"{RUN}-train-1", client=sagemaker)
    assert Objects().find(trained["model"]) == [trained["model"]]
    streams = logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{RUN}-train-1/"
    )["logStreams"]
    records = []
    for stream in streams:
        events = logs.get_log_events(
            logGroupName="/aws/sagemaker/TrainingJobs",
            logStreamName=stream["logStreamName"],
            startFromHead=True,
        )["events"]
        # The first batch, which counts before training begins, has room for all of them.
        seen = re.search(
            r'"Total Records Seen": \{"sum": (\d+)', "\n".join(event["message"] for event in events)
        )
        assert seen is not None
        records.append(int(seen[1]))
    for client in (sagemaker, logs):
        client.close()
    assert len(records) == 2
    assert sum(records) == train
    # Of each part one instance may have a rating more.
    assert abs(records[0] - records[1]) <= parts
