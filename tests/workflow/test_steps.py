"""What steps cost."""

from __future__ import annotations

import pytest

from matinee.workflow.report import Step
from matinee.workflow.steps import measured, together


def test_a_task_has_seconds_and_memory() -> None:
    told: list[Step] = []
    times = iter((10.0, 12.5))
    with measured("gate", told.append, lambda: next(times)):
        pass
    [step] = told
    assert (step["name"], step["seconds"]) == ("gate", 2.5)
    # A Python with NumPy and boto3 in it.
    assert step["peak_memory_mb"] is not None
    assert 20 < step["peak_memory_mb"] < 100_000


def test_a_task_that_fails_tells_nothing() -> None:
    told: list[Step] = []
    with pytest.raises(ValueError, match="no"), measured("gate", told.append):
        raise ValueError("no")
    assert told == []


def test_instances_of_a_task_are_one_step() -> None:
    one: Step = {"name": "prepare", "seconds": 2.0, "peak_memory_mb": 100.0}
    found = together("prepare", [one, {**one, "seconds": 3.0, "peak_memory_mb": 50.0}])
    assert found == {**one, "seconds": 5.0}
    job: Step = {**one, "peak_memory_mb": None}
    assert together("train", [job]) == {**job, "name": "train"}
