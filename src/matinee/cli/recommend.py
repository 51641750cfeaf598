"""`matinee recommend`: what the model in service recommends to a customer, or to all of them.

What reads models is imported when it is used: it takes longer than the rest of the program.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.columns import Columns
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from matinee.cli.screen import console, headed, printable, say
from matinee.cli.stack import existing_stack
from matinee.stack.stack import Stack
from matinee.workflow import runs
from matinee.workflow.objects import Objects
from matinee.workflow.parameters import PARAMETERS
from matinee.workflow.runs import Run
from matinee.workflow.settings import Settings

if TYPE_CHECKING:
    from matinee.workflow.recommender import Reason, Recommendations, Recommender

COUNT = int(PARAMETERS["recommendations"].default)


@click.command()
@click.argument("customer", required=False)
@click.option(
    "--top",
    "count",
    type=click.IntRange(min=1),
    metavar="N",
    default=COUNT,
    show_default=True,
    help="How many videos at most.",
)
@click.option(
    "--run",
    "name",
    metavar="NAME|URI",
    help="A run's name or its folder.  [default: the run in service, else the latest]",
)
@click.option(
    "--endpoint",
    is_flag=False,
    flag_value=runs.ENDPOINT,
    metavar="[NAME]",
    help=f"Let a running endpoint score, by default {runs.ENDPOINT!r}, instead of loading its"
    " model: the same ranking, without reasons.",
)
@click.option("--all", "everybody", is_flag=True, help="Write those of all customers to S3.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.pass_obj
def recommend(
    home: Path,
    customer: str | None,
    count: int,
    name: str | None,
    endpoint: str | None,
    everybody: bool,
    as_json: bool,
) -> None:
    """Recommend videos to CUSTOMER that they have not rated, and say why.

    A customer that the model does not know gets the most popular videos, and is told so.
    """
    if (customer is None) != everybody:
        raise click.UsageError("name a customer, or --all of them")
    if endpoint is not None and (everybody or name is not None):
        raise click.UsageError("--endpoint serves one customer at a time, of its own run")
    stack = _running(home)
    objects = Objects(stack.client("s3"))
    run = _run(stack, objects, name, endpoint)
    if customer is None:
        _recommend_all(objects, run, count, as_json=as_json)
        return
    with tempfile.TemporaryDirectory(prefix="matinee-recommend-") as scratch:
        recommender = _recommender(stack, objects, run, endpoint, Path(scratch))
        found = recommender.recommend(customer, count)
    if as_json:
        click.echo(json.dumps({"run": run.name, "endpoint": endpoint, **found}, indent=2))
        return
    screen = console()
    say(screen, f"run {run.name}, {run.found}" + (f"; {endpoint} scored" if endpoint else ""))
    say(screen, printable(found["note"]))
    if screen.is_terminal:
        _show(found, screen)
    else:
        _print(found, screen)


def _running(home: Path) -> Stack:
    stack = existing_stack(home)
    for title, service in (("SeaweedFS", stack.seaweedfs), ("SageMaker", stack.sagemaker)):
        if service.waiting_for() is not None:
            raise click.ClickException(f"{title} is not running: `matinee up` starts it")
    return stack


def _run(stack: Stack, objects: Objects, name: str | None, endpoint: str | None) -> Run:
    if name is not None:
        return runs.by_name(objects, name)
    served = runs.in_service(objects, stack.client("sagemaker"), endpoint or runs.ENDPOINT)
    if served is None and endpoint is not None:
        raise click.ClickException(f"no endpoint {endpoint} is in service")
    return served or runs.latest(objects)


def _recommender(
    stack: Stack, objects: Objects, run: Run, endpoint: str | None, folder: Path
) -> Recommender:
    from matinee.workflow.catalogue import Catalogue
    from matinee.workflow.endpoint_scores import EndpointScores
    from matinee.workflow.recommender import Recommender

    if endpoint is None:
        return Recommender.load(objects, run.preprocessed, run.model, folder)
    catalogue = Catalogue.read(objects, run.preprocessed, folder)
    scores = EndpointScores(endpoint, stack.client("sagemaker-runtime"))
    return Recommender(catalogue, scores, None)


def _recommend_all(objects: Objects, run: Run, count: int, *, as_json: bool) -> None:
    from matinee.workflow.recommend import recommend_all

    screen = console()
    with _progress(screen, shown=not as_json) as progress:
        done = recommend_all(
            Settings.from_parameters(run.summary["settings"]),
            {"preprocessed": run.preprocessed, "trained": {"model": run.model}},
            count=count,
            objects=objects,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    say(screen, f"run {run.name}, {run.found}")
    say(
        screen,
        f"{done['rows']:,} recommendations for {done['customers']:,} customers, of whom"
        f" {done['by_popularity']:,} are unknown to the model and got the most popular videos",
    )
    say(screen, done["recommendations"])


@contextmanager
def _progress(screen: Console, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar in a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=screen,
        disable=not (shown and screen.is_terminal),
    ) as bar:
        task = bar.add_task("recommending", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(found: Recommendations, screen: Console) -> None:
    """Show two tables, side by side where there is room."""
    own = headed(f"Best of {found['rated']:,} rated", ">stars", "title")
    for rated in found["best_rated"]:
        own.add_row(f"{rated['stars']:g}", Text(printable(rated["title"])))
    by_model = found["source"] == "model"
    best = headed(
        "Recommended" if by_model else "Most popular",
        ">",
        ">predicted" if by_model else ">mean stars",
        "title",
        "because of" if by_model else ">training ratings",
    )
    for item in found["items"]:
        last = _because(item["reasons"]) if by_model else f"{item['ratings']:,}"
        best.add_row(
            str(item["rank"]), f"{item['stars']:.2f}", Text(printable(item["title"])), Text(last)
        )
    screen.print(Columns([own, best] if found["best_rated"] else [best]))


def _print(found: Recommendations, screen: Console) -> None:
    """Print a line for each video, for programs and people alike."""
    for rated in found["best_rated"]:
        say(screen, f"rated  {rated['stars']:4g}  {printable(rated['title'])}")
    for item in found["items"]:
        because = _because(item["reasons"])
        line = f"{item['rank']:5}  {item['stars']:4.2f}  {printable(item['title'])}"
        say(screen, f"{line}  (because of {because})" if because else line)


def _because(reasons: Sequence[Reason]) -> str:
    return "; ".join(f"{printable(reason['title'])} ({reason['stars']:g})" for reason in reasons)
