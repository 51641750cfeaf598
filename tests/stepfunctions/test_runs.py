"""Whole executions of the state machine, against the local SageMaker.

`tests/dags/test_runs.py` compares two more with runs of the DAG.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import AWS
from tests.stepfunctions.machine import execute, handed_on, written
from tests.workflow.conftest import as_csv, grid

SMALL = {"num_factors": 2, "epochs": 2, "check_interval": 0.2}


@pytest.fixture
def sagemaker(aws: AWS) -> Iterator[Any]:
    client = aws.client("sagemaker")
    yield client
    client.close()


@pytest.fixture
def parameters(aws: AWS, bucket: str) -> dict[str, Any]:
    """Small ratings, and names of the test's own for what is published."""
    client = aws.client("s3")
    client.put_object(Bucket=bucket, Key="good.csv", Body=as_csv(grid(12, 12)).encode())
    client.close()
    names = {"endpoint": bucket, "model_package_group": bucket}
    return {"ratings": f"s3://{bucket}/good.csv", **names, **SMALL}


def test_an_execution_tunes_publishes_reports_and_cleans_up(
    aws: AWS, bucket: str, sagemaker: Any, parameters: dict[str, Any]
) -> None:
    tuning = {"tune": True, "tuning_jobs": 2, "tuning_ranges": {"factors_lr": [0.001, 0.1]}}
    done = execute(aws, bucket, **parameters, **tuning, gate_baseline="none")
    assert done.end["status"] == "SUCCEEDED", done.reason
    assert {"Tune", "Publish", "CleanUp"} <= set(done.states)
    assert not {"Train", "TrainEach", "Failed"} & set(done.states)

    objects = written(aws, f"s3://{bucket}/runs/{done.run}")
    summary = json.loads(objects["summary.json"])
    job = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=f"{done.run}-tune-1"
    )
    assert summary["training"]["tuning_job"] == f"{done.run}-tune-1"
    assert summary["training"]["job"] == job["BestTrainingJob"]["TrainingJobName"]
    decision = json.loads(objects["decision.json"])
    assert (decision["decision"], decision["endpoint"]) == ("approved", bucket)
    assert sagemaker.describe_endpoint(EndpointName=bucket)["EndpointStatus"] == "InService"
    page = objects["report.html"].decode()
    for step in ("preprocess", "prepare", "tune", "predict", "gate", "deploy"):
        assert f">{step}<" in page

    cleaned = handed_on(aws, bucket, done.run, "cleaned_up")
    assert cleaned["deleted_models"] == [f"{done.run}-predict-1"]
    assert not any(key.startswith("prepare/") for key in objects)
    sagemaker.delete_endpoint(EndpointName=bucket)


def test_a_training_that_fails_is_tried_again_then_told_and_cleaned_up(
    aws: AWS, bucket: str, sagemaker: Any, parameters: dict[str, Any]
) -> None:
    diverging = {"factors_init_method": "constant", "factors_init_value": 1e38}
    done = execute(aws, bucket, **parameters, **diverging)
    assert (done.end["status"], done.end["error"]) == ("FAILED", "States.TaskFailed")
    assert done.states[-4:] == ["Train", "CleanUp", "Ended", "Failed"]
    jobs = sagemaker.list_training_jobs(NameContains=done.run)["TrainingJobSummaries"]
    assert {job["TrainingJobName"]: job["TrainingJobStatus"] for job in jobs} == {
        f"{done.run}-train-{attempt}": "Failed" for attempt in (1, 2)
    }
    described = sagemaker.describe_training_job(TrainingJobName=f"{done.run}-train-2")
    assert done.reason == f"{done.run}-train-2: {described['FailureReason']}"
    assert handed_on(aws, bucket, done.run, "cleaned_up")["deleted_objects"] == 3


def test_what_only_airflow_can_do_is_refused_with_its_reason(
    aws: AWS, bucket: str, parameters: dict[str, Any]
) -> None:
    done = execute(aws, bucket, **parameters, approval="person", train_fraction=0.6)
    assert done.end["status"] == "FAILED"
    assert done.reason == (
        f"{done.run}-data-1: SettingsError: 1 run parameter is wrong: approval 'person' cannot be"
        " had of a state machine: a person is asked on Airflow's pages"
    )
