"""How traffic moves from an endpoint's old fleet to its new one: AWS's DeploymentConfig.

All at once, a canary and then the rest, or in equal steps. Rolling updates and alarms that roll a
deployment back are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from matinee.sagemaker.errors import ValidationException

_STEP_MEMBERS = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_LARGEST_STEP_PERCENT = 50


def check(config: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    """Refuse a deployment configuration that cannot be carried out.

    Parameters
    ----------
    config
        AWS's DeploymentConfig.
    counts
        Number of instances of each of the new variants.

    Raises
    ------
    ValidationException
    """
    for member in ("RollingUpdatePolicy", "AutoRollbackConfiguration"):
        if member in config:
            raise ValidationException(f"not implemented by matinee: DeploymentConfig with {member}")
    routing = config.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    kind = routing.get("Type", "ALL_AT_ONCE")
    for other, member in _STEP_MEMBERS.items():
        if (member in routing) != (kind == other):
            verb = "needs" if kind == other else "does not take"
            raise ValidationException(f"TrafficRoutingConfiguration of {kind} {verb} {member}.")
    if kind in _STEP_MEMBERS:
        percent = _percent(routing[_STEP_MEMBERS[kind]], counts)
        if percent > _LARGEST_STEP_PERCENT:
            raise ValidationException(
                f"{_STEP_MEMBERS[kind]} {percent:g} % is over {_LARGEST_STEP_PERCENT} % of the "
                "instances."
            )


def shares(config: Mapping[str, Any], counts: Mapping[str, int]) -> Iterator[tuple[float, float]]:
    """Yield the shares of the new fleet in turn, each with the seconds to wait after it.

    Parameters
    ----------
    config, counts
        As for ``check``.
    """
    routing = config.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    kind, seconds = routing.get("Type", "ALL_AT_ONCE"), routing.get("WaitIntervalInSeconds", 0)
    if kind in _STEP_MEMBERS:
        step = _percent(routing[_STEP_MEMBERS[kind]], counts) / 100
        steps = 1 if kind == "CANARY" else math.ceil(1 / step) - 1
        for number in range(1, steps + 1):
            yield number * step, seconds
    yield 1.0, seconds


def wait_after_shift(config: Mapping[str, Any]) -> float:
    """Return for how many seconds the old fleet is kept after it lost its traffic."""
    seconds: float = config.get("BlueGreenUpdatePolicy", {}).get("TerminationWaitInSeconds", 0)
    return seconds


def _percent(size: Mapping[str, Any], counts: Mapping[str, int]) -> float:
    if size["Type"] == "CAPACITY_PERCENT":
        return float(size["Value"])
    return 100.0 * int(size["Value"]) / min(counts.values())
