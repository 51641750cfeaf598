"""The trials of a tuning job, read from its training jobs: objective, counts, the best.

The training jobs are the only record of the trials; nothing here is kept twice. `Trials` follows
them while they run, and reads again only those that have not ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.listing import members
from matinee.sagemaker.states import TRAINING_JOB, state_of
from matinee.sagemaker.store import Resource, Store
from matinee.sagemaker.tuning_jobs.definitions import OBJECTIVE_METRIC
from matinee.sagemaker.tuning_jobs.search import Trial

_SUMMARY_MEMBERS = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)
NO_TRAINING_JOBS: Mapping[str, int] = {
    "Completed": 0,
    "InProgress": 0,
    "RetryableError": 0,
    "NonRetryableError": 0,
    "Stopped": 0,
}
NO_OBJECTIVES: Mapping[str, int] = {"Succeeded": 0, "Pending": 0, "Failed": 0}


def is_of(child: Resource, folder: str) -> bool:
    """Return whether a training job is that of a tuning job with this private folder.

    Another tuning job of the same name and ARN may have been there before, and been deleted.
    """
    return bool(child.private.get("tuning_job") == folder)


def children_of(store: Store, arn: str, folder: str) -> list[Resource]:
    """Return the training jobs of a tuning job, in the order of their numbers."""
    found = store.find(TRAINING_JOB.name, parent=arn)
    children = [child for child in found if is_of(child, folder)]
    return sorted(children, key=lambda job: int(job.private["trial"]))


def has_ended(child: Resource) -> bool:
    """Return whether a training job has ended."""
    return state_of(child).is_terminal


def objective(child: Resource) -> float | None:
    """Return the last value of the objective that a training job wrote until its end, if any."""
    if child.status == "Failed":
        return None
    for metric in child.document.get("FinalMetricDataList", ()):
        if metric["MetricName"] == OBJECTIVE_METRIC:
            return float(metric["Value"])
    return None


def objective_status(child: Resource) -> str:
    """Return AWS's ObjectiveStatus of a trial."""
    if not has_ended(child):
        return "Pending"
    return "Failed" if objective(child) is None else "Succeeded"


def status_counter(child: Resource) -> str:
    """Return which of AWS's TrainingJobStatusCounters counts a trial."""
    if child.status == "Failed":
        # An internal error is one that could be retried.
        is_internal = child.document["FailureReason"].startswith("InternalServerError")
        return "RetryableError" if is_internal else "NonRetryableError"
    return child.status if child.status in {"Completed", "Stopped"} else "InProgress"


def is_better(value: float, other: float, direction: str) -> bool:
    """Return whether one objective is better than another."""
    return value < other if direction == "Minimize" else value > other


def summary(child: Resource) -> dict[str, Any]:
    """Return AWS's HyperParameterTrainingJobSummary of a trial."""
    described = members(child, *_SUMMARY_MEMBERS)
    if "definition_name" in child.private:
        described["TrainingJobDefinitionName"] = child.private["definition_name"]
    if (value := objective(child)) is not None:
        described["FinalHyperParameterTuningJobObjectiveMetric"] = {
            **child.private["objective"],
            "Value": value,
        }
    return {
        **described,
        "TunedHyperParameters": child.private["tuned"],
        "ObjectiveStatus": objective_status(child),
    }


class Trials:
    """The trials of a tuning job as they come, run and end.

    Parameters
    ----------
    store
        Where its training jobs are.
    tuning_job
        The tuning job.
    direction
        ``Minimize`` or ``Maximize``.

    Attributes
    ----------
    running
        Those that had not ended when they were last read, by number from 0.
    best
        The one with the best objective, the first of equals.
    last
        The one that ended last.
    """

    def __init__(self, store: Store, tuning_job: Resource, direction: str) -> None:
        self._store = store
        self._direction = direction
        self._all: list[Trial] = []
        self._definitions: list[int] = []
        self._counts: Counter[int] = Counter()
        self._statuses = dict(NO_TRAINING_JOBS)
        self._objectives = dict(NO_OBJECTIVES)
        self.running: dict[int, Resource] = {}
        self.best: Resource | None = None
        self.last: Resource | None = None
        for child in children_of(store, tuning_job.arn, tuning_job.private["folder"]):
            self.add(child)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, child: Resource) -> None:
        """Take up the next trial, which counts as running until `look` says otherwise."""
        self.running[len(self._all)] = child
        self._all.append(Trial(child.private["tuned"], None))
        self._definitions.append(child.private["definition"])
        self._counts[child.private["definition"]] += 1

    def look(self) -> list[tuple[int, Resource]]:
        """Read the running trials again; return those that have ended since, in that order."""
        ended = []
        for number, child in self.running.items():
            now = child if has_ended(child) else self._store.get(TRAINING_JOB.name, child.name)
            # One that somebody deleted had ended, and left nothing to learn from.
            self.running[number] = now or child
            if now is None or has_ended(now):
                ended.append((number, now or child))
        ended.sort(key=lambda pair: (pair[1].modified, pair[0]))
        for number, child in ended:
            del self.running[number]
            self._close(number, child)
        return ended

    def _close(self, number: int, child: Resource) -> None:
        value = objective(child)
        self._all[number] = Trial(child.private["tuned"], value)
        self._statuses[status_counter(child)] += 1
        self._objectives[objective_status(child)] += 1
        self.last = child
        if value is None:
            return
        best = None if self.best is None else objective(self.best)
        if best is None or is_better(value, best, self._direction):
            self.best = child

    @property
    def status_counters(self) -> dict[str, int]:
        """AWS's TrainingJobStatusCounters."""
        return {**self._statuses, "InProgress": len(self.running)}

    @property
    def objective_counters(self) -> dict[str, int]:
        """AWS's ObjectiveStatusCounters."""
        return {**self._objectives, "Pending": len(self.running)}

    @property
    def failures(self) -> int:
        """How many have failed."""
        return self._statuses["RetryableError"] + self._statuses["NonRetryableError"]

    def count(self, definition: int) -> int:
        """Return how many trials a definition has."""
        return self._counts[definition]

    def of(self, definition: int, *, first: int) -> list[Trial]:
        """Return a definition's trials; the objectives of all but so many first ones as unknown."""
        return [
            trial if number < first else Trial(trial.parameters, None)
            for number, trial in enumerate(self._all)
            if self._definitions[number] == definition
        ]
