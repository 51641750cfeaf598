"""The steps in which traffic moves to a new fleet."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.sagemaker.endpoints.hosting_shifts import check, shares, wait_after_shift
from matinee.sagemaker.errors import ValidationException


def config(kind: str, seconds: int = 5, **size: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": seconds, **size}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [(1.0, 0)]),
        (config("ALL_AT_ONCE"), [(1.0, 5)]),
        (config("CANARY", CanarySize=percent(10)), [(0.1, 5), (1.0, 5)]),
        (config("LINEAR", LinearStepSize=percent(40)), [(0.4, 5), (0.8, 5), (1.0, 5)]),
        (config("LINEAR", LinearStepSize=percent(50)), [(0.5, 5), (1.0, 5)]),
        (
            config("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
            [(0.25, 5), (1.0, 5)],
        ),
    ],
)
def test_the_steps(given: dict[str, Any], expected: list[tuple[float, float]]) -> None:
    check(given, {"a": 4})
    assert list(shares(given, {"a": 4})) == expected


def test_how_long_the_old_fleet_is_kept() -> None:
    assert wait_after_shift({}) == 0
    assert wait_after_shift({"BlueGreenUpdatePolicy": {"TerminationWaitInSeconds": 9}}) == 9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (config("CANARY"), "CANARY needs CanarySize"),
        (config("ALL_AT_ONCE", CanarySize=percent(9)), "does not take CanarySize"),
        (config("CANARY", CanarySize=percent(60)), "60 % is over 50 %"),
        ({"RollingUpdatePolicy": {}}, "not implemented by matinee: .* RollingUpdatePolicy"),
    ],
)
def test_what_cannot_be_carried_out(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationException, match=words):
        check(given, {"a": 1})
