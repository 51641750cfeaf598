"""Watching a run of the DAG until it ends, and telling why it failed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from matinee.cli.board import Board, Mark
from matinee.cli.screen import say
from matinee.stack.airflow import DAG_ID
from matinee.stack.airflow_api import AirflowAPI, AirflowError
from matinee.workflow.requests import job_name
from matinee.workflow.settings import run_name

POLL_S = 0.5
SILENCE_LIMIT_S = 60.0  # a busy machine may keep Airflow from answering for a while
LAST_LINES = 12

MARKS = {
    None: Mark.IDLE,
    "success": Mark.DONE,
    "failed": Mark.FAILED,
    "upstream_failed": Mark.FAILED,
    "skipped": Mark.SKIPPED,
    "removed": Mark.SKIPPED,
}
# How boto3 asks for the job that a task started.
JOBS = {
    "train": ("describe_training_job", "TrainingJobName"),
    "tune": ("describe_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
    "predict": ("describe_transform_job", "TransformJobName"),
}


@dataclass(frozen=True)
class Place:
    """Where a run takes place.

    Parameters
    ----------
    api, address
        Of its Airflow.
    s3, sagemaker
        boto3's clients.
    logs
        Where Airflow's tasks write their logs: a folder, or a log group.
    reports
        Where copies of the reports go.
    """

    api: AirflowAPI
    address: str
    s3: Any
    sagemaker: Any
    logs: str
    reports: Path


def watch(api: AirflowAPI, run_id: str, screen: Console) -> tuple[str, list[dict[str, Any]]]:
    """Show the tasks of a run until it ends.

    Returns
    -------
    tuple of str and list
        The state of the run, `success` or `failed`, and its task instances in their order: of a
        mapped task several.

    Raises
    ------
    httpx.TransportError
        When Airflow does not answer for a minute.
    """
    answered = time.monotonic()
    with Board(screen) as board:
        while True:
            try:
                # The state first: what is asked for after its end is how the tasks ended.
                state = api.run(DAG_ID, run_id)["state"]
                tasks = in_order(api.task_instances(DAG_ID, run_id))
            except httpx.TransportError:
                if time.monotonic() - answered > SILENCE_LIMIT_S:
                    raise
            else:
                answered = time.monotonic()
                for task in merged(tasks):
                    _show(task, board)
                if state in ("success", "failed"):
                    return state, tasks
            time.sleep(POLL_S)


def in_order(tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order task instances as the DAG does: each counts those after it as its priority."""
    return sorted(tasks, key=lambda task: (-task["priority_weight"], task["task_id"]))


def merged(tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bring the instances of each mapped task together: how far they are, as one instance.

    Its state is that of the instance which is worst off, and `progress` says how many are done.
    """
    instances: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks:
        instances.setdefault(task["task_id"], []).append(task)
    return [_merge(of_task) for of_task in instances.values()]


def _merge(instances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(instances) == 1:
        return {**instances[0], "progress": ""}
    done = sum(instance["state"] == "success" for instance in instances)
    unfinished = [instance for instance in instances if instance["state"] not in MARKS]
    others = [instance for instance in instances if instance["state"] != "success"]
    failed = [instance for instance in instances if instance["state"] == "failed"]
    worst = (failed or unfinished or others or instances)[0]
    started = [instance["start_date"] for instance in instances if instance["start_date"]]
    return {
        **worst,
        "start_date": min(started, default=None),
        # What all of them took: they may run at a time.
        "duration": sum(instance["duration"] or 0 for instance in instances),
        "try_number": max(instance["try_number"] for instance in instances),
        "progress": f"{done} of {len(instances)}",
    }


def succeeded(state: str, tasks: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a run succeeded and every task of it succeeded or was left out by a branch."""
    return state == "success" and all(task["state"] in ("success", "skipped") for task in tasks)


def show_failures(
    place: Place,
    run_id: str,
    tasks: Sequence[Mapping[str, Any]],
    screen: Console,
) -> None:
    """Print for each failed task its reason, its job's reason and the end of its log."""
    for task in tasks:
        if task["state"] != "failed":
            continue
        name, attempt = task["task_id"], max(task["try_number"], 1)
        index = task["map_index"]
        try:
            entries = place.api.log(DAG_ID, run_id, name, attempt, index)
        except AirflowError as error:
            entries = [{"event": f"its log cannot be read: {error}"}]
        of_which = "" if index < 0 else f", number {index}"
        screen.print(f"\n[bold red]Task {name} failed[/] (try {attempt}{of_which})")
        say(screen, f"reason: {_reason(entries)}")
        if reason := _job_reason(place.sagemaker, run_id, name, attempt):
            say(screen, reason)
        log_file = _log_file(place.logs, run_id, name, attempt, index)
        say(screen, f"the last lines of its log, {log_file}:")
        for line in _lines(entries)[-LAST_LINES:]:
            say(screen, f"  {line}")


def _show(task: Mapping[str, Any], board: Board) -> None:
    state, seconds = task["state"], task["duration"] or None
    if state == "running" and task["start_date"]:
        began = datetime.fromisoformat(task["start_date"])
        seconds = max(0.0, (datetime.now(UTC) - began).total_seconds())
    text = state or ""
    if task["progress"]:
        text = f"{text} {task['progress']}".strip()
    if task["try_number"] > 1:
        text += f", try {task['try_number']}"
    board.show(task["task_id"], MARKS.get(state, Mark.BUSY), text, seconds)


def _reason(entries: Sequence[Mapping[str, Any]]) -> str:
    """Find the exception that ended the task, and what caused it."""
    for entry in reversed(entries):
        if exceptions := _exceptions(entry):
            return ", caused by ".join(exceptions)
    return "no exception in its log: the process of the task was killed, or never started"


def _exceptions(entry: Mapping[str, Any]) -> list[str]:
    """List an entry's exception and its causes; of several with equal words, the first cause."""
    errors = entry.get("error_detail") or ()
    named = {error["exc_value"]: f"{error['exc_type']}: {error['exc_value']}" for error in errors}
    return list(named.values())


def _job_reason(sagemaker: Any, run_id: str, task: str, attempt: int) -> str | None:
    """Ask SageMaker why the job of a task failed, if it had come to a job."""
    if task not in JOBS:
        return None
    operation, member = JOBS[task]
    job = job_name(run_name(run_id), task, attempt)
    try:
        description = getattr(sagemaker, operation)(**{member: job})
    except (BotoCoreError, ClientError):
        return None
    reason = description.get("FailureReason")
    return f"SageMaker job {job}: {reason}" if reason else None


def _log_file(logs: str, run_id: str, task: str, attempt: int, map_index: int) -> str:
    of_which = f"/map_index={map_index}" if map_index >= 0 else ""
    return f"{logs}/dag_id={DAG_ID}/run_id={run_id}/task_id={task}{of_which}/attempt={attempt}.log"


def _lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    lines: list[str] = []
    for entry in entries:
        event = str(entry.get("event", ""))
        if event.startswith("::"):
            continue
        whole = " ".join(filter(None, (entry.get("timestamp"), entry.get("level"), event)))
        lines += whole.splitlines()
        lines += [f"  {exception}" for exception in _exceptions(entry)]
    return lines
