"""The hyperparameters a tuning job varies, and the values each may have.

Every numeric range becomes the interval from 0 to 1 by its scaling, so a search knows no scales.
An empty range, a scaling that does not fit its range and a hyperparameter with two ranges are
refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Auto scaling: a range over so many times its lower end is searched by magnitudes.
_WIDE = 100.0


class RangeError(ValueError):
    """A parameter range breaks a rule; the message names the parameter and the value."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A categorical hyperparameter."""

    name: str
    options: tuple[str, ...]

    @property
    def count(self) -> float:
        """How many values it may have."""
        return len(self.options)

    def nth(self, index: int) -> str:
        """Return one of its values by number from 0."""
        return self.options[index]

    def at(self, position: float) -> str:
        """Return the value at a position from 0 to 1."""
        return self.options[min(int(position * len(self.options)), len(self.options) - 1)]

    def holds(self, value: str) -> bool:
        """Return whether it may have a value."""
        return value in self.options


@dataclass(frozen=True, slots=True)
class Interval:
    """A number between two ends, both included; ``scaling`` is Linear, Logarithmic or Reverse.."""

    name: str
    low: float
    high: float
    scaling: str
    is_integer: bool

    @property
    def count(self) -> float:
        """How many values it may have."""
        if self.is_integer:
            return self.high - self.low + 1
        return math.inf if self.high > self.low else 1

    def nth(self, index: int) -> str:
        """Return one of its values by number from 0, of a countable one."""
        return str(int(self.low) + index) if self.is_integer else repr(self.low)

    def at(self, position: float) -> str:
        """Return the value at a position from 0 to 1, as SageMaker hands it to the algorithm."""
        start, end = self._scaled_ends()
        number = self._unscaled(start + position * (end - start))
        if self.is_integer:
            return str(int(min(max(math.floor(number), self.low), self.high)))
        return repr(float(min(max(number, self.low), self.high)))

    def position(self, value: str) -> float:
        """Return where a value lies, from 0 to 1; of an integer, the middle of its part."""
        start, end = self._scaled_ends()
        number = self._scaled(float(value) + (0.5 if self.is_integer else 0.0))
        return min(max((number - start) / (end - start), 0.0), 1.0) if end > start else 0.0

    def holds(self, value: str) -> bool:
        """Return whether it may have a value."""
        try:
            number = float(int(value)) if self.is_integer else float(value)
        except (ValueError, OverflowError):
            return False
        return self.low <= number <= self.high

    def _scaled_ends(self) -> tuple[float, float]:
        # An integer owns the part of the line up to the next one.
        return self._scaled(self.low), self._scaled(self.high + (1.0 if self.is_integer else 0.0))

    def _scaled(self, value: float) -> float:
        if self.scaling == "Logarithmic":
            return math.log(value)
        if self.scaling == "ReverseLogarithmic":
            return -math.log(1.0 - value)
        return value

    def _unscaled(self, value: float) -> float:
        if self.scaling == "Logarithmic":
            return math.exp(value)
        if self.scaling == "ReverseLogarithmic":
            return 1.0 - math.exp(-value)
        return value


Parameter = Interval | Choice


def space(ranges: Mapping[str, Any]) -> list[Parameter]:
    """Return the hyperparameters of a request's ParameterRanges, sorted by name.

    Raises
    ------
    RangeError
        A range is empty or no number, its scaling does not fit it, or a name is there twice.
    """
    parameters: list[Parameter] = [
        _interval(item, is_integer=is_integer)
        for member, is_integer in (
            ("IntegerParameterRanges", True),
            ("ContinuousParameterRanges", False),
        )
        for item in ranges.get(member, ())
    ]
    parameters += [_choice(item) for item in ranges.get("CategoricalParameterRanges", ())]
    names = [parameter.name for parameter in parameters]
    for name in names:
        if names.count(name) > 1:
            raise RangeError(f"hyperparameter {name!r} has more than one range")
    return sorted(parameters, key=lambda parameter: parameter.name)


def _choice(item: Mapping[str, Any]) -> Choice:
    values = tuple(item["Values"])
    if len(set(values)) != len(values):
        raise RangeError(f"hyperparameter {item['Name']!r} has the same value twice: {values}")
    return Choice(item["Name"], values)


def _interval(item: Mapping[str, Any], *, is_integer: bool) -> Interval:
    name, words = item["Name"], (item["MinValue"], item["MaxValue"])
    try:
        low, high = (float(int(word)) if is_integer else float(word) for word in words)
    except (ValueError, OverflowError) as error:
        kind = "an integer" if is_integer else "a number"
        raise RangeError(f"hyperparameter {name!r}: {words} must each be {kind}") from error
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise RangeError(f"hyperparameter {name!r}: no number lies from {words[0]} to {words[1]}")
    scaling = item.get("ScalingType", "Auto")
    if scaling == "Auto":
        scaling = "Logarithmic" if low > 0 and high / low >= _WIDE else "Linear"
    if scaling == "Logarithmic" and low <= 0:
        raise RangeError(f"hyperparameter {name!r}: Logarithmic scaling needs MinValue > 0")
    if scaling == "ReverseLogarithmic" and (is_integer or low < 0 or high >= 1):
        raise RangeError(
            f"hyperparameter {name!r}: ReverseLogarithmic scaling is for continuous ranges "
            "within 0 <= x < 1"
        )
    return Interval(name, low, high, scaling, is_integer)


def combinations(parameters: Sequence[Parameter]) -> float:
    """Return how many different trials there can be; infinite with a continuous parameter."""
    return math.prod(parameter.count for parameter in parameters)


def combination(parameters: Sequence[Parameter], number: int) -> dict[str, str]:
    """Return one of the possible trials by number from 0; the last parameter varies fastest."""
    found: dict[str, str] = {}
    for parameter in reversed(parameters):
        number, index = divmod(number, int(parameter.count))
        found[parameter.name] = parameter.nth(index)
    return dict(reversed(found.items()))
