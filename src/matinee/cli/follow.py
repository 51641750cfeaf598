"""A run of the DAG from its start to what came of it, on whichever Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from matinee.cli import summary, watch
from matinee.cli.screen import say
from matinee.cli.watch import Place
from matinee.stack.airflow import DAG_ID
from matinee.workflow.objects import Objects

__all__ = ["Place", "begin", "follow", "show_results"]


def begin(place: Place, conf: Mapping[str, Any], screen: Console) -> str:
    """Start a run with these parameters, say where its page is, and return its id."""
    place.api.unpause(DAG_ID)
    run_id = place.api.trigger(DAG_ID, dict(conf))
    say(screen, f"run {run_id}")
    say(screen, _page(place, run_id))
    return run_id


def follow(
    place: Place, run_id: str, conf: Mapping[str, Any], screen: Console, *, is_given_up: bool
) -> bool:
    """Show a run until it ends, then what came of it; say whether every task of it is well.

    Parameters
    ----------
    place
    run_id
    conf
        The run's parameters.
    screen
    is_given_up
        Whether the run is ended when the user breaks off, or goes on without being watched.
    """
    api, page = place.api, _page(place, run_id)
    if conf.get("approval") == "person":
        say(screen, f"It will ask for your approval: {page}/required_actions")
    try:
        state, tasks = watch.watch(api, run_id, screen)
    except KeyboardInterrupt:
        if is_given_up:
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
        watch.show_failures(place, run_id, tasks, screen)
    objects = Objects(place.s3)
    show_results(objects, place.reports, started, evaluated, reported, screen)
    say(screen, f"{'task logs':<12} {place.logs}/dag_id={DAG_ID}/run_id={run_id}")
    return ended_well


def show_results(
    objects: Objects,
    reports: Path,
    started: Mapping[str, Any] | None,
    evaluated: Mapping[str, Any] | None,
    reported: Mapping[str, Any] | None,
    screen: Console,
) -> None:
    """Show what a run came to, as far as it came.

    Parameters
    ----------
    objects
        The S3 that it wrote to.
    reports
        Where a copy of its report goes.
    started
        `folder`, the URI of the run's folder.
    evaluated, reported
        What `evaluate` and `report` returned.
    screen
    """
    if evaluated is not None:
        summary.show(objects.read_json(evaluated["summary"]), screen)
        for step, earlier in evaluated["reused"].items():
            say(screen, f"{step} was not done again: it is that of run {earlier}")
    if started is not None:
        decision = f"{started['folder']}/decision.json"
        if decision in objects.list(started["folder"]):
            summary.show_decision(objects.read_json(decision), screen)
    if reported is not None:
        copy = reports / f"{reported['run']}.html"
        copy.parent.mkdir(parents=True, exist_ok=True)
        objects.download(reported["report"], copy)
        say(screen, f"{'report':<12} {copy}")


def _page(place: Place, run_id: str) -> str:
    return f"{place.address}/dags/{DAG_ID}/runs/{run_id}"
