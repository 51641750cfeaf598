"""`matinee run`: the whole workflow, from ratings to recommendations, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from matinee.cli.data import MOVIELENS_URI, put_movielens
from matinee.cli.follow import Place, begin, follow
from matinee.cli.screen import console, say
from matinee.cli.stack import open_stack, say_login, start, stop
from matinee.stack.stack import BUCKET, Stack
from matinee.workflow.errors import SettingsError
from matinee.workflow.hyperparameters import PRESETS
from matinee.workflow.objects import Objects
from matinee.workflow.parameters import from_text
from matinee.workflow.settings import Settings


def parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that a run's parameters come from; `parameters` reads them."""
    for option in (
        click.option(
            "--set",
            "assignments",
            metavar="NAME=VALUE",
            multiple=True,
            help="Any parameter of the workflow; VALUE is JSON or text. May be repeated.",
        ),
        click.option(
            "--preset", type=click.Choice(list(PRESETS)), help="Values of unset parameters."
        ),
        click.option(
            "--ratings",
            metavar="FILE|URI",
            help="A local file, which is uploaded, or an s3:// URI.  [default: MovieLens-100K]",
        ),
        click.option(
            "--tune", is_flag=True, help="Search hyperparameters instead of training once."
        ),
    ):
        command = option(command)
    return command


@click.command()
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
    """Run the whole workflow and show what came of it.

    The exit code is 0 only if every task succeeded, or was left out by a branch.
    """
    file, conf = parameters(tune, ratings, preset, assignments)
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


def parameters(
    tune: bool,
    ratings: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    *,
    bucket: str = BUCKET,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Path | None, dict[str, Any]]:
    """Put the options together and refuse what is wrong before anything is started.

    Returns
    -------
    tuple of Path or None and dict
        The local file of ratings, if there is one to be uploaded, and the run's parameters.
    """
    conf: dict[str, Any] = dict(defaults or {})
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
            ratings = f"s3://{bucket}/ratings/{file.name}"
        conf["ratings"] = ratings
    Settings.from_parameters(conf)
    return file, conf


def _run(
    stack: Stack, file: Path | None, conf: dict[str, Any], ours: bool, screen: Console
) -> bool:
    client = stack.client("s3")
    put_ratings(stack.home.path, client, file, conf.get("ratings", MOVIELENS_URI), screen)
    with stack.airflow.api() as api:
        place = Place(
            api=api,
            address=stack.airflow.address,
            s3=client,
            sagemaker=stack.client("sagemaker"),
            logs=str(stack.airflow.folder / "logs"),
            reports=stack.home.path / "reports",
        )
        run_id = begin(place, conf, screen)
        say_login(stack, screen)
        ended_well = follow(place, run_id, conf, screen, is_given_up=ours)
    say(screen, f"{'server logs':<12} {stack.home.path / 'logs'}")
    return ended_well


def put_ratings(
    home: Path,
    client: Any,
    file: Path | None,
    uri: str,
    screen: Console,
    *,
    movielens: str = MOVIELENS_URI,
) -> None:
    """Upload a run's ratings: the user's file, or MovieLens-100K if it is meant and not there."""
    if file is not None:
        say(screen, f"uploading {file} as {uri}")
        Objects(client).upload(file, uri)
    elif uri == movielens and not _exists(client, uri):
        put_movielens(home / "cache", client, screen, uri)


def _exists(client: Any, uri: str) -> bool:
    return uri in Objects(client).list(uri.rpartition("/")[0])
