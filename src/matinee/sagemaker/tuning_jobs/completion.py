"""When a tuning job has found enough: AWS's TuningJobCompletionCriteria and CompletionDetails.

A trial improves the search if its objective is better than that of the last trial that did, by 1%
of it or more. BestObjectiveNotImproving counts the trials since. A search has converged when
so many trials in a row did not improve it as there are hyperparameters to tune, three times over,
and no fewer than ten; AWS has a rule of its own there, which it does not publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from matinee.sagemaker.tuning_jobs.trials import is_better

_SIGNIFICANT = 0.01
_PATIENCE = 10
_PATIENCE_PER_PARAMETER = 3


class Progress:
    """How a search comes on.

    Parameters
    ----------
    direction
        ``Minimize`` or ``Maximize``.
    parameters
        How many hyperparameters it tunes.
    converged_at
        When it was found to have converged, if it was.

    Attributes
    ----------
    best
        The best objective so far.
    not_improving
        How many trials in a row did not improve it.
    """

    def __init__(
        self, direction: str, parameters: int, converged_at: datetime | None = None
    ) -> None:
        self._direction = direction
        self._patience = max(_PATIENCE, _PATIENCE_PER_PARAMETER * parameters)
        self._reference: float | None = None
        self._converged_at = converged_at
        self.best: float | None = None
        self.not_improving = 0

    def add(self, value: float, now: datetime) -> None:
        """Take account of the objective of one more trial that has ended."""
        if self.best is None or is_better(value, self.best, self._direction):
            self.best = value
        if self._improves(value):
            self._reference, self.not_improving = value, 0
        else:
            self.not_improving += 1
        if self._converged_at is None and self.not_improving >= self._patience:
            self._converged_at = now

    def _improves(self, value: float) -> bool:
        if self._reference is None:
            return True
        gain = abs(value - self._reference)
        return gain >= _SIGNIFICANT * abs(self._reference) and is_better(
            value, self._reference, self._direction
        )

    @property
    def details(self) -> dict[str, Any]:
        """AWS's HyperParameterTuningJobCompletionDetails."""
        details: dict[str, Any] = {"NumberOfTrainingJobsObjectiveNotImproving": self.not_improving}
        if self._converged_at is not None:
            details["ConvergenceDetectedTime"] = self._converged_at
        return details

    def meets(self, criteria: Mapping[str, Any]) -> bool:
        """Return whether one of TuningJobCompletionCriteria is met."""
        if self.best is None:
            return False
        target = criteria.get("TargetObjectiveMetricValue")
        if target is not None and not is_better(target, self.best, self._direction):
            return True
        most = criteria.get("BestObjectiveNotImproving", {}).get(
            "MaxNumberOfTrainingJobsNotImproving"
        )
        if most is not None and self.not_improving >= most:
            return True
        wanted = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence", "Disabled")
        return wanted == "Enabled" and self._converged_at is not None
