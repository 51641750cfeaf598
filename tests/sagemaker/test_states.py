"""The table of transitions and what a job's description says about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from matinee.sagemaker.states import (
    TRANSITIONS,
    IllegalTransitionError,
    State,
    moved,
    state_of,
)
from matinee.sagemaker.store import Resource

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENDS = {State.COMPLETED, State.FAILED, State.STOPPED, State.MAX_RUNTIME_EXCEEDED}


def training_job(state: State) -> Resource:
    document: dict[str, Any] = {
        "TrainingJobStatus": state.status,
        "SecondaryStatus": str(state),
        "LastModifiedTime": NOON,
        "TrainingStartTime": NOON,
        "SecondaryStatusTransitions": [
            {"Status": str(state), "StartTime": NOON, "StatusMessage": "before"}
        ],
    }
    return Resource("TrainingJob", "name", "arn", state.status, NOON, NOON, document, {})


def move(job: Resource, state: State, seconds: float = 1.0, message: str = "after") -> Resource:
    now = NOON + timedelta(seconds=seconds)
    return moved(job, state, now=now, message=message, changes={})


def test_every_state_but_the_ends_has_a_way_to_an_end() -> None:
    assert {state for state in State if state.is_terminal} == ENDS
    for state in set(State) - ENDS:
        reached, frontier = {state}, {state}
        while frontier:
            frontier = {after for before in frontier for after in TRANSITIONS[before]} - reached
            reached |= frontier
        assert State.FAILED in reached
        assert State.STOPPED in reached


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_only_the_table_moves_a_job(before: State, after: State) -> None:
    job = training_job(before)
    if after in TRANSITIONS[before] or (after is before and before not in ENDS):
        assert state_of(move(job, after)) is after
    else:
        with pytest.raises(IllegalTransitionError, match=f"cannot go from {before} to {after}"):
            move(job, after)
    assert state_of(job) is before


def test_an_end_is_recorded_once() -> None:
    failed = move(training_job(State.TRAINING), State.FAILED)
    for again in ENDS:
        with pytest.raises(IllegalTransitionError):
            move(failed, again)


def test_a_transition_ends_the_one_before() -> None:
    job = move(training_job(State.TRAINING), State.UPLOADING, 2)
    first, second = job.document["SecondaryStatusTransitions"]
    then = NOON + timedelta(seconds=2)
    assert first["EndTime"] == then
    assert second == {"Status": "Uploading", "StartTime": then, "StatusMessage": "after"}
    assert job.document["LastModifiedTime"] == job.modified == then
    assert job.status == "InProgress"


def test_a_message_alone_adds_no_transition() -> None:
    job = move(training_job(State.TRAINING), State.TRAINING, message="news")
    (only,) = job.document["SecondaryStatusTransitions"]
    assert only == {"Status": "Training", "StartTime": NOON, "StatusMessage": "news"}


@pytest.mark.parametrize(("seconds", "counted"), [(0.2, 1), (99.4, 99), (99.6, 100)])
def test_an_end_counts_the_time(seconds: float, counted: int) -> None:
    job = move(training_job(State.UPLOADING), State.MAX_RUNTIME_EXCEEDED, seconds)
    assert job.status == job.document["TrainingJobStatus"] == "Stopped"
    assert job.document["TrainingEndTime"] == NOON + timedelta(seconds=seconds)
    assert job.document["TrainingTimeInSeconds"] == counted
    assert job.document["BillableTimeInSeconds"] == counted


def test_a_job_stopped_before_it_began_has_its_times() -> None:
    job = training_job(State.STOPPING)
    del job.document["TrainingStartTime"]
    stopped = move(job, State.STOPPED).document
    assert stopped["TrainingStartTime"] == stopped["TrainingEndTime"]
