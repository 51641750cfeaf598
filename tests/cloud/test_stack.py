"""Stacks in every state that a broken off or failed command leaves, which moto's never are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import boto3
import pytest

from matinee.cloud.account import Account
from matinee.cloud.deploy import settle
from matinee.cloud.errors import AWSStackError
from matinee.cloud.stack import Described, Stack
from tests.cloud.conftest import Emulator
from tests.cloud.scripted import GONE, Script, serving
from tests.cloud.stacks import NAME, Notes
from tests.conftest import find_by

REASON = "Storage is full"
BACK = ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]


def settled(
    monkeypatch: pytest.MonkeyPatch,
    states: Sequence[str],
    answers: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Described | None, list[str], Notes]:
    """Settle a stack that goes so; return how it ends, and what was asked of it."""
    script, notes = Script(states, answers or {}, REASON), Notes()
    with serving(script) as address:
        find_by(Emulator(address).environment, monkeypatch)
        stack = Stack(Account(boto3.Session()), NAME, sleep=script.wait)
        return settle(stack, notes), script.asked, notes


@pytest.mark.parametrize(
    "state", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"]
)
def test_one_at_rest_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    described, asked, notes = settled(monkeypatch, [state])
    assert described is not None
    assert described.status == state
    assert asked == notes.lines == []


def test_what_is_under_way_is_waited_for_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    states = ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]
    described, _, notes = settled(monkeypatch, states)
    assert described is not None
    assert described.status == "UPDATE_COMPLETE"
    assert [event.status for event in notes.events] == states
    assert notes.lines == [f"stack {NAME} is UPDATE_IN_PROGRESS: waiting for it"]


@pytest.mark.parametrize("state", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"])
def test_one_that_was_never_created_is_removed(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    described, asked, _ = settled(
        monkeypatch, ["CREATE_IN_PROGRESS", state], {"DeleteStack": ["DELETE_IN_PROGRESS", GONE]}
    )
    assert described is None
    assert asked == ["DeleteStack"]


def test_one_that_is_going_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, ["DELETE_IN_PROGRESS", GONE])[0] is None


@pytest.mark.parametrize(
    ("state", "operation"),
    [("UPDATE_ROLLBACK_FAILED", "ContinueUpdateRollback"), ("UPDATE_FAILED", "RollbackStack")],
)
def test_a_rollback_that_stopped_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, state: str, operation: str
) -> None:
    described, asked, _ = settled(monkeypatch, [state], {operation: BACK})
    assert described is not None
    assert described.status == "UPDATE_ROLLBACK_COMPLETE"
    assert asked == [operation]


@pytest.mark.parametrize(
    ("states", "answers"),
    [
        (["DELETE_FAILED"], {}),
        (["ROLLBACK_COMPLETE"], {"DeleteStack": ["DELETE_IN_PROGRESS", "DELETE_FAILED"]}),
        (
            ["UPDATE_ROLLBACK_FAILED"],
            {"ContinueUpdateRollback": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"]},
        ),
    ],
)
def test_what_only_the_user_can_mend_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, states: list[str], answers: dict[str, list[str]]
) -> None:
    last = [*states, *(state for each in answers.values() for state in each)][-1]
    with pytest.raises(AWSStackError) as caught:
        settled(monkeypatch, states, answers)
    assert str(caught.value) == (
        f"stack {NAME} is {last} and cannot be updated. Database (AWS::RDS::DBInstance)"
        f" UPDATE_FAILED: {REASON}. Mend that, or remove all of it:"
        f" `matinee cloud destroy --stack {NAME}`"
    )
