"""Following and stopping an execution."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from matinee import recordio
from matinee.stepfunctions import execution
from matinee.stepfunctions.errors import InterpreterError
from matinee.stepfunctions.execution import Execution, reason
from matinee.workflow.images import factorization_machines
from matinee.workflow.requests import training_request
from matinee.workflow.settings import Settings
from tests.conftest import AWS
from tests.stepfunctions.machine import ROLE

RESOURCE = "arn:aws:states:::sagemaker:createTrainingJob.sync"


def one_task(**state: Any) -> str:
    """Return a machine of one task, which sends its input."""
    fields = [*endless("b")]
    task = {"Type": "Task", "Resource": RESOURCE, "End": True}
    task["Parameters"] = {f"{name}.$": f"$.{name}" for name in fields}
    return json.dumps({"StartAt": "Train", "States": {"Train": task | state}})


def endless(bucket: str) -> dict[str, Any]:
    settings = Settings.from_parameters({"role": ROLE, "epochs": 10**9})
    folder = f"s3://{bucket}/ratings/"
    return training_request(
        settings,
        {
            "run": "matinee-x",
            "train": folder,
            "validate": folder,
            "test": "",
            "feature_dim": 2,
            "field_dims": [1, 1],
            "rating_counts": {},
            "test_chunks": [],
        },
        name=f"{bucket}-endless",
        image=factorization_machines("us-east-1"),
    )


def test_an_execution_that_is_stopped_stops_its_job(aws: AWS, bucket: str) -> None:
    rating = recordio.encode(csr_matrix([[1, 1]], dtype="f4"), np.array([3], "f4"))
    s3, sagemaker = aws.client("s3"), aws.client("sagemaker")
    s3.put_object(Bucket=bucket, Key="ratings/one.protobuf", Body=rating)
    request, environment = endless(bucket), {**os.environ, **aws.environment}
    with Execution(one_task(), request, "stopped", environment) as running:
        for event in running.events():
            if event["type"] == "TaskSubmitted":
                running.stop()
                break
    job = request["TrainingJobName"]
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=job, WaiterConfig={"Delay": 1}
    )
    status = sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"]
    assert status == "Stopped"
    s3.close()
    sagemaker.close()


def test_without_the_interpreter_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "find_spec", lambda _: None)
    with pytest.raises(InterpreterError, match=r"pip install 'matinee\[stepfunctions\]'"):
        Execution("{}", {}, "none", {})


def test_a_machine_that_is_none_is_refused_with_the_reason() -> None:
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    with (
        Execution('{"StartAt": "Nowhere"}', {}, "broken", environment) as broken,
        pytest.raises(InterpreterError, match="ended with code 1: "),
    ):
        list(broken.events())


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"status": "FAILED", "error": "States.Timeout", "cause": "late"}, "States.Timeout: late"),
        (
            {
                "status": "FAILED",
                "error": "States.TaskFailed",
                "cause": '{"TrainingJobName": "t", "TrainingJobStatus": "Stopped"}',
            },
            "t: Stopped",
        ),
        ({"status": "ABORTED"}, "ABORTED: "),
    ],
)
def test_the_reason_is_one_line(end: dict[str, Any], expected: str) -> None:
    assert reason(end) == expected
