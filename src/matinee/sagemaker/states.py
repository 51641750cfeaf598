"""The states of a job and the one table of legal transitions between them.

``moved`` is the only way from one state to another: it refuses what the table does not have, and
keeps the parts of a job's description that follow from its state (status, times, a training job's
SecondaryStatusTransitions) in step. An end has no way out, so it is recorded once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from matinee.sagemaker.store import Resource


class State(StrEnum):
    """Where a job stands: a training job's SecondaryStatus, any other job's status."""

    IN_PROGRESS = "InProgress"
    STARTING = "Starting"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return not TRANSITIONS[self]

    @property
    def status(self) -> str:
        """The status a state belongs to, e.g. TrainingJobStatus."""
        if self is State.MAX_RUNTIME_EXCEEDED:
            return str(State.STOPPED)
        if self.is_terminal or self is State.STOPPING:
            return str(self)
        return str(State.IN_PROGRESS)


TRANSITIONS: Mapping[State, frozenset[State]] = {
    # Tuning, transform and processing jobs
    State.IN_PROGRESS: frozenset({State.STOPPING, State.COMPLETED, State.FAILED}),
    # Training jobs
    State.STARTING: frozenset({State.DOWNLOADING, State.STOPPING, State.FAILED}),
    # .. which begin again when they are retried
    State.DOWNLOADING: frozenset({State.TRAINING, State.STOPPING, State.FAILED, State.STARTING}),
    State.TRAINING: frozenset({State.UPLOADING, State.STOPPING, State.FAILED, State.STARTING}),
    State.UPLOADING: frozenset(
        {
            State.COMPLETED,
            State.MAX_RUNTIME_EXCEEDED,
            State.STOPPING,
            State.FAILED,
            State.STARTING,
        }
    ),
    # All
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.STOPPED: frozenset(),
    State.MAX_RUNTIME_EXCEEDED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: what AWS calls its parts."""

    name: str
    words: str
    status_field: str
    start_field: str | None
    end_field: str


TRAINING_JOB = Kind(
    "TrainingJob", "training job", "TrainingJobStatus", "TrainingStartTime", "TrainingEndTime"
)
TUNING_JOB = Kind(
    "HyperParameterTuningJob",
    "hyperparameter tuning job",
    "HyperParameterTuningJobStatus",
    None,
    "HyperParameterTuningEndTime",
)
TRANSFORM_JOB = Kind(
    "TransformJob", "transform job", "TransformJobStatus", "TransformStartTime", "TransformEndTime"
)
PROCESSING_JOB = Kind(
    "ProcessingJob",
    "processing job",
    "ProcessingJobStatus",
    "ProcessingStartTime",
    "ProcessingEndTime",
)
KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (TRAINING_JOB, TUNING_JOB, TRANSFORM_JOB, PROCESSING_JOB)
}


class IllegalTransitionError(Exception):
    """The table does not allow a job to go from its state to the wanted one.

    Attributes
    ----------
    current
        The state the job is in, and stays in.
    """

    def __init__(self, job: str, current: State, wanted: State) -> None:
        super().__init__(f"{job} cannot go from {current} to {wanted}")
        self.current = current


def state_of(resource: Resource) -> State:
    """Return the state of a job."""
    return State(resource.document.get("SecondaryStatus", resource.status))


def moved(
    resource: Resource, state: State, *, now: datetime, message: str, changes: Mapping[str, Any]
) -> Resource:
    """Return a job as it is after a transition.

    Parameters
    ----------
    resource
        The job before.
    state
        Where it goes; the state it is in already, to change its message or its fields.
    now
        The time of the change.
    message
        A training job's StatusMessage; empty keeps the present one.
    changes
        Members of its description to set.

    Raises
    ------
    IllegalTransitionError
        ``TRANSITIONS`` does not have it.
    """
    kind, current = KINDS[resource.kind], state_of(resource)
    staying = state is current and not current.is_terminal
    if not staying and state not in TRANSITIONS[current]:
        raise IllegalTransitionError(f"{resource.kind} {resource.name!r}", current, state)
    document = {**resource.document, **changes, kind.status_field: state.status}
    if "LastModifiedTime" in document:
        document["LastModifiedTime"] = now
    if state.is_terminal:
        document[kind.end_field] = now
        if kind.start_field is not None:
            document.setdefault(kind.start_field, now)
    if kind is TRAINING_JOB:
        _describe_training(document, state, now, message)
    return dataclasses.replace(resource, status=state.status, modified=now, document=document)


def _describe_training(document: dict[str, Any], state: State, now: datetime, message: str) -> None:
    document["SecondaryStatus"] = str(state)
    transitions = [dict(item) for item in document["SecondaryStatusTransitions"]]
    if transitions[-1]["Status"] != state:
        transitions[-1]["EndTime"] = now
        transitions.append({"Status": str(state), "StartTime": now, "StatusMessage": ""})
    if message:
        transitions[-1]["StatusMessage"] = message
    if state.is_terminal:
        transitions[-1]["EndTime"] = now
        seconds = (document["TrainingEndTime"] - document["TrainingStartTime"]).total_seconds()
        document["TrainingTimeInSeconds"] = max(1, round(seconds))
        document["BillableTimeInSeconds"] = document["TrainingTimeInSeconds"]
    document["SecondaryStatusTransitions"] = transitions
