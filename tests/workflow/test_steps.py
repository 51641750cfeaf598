"""What steps cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from matinee.workflow.steps import Step, measured, together, training_step, transform_step

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_task_has_seconds_and_memory() -> None:
    told: list[Step] = []
    times = iter((10.0, 12.5))
    with measured("gate", told.append, lambda: next(times)):
        pass
    [step] = told
    assert (step["name"], step["seconds"], step["billable_seconds"]) == ("gate", 2.5, None)
    # A Python with NumPy and boto3 in it.
    assert step["peak_memory_mb"] is not None
    assert 20 < step["peak_memory_mb"] < 100_000


def test_a_task_that_fails_tells_nothing() -> None:
    told: list[Step] = []
    with pytest.raises(ValueError, match="no"), measured("gate", told.append):
        raise ValueError("no")
    assert told == []


def test_instances_of_a_task_are_one_step() -> None:
    one: Step = {
        "name": "prepare",
        "seconds": 2.0,
        "peak_memory_mb": 100.0,
        "instance_type": None,
        "instance_count": None,
        "billable_seconds": None,
    }
    found = together("prepare", [one, {**one, "seconds": 3.0, "peak_memory_mb": 50.0}])
    assert found == {**one, "seconds": 5.0}


def training_job(seconds: int) -> dict[str, Any]:
    return {
        "TrainingStartTime": NOON,
        "TrainingEndTime": NOON + timedelta(seconds=seconds),
        "BillableTimeInSeconds": seconds,
        "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
    }


def test_training_jobs_are_summed_up() -> None:
    stopped = {"ResourceConfig": training_job(1)["ResourceConfig"]}
    assert training_step("tune", [training_job(3), training_job(4), stopped]) == {
        "name": "tune",
        "seconds": 7.0,
        "peak_memory_mb": None,
        "instance_type": "ml.c5.xlarge",
        "instance_count": 2,
        "billable_seconds": 7,
    }


def test_a_transform_job_is_billed_from_start_to_end() -> None:
    job = {
        "TransformStartTime": NOON,
        "TransformEndTime": NOON + timedelta(seconds=2.4),
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 3},
    }
    found = transform_step("predict", job)
    assert (found["seconds"], found["billable_seconds"]) == (2.4, 2)
    assert (found["instance_type"], found["instance_count"]) == ("ml.m5.large", 3)
