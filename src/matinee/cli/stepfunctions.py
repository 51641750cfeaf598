"""`matinee stepfunctions`: the workflow as a Step Functions state machine, on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from matinee.cli import summary
from matinee.cli.board import Board, Mark
from matinee.cli.data import MOVIELENS_URI
from matinee.cli.follow import show_results
from matinee.cli.run import parameter_options, parameters, put_ratings
from matinee.cli.screen import console, say
from matinee.cli.stack import open_stack, start, stop
from matinee.stack.service import base_environment
from matinee.stack.stack import BUCKET, Stack
from matinee.stepfunctions.definition import definition as state_machine
from matinee.stepfunctions.definition import substituted, undecided
from matinee.stepfunctions.execution import Execution, folder, reason
from matinee.workflow.objects import Objects
from matinee.workflow.settings import Settings

# What the local stack has for what a deployment knows.
LOCAL = {
    **undecided(),
    "SageMakerRoleArn": "arn:aws:iam::000000000000:role/matinee-sagemaker",
    "WorkflowImage": "matinee-python",
    "Partition": "aws",
    "Bucket": BUCKET,
}


@click.group()
def stepfunctions() -> None:
    """The workflow as a state machine of AWS Step Functions."""


@stepfunctions.command()
def definition() -> None:
    """Print the state machine, with its substitutions open, as CloudFormation takes it."""
    click.echo(json.dumps(state_machine(), indent=2))


@stepfunctions.command()
@parameter_options
@click.option("--keep-up", is_flag=True, help="Leave a stack running that this command started.")
@click.pass_obj
def run(
    home: Path,
    tune: bool,
    ratings: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    keep_up: bool,
) -> None:
    """Run the state machine against the local SageMaker and show what came of it.

    Airflow is not needed. The exit code is 0 only if the execution succeeded.
    """
    file, conf = parameters(tune, ratings, preset, assignments)
    Settings.from_parameters(conf).refuse_what_is_airflows()
    screen = console()
    stack = open_stack(home)
    began = time.monotonic()
    was_down = all(service.pid is None for service in stack.status())
    start(stack, screen, (stack.seaweedfs, stack.sagemaker))
    ours = was_down and not keep_up
    try:
        ended_well = _run(stack, file, conf, screen)
    except KeyboardInterrupt:
        say(screen, "\nInterrupted: the execution and the job that it waited for are stopped.")
        raise click.exceptions.Exit(130) from None
    finally:
        if ours:
            stop(stack, screen)
    say(screen, f"\n{time.monotonic() - began:.1f} s in all.")
    if not ours:
        say(screen, f"Console: {stack.console_address}")
    if not ended_well:
        raise click.exceptions.Exit(1)


def _run(stack: Stack, file: Path | None, conf: Mapping[str, Any], screen: Console) -> bool:
    client = stack.client("s3")
    put_ratings(stack.home.path, client, file, conf.get("ratings", MOVIELENS_URI), screen)
    name = f"matinee-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    say(screen, f"execution {name}")
    text = substituted(state_machine(), LOCAL)
    # Of the stack, so that `matinee down` ends it too.
    environment = base_environment(stack.home.path, "stepfunctions", os.environ)
    environment |= stack.client_environment()
    with Execution(text, {"parameters": dict(conf)}, name, environment) as execution:
        states, begun = _follow(execution, screen)
    end = execution.end or {"status": "ABORTED"}
    ended_well = bool(end["status"] == "SUCCEEDED")
    summary.show_seconds(states, screen, noun="step")
    if not ended_well:
        screen.print("\n[bold red]The execution failed[/]")
        say(screen, f"reason: {reason(end)}")
    if begun is not None:
        objects = Objects(client)
        published: dict[str, Any] = {}
        if objects.exists(uri := f"{folder(BUCKET, begun['run'])}/published.json"):
            published = objects.read_json(uri)
        settings = Settings.from_parameters(begun["parameters"])
        show_results(
            objects,
            stack.home.path / "reports",
            {"folder": settings.folder(begun["run"])},
            published.get("evaluated"),
            published.get("reported"),
            screen,
        )
    say(screen, f"{'server logs':<12} {stack.home.path / 'logs'}")
    return ended_well


@dataclass(slots=True)
class _State:
    """How a task or map of the state machine stands; the tasks of a map are its own affair."""

    name: str
    is_map: bool
    began: datetime
    state: str = "running"
    tries: int = 0
    seconds: float | None = None

    def take(self, kind: str, at: datetime) -> None:
        """Take an event of the execution's history."""
        if kind == "TaskScheduled" and not self.is_map:
            self.tries += 1
            self.state = "running"
        elif kind == ("MapStateFailed" if self.is_map else "TaskFailed"):
            self.state = "failed"
        elif kind == ("MapStateExited" if self.is_map else "TaskStateExited"):
            self.seconds = (at - self.began).total_seconds()
            if self.state == "running":
                self.state = "success"

    def show(self, board: Board) -> None:
        """Show it."""
        mark = {"success": Mark.DONE, "failed": Mark.FAILED}.get(self.state, Mark.BUSY)
        text = f"{self.state}, try {self.tries}" if self.tries > 1 else self.state
        board.show(self.name, mark, text, self.seconds)


def _follow(
    execution: Execution, screen: Console
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Show the states of an execution until it ends.

    Returns
    -------
    tuple of list and dict
        The states as `summary.show_seconds` takes them; `run` and `parameters`, if it came to that.
    """
    states: list[_State] = []
    begun = None
    with Board(screen) as board:
        for event in execution.events():
            kind, details = event["type"], event["details"]
            at = datetime.fromisoformat(event["at"])
            in_map = bool(states) and states[-1].is_map and states[-1].seconds is None
            if kind in ("TaskStateEntered", "MapStateEntered") and not in_map:
                states.append(_State(details["name"], kind == "MapStateEntered", at))
            elif kind == "PassStateExited" and details["name"] == "Parameters":
                begun = json.loads(details["output"])
            if states and states[-1].seconds is None:
                states[-1].take(kind, at)
                states[-1].show(board)
    rows = [
        {"task_id": state.name, "state": state.state, "duration": state.seconds} for state in states
    ]
    return rows, begun
