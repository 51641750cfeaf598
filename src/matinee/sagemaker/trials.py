"""The trials of a tuning job, read from its training jobs: objective, counts, the best.

The training jobs are the only record of the trials; nothing here is kept twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matinee.sagemaker.listing import members
from matinee.sagemaker.states import TRAINING_JOB, state_of
from matinee.sagemaker.store import Resource, Store

OBJECTIVE_DEFINITION = "ObjectiveMetric"
_SUMMARY_MEMBERS = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)


def training_jobs(store: Store, tuning_job_arn: str) -> list[Resource]:
    """Return the training jobs of a tuning job, in the order of their numbers."""
    found = store.find(TRAINING_JOB.name, parent=tuning_job_arn)
    return sorted(found, key=lambda job: int(job.private["trial"]))


def has_ended(child: Resource) -> bool:
    """Return whether a training job has ended."""
    return state_of(child).is_terminal


def objective(child: Resource) -> float | None:
    """Return the last value of the objective that an ended training job wrote, if any."""
    for metric in child.document.get("FinalMetricDataList", ()):
        if metric["MetricName"] == OBJECTIVE_DEFINITION:
            return float(metric["Value"])
    return None


def objective_status(child: Resource) -> str:
    """Return AWS's ObjectiveStatus of a trial."""
    if not has_ended(child):
        return "Pending"
    return "Failed" if objective(child) is None else "Succeeded"


def objective_counters(children: Iterable[Resource]) -> dict[str, int]:
    """Return AWS's ObjectiveStatusCounters."""
    counters = {"Succeeded": 0, "Pending": 0, "Failed": 0}
    for child in children:
        counters[objective_status(child)] += 1
    return counters


def status_counters(children: Iterable[Resource]) -> dict[str, int]:
    """Return AWS's TrainingJobStatusCounters: an internal error is one that could be retried."""
    counters = dict.fromkeys(
        ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0
    )
    for child in children:
        if child.status == "Failed":
            reason = child.document["FailureReason"]
            is_internal = reason.startswith("InternalServerError")
            counters["RetryableError" if is_internal else "NonRetryableError"] += 1
        elif child.status in {"Completed", "Stopped"}:
            counters[child.status] += 1
        else:
            counters["InProgress"] += 1
    return counters


def best(children: Sequence[Resource], direction: str) -> Resource | None:
    """Return the trial with the best objective, the first of equals."""
    rated = [(value, child) for child in children if (value := objective(child)) is not None]
    if not rated:
        return None
    choose = min if direction == "Minimize" else max
    return choose(rated, key=lambda pair: pair[0])[1]


def summary(child: Resource, objective_wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return AWS's HyperParameterTrainingJobSummary of a trial.

    Parameters
    ----------
    child
        The training job.
    objective_wanted
        The tuning job's HyperParameterTuningJobObjective.
    """
    described = members(child, *_SUMMARY_MEMBERS)
    if "definition_name" in child.private:
        described["TrainingJobDefinitionName"] = child.private["definition_name"]
    if (value := objective(child)) is not None:
        described["FinalHyperParameterTuningJobObjectiveMetric"] = {
            **objective_wanted,
            "Value": value,
        }
    return {
        **described,
        "TunedHyperParameters": child.private["tuned"],
        "ObjectiveStatus": objective_status(child),
    }
