"""A training job in its driver's hands, at moments that no caller can choose."""

from __future__ import annotations

import pytest

from matinee.sagemaker.jobs import Job, JobRunner
from matinee.sagemaker.states import TRAINING_JOB
from matinee.sagemaker.training_jobs import training
from tests.sagemaker.conftest import ROLE_ARN, Front
from tests.sagemaker.jobs.conftest import until


def test_a_stop_at_the_moment_of_a_retry_stops_the_job(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = JobRunner({TRAINING_JOB.name: training.drive})
    front.context.jobs = runner
    runner.start(front.context)

    def stopped_meanwhile(job: Job, _: str) -> bool:
        runner.stop(job.kind, job.name)
        return True

    monkeypatch.setattr(training, "_may_retry", stopped_meanwhile)
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://matinee/there-is-nothing/"}
    answer = front.call(
        "CreateTrainingJob",
        {
            "TrainingJobName": "stopped",
            "RoleArn": ROLE_ARN,
            "AlgorithmSpecification": {"TrainingImage": "matinee-fm", "TrainingInputMode": "File"},
            "InputDataConfig": [{"ChannelName": "a", "DataSource": {"S3DataSource": source}}],
            "OutputDataConfig": {"S3OutputPath": "s3://matinee/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    )
    assert answer.status_code == 200, answer.text
    describe = {"TrainingJobName": "stopped"}
    until(lambda: "TrainingEndTime" in front.call("DescribeTrainingJob", describe).json())
    runner.shutdown()
    described = front.call("DescribeTrainingJob", describe).json()
    assert described["TrainingJobStatus"] == "Stopped", described
