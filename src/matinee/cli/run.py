"""`matinee run`: the whole workflow, from ratings to recommendations, on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from matinee.cli import summary, watch
from matinee.cli.data import MOVIELENS_URI, put_movielens
from matinee.cli.screen import console, say
from matinee.cli.stack import open_stack, say_login, start, stop
from matinee.stack.airflow import DAG_ID
from matinee.stack.stack import BUCKET, Stack
from matinee.workflow.errors import SettingsError
from matinee.workflow.hyperparameters import PRESETS
from matinee.workflow.objects import Objects
from matinee.workflow.parameters import from_text
from matinee.workflow.settings import Settings


@click.command()
@click.option("--tune", is_flag=True, help="Search hyperparameters instead of training once.")
@click.option(
    "--ratings",
    metavar="FILE|URI",
    help=f"A local file, which is uploaded, or an s3:// URI.  [default: {MOVIELENS_URI}]",
)
@click.option("--preset", type=click.Choice(list(PRESETS)), help="Values of unset parameters.")
@click.option(
    "--set",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any parameter of the workflow; VALUE is JSON or text. May be repeated.",
)
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
    """Run the whole workflow and show what came of it.

    The exit code is 0 only if every task succeeded, or was left out by a branch.
    """
    file, conf = _parameters(tune, ratings, preset, assignments)
    screen = console()
    stack = open_stack(home)
    began = time.monotonic()
    # A stack of which only a part was started belonged to the user before.
    ours = len(start(stack, screen)) == len(stack.services) and not keep_up
    try:
        ended_well = _run(stack, file, conf, ours, screen)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    finally:
        if ours:
            stop(stack, screen)
    say(screen, f"\n{time.monotonic() - began:.1f} s in all.")
    if ours:
        say(screen, "The stack was stopped; `matinee up` starts it again, with all of this in it.")
    else:
        say_login(stack, screen)
    if not ended_well:
        raise click.exceptions.Exit(1)


def _parameters(
    tune: bool, ratings: str | None, preset: str | None, assignments: tuple[str, ...]
) -> tuple[Path | None, dict[str, Any]]:
    """Put the options together and refuse what is wrong before anything is started."""
    conf: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: it must look like NAME=VALUE")
        conf[name] = from_text(name, text)
    if tune:
        conf["tune"] = True
    if preset is not None:
        conf["preset"] = preset
    file = None
    if ratings is not None:
        if not ratings.startswith("s3://"):
            file = Path(ratings).expanduser()
            if not file.is_file():
                raise SettingsError(f"--ratings {ratings}: no such file, nor an s3:// URI")
            ratings = f"s3://{BUCKET}/ratings/{file.name}"
        conf["ratings"] = ratings
    Settings.from_parameters(conf)
    return file, conf


def _run(
    stack: Stack, file: Path | None, conf: dict[str, Any], ours: bool, screen: Console
) -> bool:
    client = stack.client("s3")
    uri = conf.get("ratings", MOVIELENS_URI)
    if file is not None:
        say(screen, f"uploading {file} as {uri}")
        Objects(client).upload(file, uri)
    elif uri == MOVIELENS_URI and not _exists(client, uri):
        put_movielens(stack, client, screen)
    with stack.airflow.api() as api:
        api.unpause(DAG_ID)
        run_id = api.trigger(DAG_ID, conf)
        page = f"{stack.airflow.address}/dags/{DAG_ID}/runs/{run_id}"
        say(screen, f"run {run_id}")
        say(screen, page)
        say_login(stack, screen)
        if conf.get("approval") == "person":
            say(screen, f"It will ask for your approval: {page}/required_actions")
        try:
            state, tasks = watch.watch(api, run_id, screen)
        except KeyboardInterrupt:
            if ours:
                api.fail_run(DAG_ID, run_id)
                say(screen, "\nInterrupted: the run is given up.")
            else:
                say(screen, f"\nNo longer watching. The run goes on: {page}")
            raise
        ended_well = watch.succeeded(state, tasks)
        summary.show_seconds(watch.merged(tasks), screen)
        started = api.xcom(DAG_ID, run_id, "start")
        evaluated = api.xcom(DAG_ID, run_id, "evaluate")
        reported = api.xcom(DAG_ID, run_id, "report")
        if not ended_well:
            watch.show_failures(stack, api, run_id, tasks, screen)
    objects = Objects(client)
    if evaluated is not None:
        summary.show(objects.read_json(evaluated["summary"]), screen)
        for step, earlier in evaluated["reused"].items():
            say(screen, f"{step} was not done again: it is that of run {earlier}")
    if started is not None:
        decision = f"{started['folder']}/decision.json"
        if decision in objects.list(started["folder"]):
            summary.show_decision(objects.read_json(decision), screen)
    if reported is not None:
        copy = stack.home.path / "reports" / f"{reported['run']}.html"
        copy.parent.mkdir(exist_ok=True)
        objects.download(reported["report"], copy)
        say(screen, f"{'report':<12} {copy}")
    logs = stack.airflow.folder / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
    say(screen, f"{'task logs':<12} {logs}")
    say(screen, f"{'server logs':<12} {stack.home.path / 'logs'}")
    return ended_well


def _exists(client: Any, uri: str) -> bool:
    return uri in Objects(client).list(uri.rpartition("/")[0])
