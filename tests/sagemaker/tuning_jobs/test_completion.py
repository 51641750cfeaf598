"""When a search has found enough."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from matinee.sagemaker.tuning_jobs.completion import Progress

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def progress(values: list[float], direction: str = "Minimize", parameters: int = 1) -> Progress:
    found = Progress(direction, parameters)
    for value in values:
        found.add(value, NOON)
    return found


@pytest.mark.parametrize(
    ("direction", "values", "count"),
    [
        ("Minimize", [100.0], 0),
        ("Minimize", [100.0, 99.5, 99.2], 2),
        # Many small steps are a large one in the end.
        ("Minimize", [100.0, 99.5, 99.0], 0),
        ("Minimize", [100.0, 200.0], 1),
        ("Maximize", [-1.0, -0.995, -0.5], 0),
        ("Maximize", [0.0, 0.1, 0.05], 1),
    ],
)
def test_an_improvement_is_one_percent(direction: str, values: list[float], count: int) -> None:
    details = progress(values, direction).details
    assert details == {"NumberOfTrainingJobsObjectiveNotImproving": count}


@pytest.mark.parametrize(
    ("values", "criteria", "is_met"),
    [
        ([], {"TargetObjectiveMetricValue": 1.0}, False),
        ([1.1], {"TargetObjectiveMetricValue": 1.0}, False),
        ([1.0], {"TargetObjectiveMetricValue": 1.0}, True),
        (
            [1.0] * 3,
            {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}},
            False,
        ),
        (
            [1.0] * 4,
            {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}},
            True,
        ),
        ([1.0] * 10, {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}, False),
        ([1.0] * 11, {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}, True),
        ([1.0] * 11, {"ConvergenceDetected": {"CompleteOnConvergence": "Disabled"}}, False),
        ([1.0] * 11, {"ConvergenceDetected": {}, "BestObjectiveNotImproving": {}}, False),
        ([1.0] * 11, {}, False),
    ],
)
def test_one_criterion_is_enough(
    values: list[float], criteria: dict[str, Any], is_met: bool
) -> None:
    assert progress(values).meets(criteria) is is_met


def test_convergence_takes_longer_with_more_parameters_and_is_told_once() -> None:
    assert "ConvergenceDetectedTime" not in progress([1.0] * 15, parameters=5).details
    found = progress([1.0] * 16, parameters=5)
    found.add(0.1, datetime(2026, 11, 24, tzinfo=UTC))
    assert found.details == {
        "NumberOfTrainingJobsObjectiveNotImproving": 0,
        "ConvergenceDetectedTime": NOON,
    }
