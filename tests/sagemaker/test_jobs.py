"""Drivers of jobs: what happens when something else fails or comes in between."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from matinee.sagemaker.jobs import Job, JobRunner
from matinee.sagemaker.machine import compute
from matinee.sagemaker.registry import experiments
from matinee.sagemaker.states import PROCESSING_JOB, State
from matinee.sagemaker.store import StoreError
from tests.sagemaker.conftest import ROLE_ARN, Front
from tests.sagemaker.jobs.conftest import processes, until

# Says that it ignores SIGTERM, then waits.
STUBBORN = (
    "import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path('deaf').touch(); signal.pause()"
)


class Driver:
    """Ends a job at once; a process of its, which does not end with it, may be left running."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.leaves_a_process = False
        self.left: list[psutil.Process] = []

    def __call__(self, job: Job) -> None:
        self.jobs.append(job)
        if self.leaves_a_process:
            folder = job.host_folder()
            base = job.folder / "work"
            base.mkdir(parents=True)
            compute.start(
                folder,
                [sys.executable, "-c", STUBBORN],
                directory=base,
                environment={},
                limit_seconds=None,
                grace_seconds=0.5,
            )
            until((base / "deaf").exists)
            self.left = processes(folder)
        job.move(State.COMPLETED)


@pytest.fixture
def driver(front: Front) -> Iterator[Driver]:
    driver = Driver()
    runner = JobRunner({PROCESSING_JOB.name: driver})
    front.context.jobs = runner
    runner.start(front.context)
    yield driver
    runner.shutdown()


def create(front: Front) -> Any:
    sagemaker = front.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName="a",
        RoleArn=ROLE_ARN,
        AppSpecification={"ImageUri": "matinee-python:1", "ContainerEntrypoint": ["python3"]},
        ProcessingResources={
            "ClusterConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 1,
            }
        },
    )
    return sagemaker


def status(sagemaker: Any) -> str:
    answer = sagemaker.describe_processing_job(ProcessingJobName="a")
    return str(answer["ProcessingJobStatus"])


def test_what_a_deleted_job_left_running_is_ended_and_its_folder_goes(
    front: Front, driver: Driver
) -> None:
    driver.leaves_a_process = True
    sagemaker = create(front)
    until(lambda: status(sagemaker) == "Completed")
    sagemaker.delete_processing_job(ProcessingJobName="a")
    until(lambda: not any(process.is_running() for process in driver.left))
    until(lambda: not driver.jobs[0].folder.exists())


@pytest.mark.usefixtures("driver")
def test_a_job_that_cannot_be_enrolled_runs_all_the_same(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(experiments, "enrol", fail)
    with pytest.raises(ClientError, match="the disk is full"):
        create(front)
    until(lambda: status(front.client("sagemaker")) == "Completed")
