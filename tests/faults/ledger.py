"""What clients were told, and whether it is still so.

A client notes what it asks for before it asks, and what was acknowledged after. Whatever a client
sees of a job later has to fit: an acknowledged job is there, an end stays as it was, Completed
means that the artifact is there and opens, Failed means that there is a reason.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.sagemaker.jobs.conftest import Jobs

ENDS = {"Completed", "Failed", "Stopped"}
# Where a client may see a job go, one look to the next.
_LATER = {"InProgress": {"InProgress", "Stopping", *ENDS}, "Stopping": {"Stopping", *ENDS}}
_MISSING = ("could not find", "not found", "does not exist", "can't find")
_TAKEN = "ResourceInUse"
# What a server says of a request that it may or may not have carried out.
_STOPPING = "The server is being stopped"

# By kind: how it is described, under which name, and where its status stands.
KINDS: Mapping[str, tuple[str, str, str]] = {
    "training": ("describe_training_job", "TrainingJobName", "TrainingJobStatus"),
    "tuning": (
        "describe_hyper_parameter_tuning_job",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus",
    ),
    "transform": ("describe_transform_job", "TransformJobName", "TransformJobStatus"),
    "processing": ("describe_processing_job", "ProcessingJobName", "ProcessingJobStatus"),
    "model": ("describe_model", "ModelName", ""),
}


@dataclass
class Entry:
    """One thing that somebody asked for.

    Attributes
    ----------
    kind, name
        Which.
    check
        Called with the description of a Completed one; raises AssertionError if it is not true.
    expected
        How it ends if nobody interferes.
    acknowledged
        Whether the create was answered.
    exists
        Whether it was ever seen.
    stopped, disturbed
        Whether somebody asked it to stop, or killed a process of its.
    judged
        Whether its end was checked before.
    last
        The last description seen.
    turn
        Held by who looks at it.
    """

    kind: str
    name: str
    check: Callable[[dict[str, Any]], None]
    expected: str = "Completed"
    acknowledged: bool = False
    exists: bool = False
    stopped: bool = False
    disturbed: bool = False
    judged: bool = False
    last: dict[str, Any] | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def status(self) -> str:
        return "" if self.last is None else self.last.get(KINDS[self.kind][2], "there")

    @property
    def is_over(self) -> bool:
        return self.status in ENDS or (self.kind == "model" and self.exists)


@dataclass
class Ledger:
    """All that was asked for, and every promise that was broken."""

    jobs: Jobs
    entries: list[Entry] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def violated(self, words: str) -> None:
        with self.lock:
            self.violations.append(words)

    def note(self, what: str) -> None:
        with self.lock:
            self.outcomes[what] += 1

    def create(self, entry: Entry, call: Callable[[], Any]) -> None:
        """Ask for something that nobody else asks for."""
        with self.lock:
            self.entries.append(entry)
        outcome = self.attempt(call)
        entry.acknowledged = outcome == ""
        if outcome not in {"", "lost"}:
            self.violated(f"create {entry.kind} {entry.name}: {outcome}")

    def race(self, entry: Entry, call: Callable[[], Any], clients: int) -> None:
        """Let several clients ask for one name at once: at most one gets it."""
        with self.lock:
            self.entries.append(entry)
        outcomes: list[str] = []
        threads = [
            threading.Thread(target=lambda: outcomes.append(self.attempt(call)))
            for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = outcomes.count("")
        entry.acknowledged = won > 0
        others = {outcome for outcome in outcomes if outcome not in {"", "lost"}}
        if won > 1 or any(not outcome.startswith(_TAKEN) for outcome in others):
            self.violated(f"{clients} creates of {entry.kind} {entry.name}: {outcomes}")
        if won == 0 and not outcomes.count("lost"):
            self.violated(f"nobody got {entry.kind} {entry.name}: {outcomes}")

    def attempt(self, call: Callable[[], Any]) -> str:
        """Return nothing, ``lost`` when the server ended on it, or the error's code and message."""
        try:
            call()
        except BotoCoreError:
            self.note("answers lost")
            return "lost"
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            said = error.response["Error"]
            if status == 503 and _STOPPING in said["Message"]:
                self.note("answers lost")
                return "lost"
            if status >= 500 and status != 503:
                self.violated(f"{error.operation_name}: {error}")
            return f"{said['Code']}: {said['Message']}"
        self.note("answers")
        return ""

    def look(self, entry: Entry) -> None:
        """Describe something and compare it with what was seen and acknowledged before."""
        operation, member, _ = KINDS[entry.kind]
        before = entry.last
        try:
            seen = getattr(self.jobs.sagemaker, operation)(**{member: entry.name})
        except BotoCoreError:
            self.note("answers lost")
            return
        except ClientError as error:
            message = error.response["Error"]["Message"].lower()
            if not any(words in message for words in _MISSING):
                self.violated(f"describe {entry.kind} {entry.name}: {error}")
            elif entry.acknowledged or entry.exists:
                self.violated(f"{entry.kind} {entry.name} was acknowledged and is gone")
            return
        self.note("answers")
        del seen["ResponseMetadata"]
        entry.exists, entry.last = True, seen
        if entry.kind != "model" and before is not None:
            self._compare(entry, before, seen)

    def _compare(self, entry: Entry, before: dict[str, Any], seen: dict[str, Any]) -> None:
        member = KINDS[entry.kind][2]
        was, now = before[member], seen[member]
        if was in ENDS:
            if before != seen:
                self.violated(f"{entry.kind} {entry.name} changed after its end {was}: {seen}")
        elif now not in _LATER[was]:
            self.violated(f"{entry.kind} {entry.name} went from {was} to {now}")

    def judge(self, entry: Entry) -> None:
        """Check the end of a job."""
        if entry.kind == "model":
            return
        assert entry.last is not None
        status, reason = entry.status, entry.last.get("FailureReason", "")
        if not entry.judged:
            self.note(f"{entry.kind} {status}")
        entry.judged = True
        told = f"{entry.kind} {entry.name} (expected {entry.expected}"
        told += f"{', stopped' * entry.stopped}{', disturbed' * entry.disturbed})"
        allowed = {entry.expected}
        if entry.stopped:
            allowed |= {"Stopped"}
        if entry.disturbed:
            allowed |= {"Failed", "Completed"}
        if status not in allowed:
            self.violated(f"{told} ended {status}: {reason}")
        if status == "Failed" and not reason:
            self.violated(f"{told} failed without a reason")
        if status == "Completed":
            try:
                entry.check(entry.last)
            except (AssertionError, ClientError, OSError, KeyError, ValueError) as error:
                self.violated(f"{told} is Completed, but {type(error).__name__}: {error}")
        transitions = entry.last.get("SecondaryStatusTransitions")
        if transitions is not None:
            went = [item["Status"] for item in transitions]
            ends = [status for status in went if status in {*ENDS, "MaxRuntimeExceeded"}]
            if len(ends) != 1 or went[-1] != ends[0]:
                self.violated(f"{told} went {went}")
