"""Processing jobs on a machine that gives a process no /opt/ml of its own."""

from __future__ import annotations

import time

import pytest

from matinee.sagemaker.jobs import JobRunner
from matinee.sagemaker.machine import compute
from matinee.sagemaker.processing_jobs import processing
from matinee.sagemaker.states import PROCESSING_JOB
from tests.conftest import ObjectStore
from tests.sagemaker.conftest import ROLE_ARN, Front

SCRIPT = """
import os, pathlib, sys
out = pathlib.Path(sys.argv[1])
out.joinpath("found").write_text(pathlib.Path(os.environ["DATA"]).read_text() + sys.argv[2])
"""


def test_words_that_are_paths_in_the_container_are_moved(
    front: Front, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "can_isolate", lambda: False)
    runner = JobRunner({PROCESSING_JOB.name: processing.drive})
    front.context.jobs = runner
    runner.start(front.context)
    s3 = object_store.client()
    for name, body in (("script.py", SCRIPT), ("data.txt", "data ")):
        s3.put_object(Bucket="matinee", Key=f"moved/{name}", Body=body.encode())
    local = "/opt/ml/processing"
    sagemaker = front.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName="moved",
        RoleArn=ROLE_ARN,
        AppSpecification={
            "ImageUri": "matinee-python:1",
            "ContainerEntrypoint": ["python3", f"{local}/in/script.py"],
            "ContainerArguments": [f"{local}/out", "--path=/opt/ml/x"],
        },
        ProcessingInputs=[
            {
                "InputName": "in",
                "S3Input": {
                    "S3Uri": "s3://matinee/moved/",
                    "S3DataType": "S3Prefix",
                    "LocalPath": f"{local}/in",
                },
            }
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": "s3://matinee/moved/out",
                        "LocalPath": f"{local}/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        ProcessingResources={
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
        Environment={"DATA": f"{local}/in/data.txt"},
    )
    deadline = time.monotonic() + 60
    while (job := sagemaker.describe_processing_job(ProcessingJobName="moved")).get(
        "ProcessingEndTime"
    ) is None:
        assert time.monotonic() < deadline
        runner.wait_for_change(runner.changes, 0.2)
    runner.shutdown()
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    found = s3.get_object(Bucket="matinee", Key="moved/out/found")["Body"].read()
    assert found == b"data --path=/opt/ml/x"


def test_a_network_that_cannot_be_taken_away_is_said_at_once(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "can_isolate", lambda: False)
    answer = front.call(
        "CreateProcessingJob",
        {
            "ProcessingJobName": "isolated",
            "RoleArn": ROLE_ARN,
            "AppSpecification": {"ImageUri": "matinee-python", "ContainerEntrypoint": ["true"]},
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            "NetworkConfig": {"EnableNetworkIsolation": True},
        },
    )
    assert answer.status_code == 400
    assert "kernel allows no network namespaces" in answer.json()["message"]
