"""Which running trials of a tuning job are not worth going on with.

A trial reports its objective after each epoch. Two rules read these reports: the median rule of
TrainingJobEarlyStoppingType Auto, as SageMaker's Developer Guide has it ("Stop Training Jobs
Early"), and Hyperband, by asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): one
bracket, of whose rungs each lets a third of the trials pass. A trial that reports once, at its end,
is never stopped by either.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from matinee.sagemaker.tuning_jobs.trials import is_better

# The median of fewer says little.
FEWEST_TRIALS = 3
# Hyperband: of how many trials a rung lets one pass, and how much further the next rung is.
REDUCTION = 3
MAX_RESOURCE_LIMIT = 20_000
# Hyperparameters that say how many epochs there are, as AWS knows them.
_EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")


class Rule(Protocol):
    """Judges trials by their reports."""

    def is_hopeless(self, number: int, reports: Sequence[float]) -> bool:
        """Return whether a running trial should be stopped; each report counts once."""

    def close(self, number: int, reports: Sequence[float]) -> None:
        """Learn from a trial that has ended."""


class MedianRule:
    """Stops a trial that is worse than the median of the others' averages up to the same epoch.

    Parameters
    ----------
    direction
        ``Minimize`` or ``Maximize``.
    """

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self._judged: dict[int, int] = {}
        # Of each epoch from 1, the ended trials' averages up to it.
        self._averages: list[list[float]] = []

    def is_hopeless(self, number: int, reports: Sequence[float]) -> bool:
        """Return whether a running trial should be stopped; each report counts once."""
        epoch = len(reports)
        if epoch <= self._judged.get(number, 0):
            return False
        self._judged[number] = epoch
        # Nobody went on from here, so neither will this one: it ends by itself.
        if epoch >= len(self._averages) or len(self._averages[epoch - 1]) < FEWEST_TRIALS:
            return False
        median = statistics.median(self._averages[epoch - 1])
        return is_better(median, reports[-1], self._direction)

    def close(self, number: int, reports: Sequence[float]) -> None:
        """Learn from a trial that has ended."""
        self._judged.pop(number, None)
        total = 0.0
        for epoch, value in enumerate(reports, 1):
            total += value
            if epoch > len(self._averages):
                self._averages.append([])
            self._averages[epoch - 1].append(total / epoch)


class Halving:
    """Hyperband: at each rung only the best third of the trials that came so far goes on.

    Parameters
    ----------
    direction
        ``Minimize`` or ``Maximize``.
    smallest, largest
        MinResource and MaxResource: the first rung, and how many reports a trial may make.
    """

    def __init__(self, direction: str, smallest: int, largest: int) -> None:
        self._direction = direction
        self._largest = largest
        self._rungs = []
        while smallest < largest:
            self._rungs.append(smallest)
            smallest *= REDUCTION
        # Of each rung, the values of all trials that came to it.
        self._values: dict[int, dict[int, float]] = defaultdict(dict)

    def is_hopeless(self, number: int, reports: Sequence[float]) -> bool:
        """Return whether a running trial should be stopped; each report counts once."""
        reached = self._record(number, reports)
        return len(reports) >= self._largest or (
            reached is not None and not self._passes(number, reached)
        )

    def close(self, number: int, reports: Sequence[float]) -> None:
        """Learn from a trial that has ended."""
        self._record(number, reports)

    def _record(self, number: int, reports: Sequence[float]) -> int | None:
        """Take down what is new; return the highest rung that the trial has newly come to."""
        reached = None
        for rung in self._rungs:
            if len(reports) >= rung and number not in self._values[rung]:
                self._values[rung][number] = reports[rung - 1]
                reached = rung
        return reached

    def _passes(self, number: int, rung: int) -> bool:
        values = self._values[rung]
        if len(values) < REDUCTION:
            return True
        better = sum(is_better(value, values[number], self._direction) for value in values.values())
        return better < len(values) // REDUCTION


def epochs(hyperparameters: Mapping[str, str]) -> int | None:
    """Return how many epochs a training job makes, as far as its hyperparameters tell."""
    for name in _EPOCHS:
        if hyperparameters.get(name, "").isdecimal():
            return int(hyperparameters[name])
    return None


def resources(config: Mapping[str, Any], statics: Mapping[str, str]) -> tuple[int, int]:
    """Return Hyperband's MinResource and MaxResource.

    Parameters
    ----------
    config
        The HyperParameterTuningJobConfig.
    statics
        The static hyperparameters, which may tell MaxResource.

    Raises
    ------
    ValueError
        There is none, or they do not fit.
    """
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    largest = given.get("MaxResource") or epochs(statics)
    if not largest:
        raise ValueError(
            "HyperbandStrategyConfig must have MaxResource, or StaticHyperParameters one of "
            f"{', '.join(_EPOCHS)}"
        )
    smallest = given.get("MinResource", 1)
    if smallest > largest or largest > MAX_RESOURCE_LIMIT:
        raise ValueError(
            f"HyperbandStrategyConfig: MinResource {smallest} must be at most MaxResource "
            f"{largest}, and that at most {MAX_RESOURCE_LIMIT}"
        )
    return smallest, largest
