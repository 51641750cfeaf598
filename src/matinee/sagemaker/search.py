"""Where a tuning job looks next: from its ranges and finished trials to new hyperparameters.

Every range becomes the interval from 0 to 1 by its scaling, so the search itself knows no scales.
A proposal depends on nothing but its arguments: the same seed, number and trials give the same
hyperparameters, in this process or another. A proposal already tried is drawn again.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_DRAWS = 20
# Bayesian search: how many trials are drawn at random before results count.
_FIRST_TRIALS = 5
# Auto scaling: a range over so many times its lower end is searched by magnitudes.
_WIDE = 100.0


class RangeError(ValueError):
    """A parameter range breaks a rule; the message names the parameter and the value."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Hyperparameters that were tried, and the objective; None while unknown, or without one."""

    parameters: Mapping[str, str]
    value: float | None


class Parameter(Protocol):
    """A hyperparameter to tune."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def count(self) -> float:
        """How many values it may have; infinite for a continuous one."""

    def values(self) -> Iterable[str]:
        """Yield its values, of a countable one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A categorical hyperparameter."""

    name: str
    options: tuple[str, ...]

    @property
    def count(self) -> float:
        """How many values it may have."""
        return len(self.options)

    def values(self) -> Iterable[str]:
        """Yield its values."""
        return self.options


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
        return self.high - self.low + 1 if self.is_integer else math.inf

    def values(self) -> Iterable[str]:
        """Yield its values, of an integer one."""
        return (str(value) for value in range(int(self.low), int(self.high) + 1))

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


def space(ranges: Mapping[str, Any]) -> list[Interval | Choice]:
    """Return the hyperparameters of a request's ParameterRanges, sorted by name.

    Raises
    ------
    RangeError
        A range is empty or no number, its scaling does not fit it, or a name is there twice.
    """
    parameters: list[Interval | Choice] = [
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
    except ValueError as error:
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


def propose(
    parameters: Sequence[Interval | Choice],
    *,
    strategy: str,
    direction: str,
    seed: int,
    trials: Sequence[Trial],
) -> dict[str, str]:
    """Return the hyperparameters of the next trial.

    Parameters
    ----------
    parameters
        What ``space`` returned.
    strategy
        ``Bayesian`` or ``Random``.
    direction
        ``Minimize`` or ``Maximize``.
    seed
        Of the whole search.
    trials
        All trials before, in order.
    """
    tried = {_key(trial.parameters) for trial in trials}
    for draw in range(_DRAWS):
        drawn = _draw(parameters, strategy, direction, f"{seed}/{len(trials)}/{draw}", trials)
        if _key(drawn) not in tried:
            return drawn
    if math.isinf(combinations(parameters)):
        return drawn
    names = [parameter.name for parameter in parameters]
    everything = itertools.product(*(parameter.values() for parameter in parameters))
    left = (dict(zip(names, values, strict=True)) for values in everything)
    return next((values for values in left if _key(values) not in tried), drawn)


def _key(parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(parameters.items()))


def _draw(
    parameters: Sequence[Interval | Choice],
    strategy: str,
    direction: str,
    seed: str,
    trials: Sequence[Trial],
) -> dict[str, str]:
    # Here, because it takes half a second that a server without tuning jobs need not spend.
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=number)
        if strategy == "Random"
        else optuna.samplers.TPESampler(
            seed=number, n_startup_trials=_FIRST_TRIALS, multivariate=True
        )
    )
    distributions: dict[str, BaseDistribution] = {
        parameter.name: FloatDistribution(0.0, 1.0)
        if isinstance(parameter, Interval)
        else CategoricalDistribution(parameter.options)
        for parameter in parameters
    }
    study = optuna.create_study(
        direction="minimize" if direction == "Minimize" else "maximize", sampler=sampler
    )
    for trial in trials:
        study.add_trial(
            create_trial(
                params={
                    parameter.name: parameter.position(trial.parameters[parameter.name])
                    if isinstance(parameter, Interval)
                    else trial.parameters[parameter.name]
                    for parameter in parameters
                },
                distributions=distributions,
                value=trial.value,
                # A trial without result still tells where not to look at the same time.
                state=TrialState.RUNNING if trial.value is None else TrialState.COMPLETE,
            )
        )
    drawn = study.ask(distributions).params
    return {
        parameter.name: parameter.at(drawn[parameter.name])
        if isinstance(parameter, Interval)
        else str(drawn[parameter.name])
        for parameter in parameters
    }
