"""`matinee data`: data sets into the stack's object store: public ones, and simulated ones."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from matinee.cli.screen import console, say
from matinee.cli.stack import existing_stack
from matinee.cli.stores import S3, LocalFiles, Store
from matinee.datasets import movielens
from matinee.datasets.simulated import LEAST_SCALE
from matinee.stack.stack import BUCKET, Stack
from matinee.workflow.objects import split_uri
from matinee.workflow.parameters import PARAMETERS

MOVIELENS_URI = str(PARAMETERS["ratings"].default)


@click.group()
def data() -> None:
    """Put a data set into the object store."""


@data.command("movielens-100k")
@click.pass_obj
def movielens_100k(home: Path) -> None:
    """100,000 real film ratings, as Amazon Customer Reviews TSV."""
    stack = _running(home)
    put_movielens(stack.home.path / "cache", stack.client("s3"), console())


def put_movielens(cache: Path, client: Any, screen: Console, uri: str = MOVIELENS_URI) -> None:
    """Fetch MovieLens-100K, from the cache if it is there, and put it into S3."""

    def report(line: str) -> None:
        say(screen, line)

    dataset = movielens.load(cache, report=report)
    bucket, key = split_uri(uri)
    reviews = dataset.reviews()
    client.put_object(Bucket=bucket, Key=key, Body=reviews, ContentType="application/gzip")
    report(movielens.NOTICE)
    count = len(dataset.ratings.splitlines())
    report(f"{uri}: {count:,} ratings, {len(reviews):,} bytes")


@data.command()
@click.argument("target", required=False)
@click.option(
    "--scale",
    type=click.FloatRange(min=LEAST_SCALE),
    default=1.0,
    show_default=True,
    help="1 for 4.07 million rows, the size of the published example's data.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--files",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many files; several lie in a folder.",
)
@click.pass_obj
def simulate(home: Path, target: str | None, scale: float, seed: int, files: int) -> None:
    """Simulated reviews of any scale, as Amazon Customer Reviews TSV.

    TARGET is a file ending in .tsv or .tsv.gz, or a folder for several files: a local path, or an
    s3:// URI of the stack's object store.  [default: s3://matinee/ratings/simulated-...]

    Beside it goes a JSON document that ends in .truth.json: malformed rows by cause, duplicates,
    what the workflow's filters leave, and the smallest error that a prediction can have. The same
    scale and seed give the same text.
    """
    # Here, because it takes as long to import as the rest of the program.
    from matinee.datasets.simulated.simulation import Simulation

    simulation = Simulation(scale, seed, os.cpu_count() or 1)
    ending = ".tsv.gz" if files == 1 else ""
    target = target or f"s3://{BUCKET}/ratings/{simulation.name}{ending}"
    if files == 1 and not target.endswith((".tsv", ".tsv.gz")):
        raise click.UsageError(f"{target}: the name of one file ends in .tsv or .tsv.gz")
    if target.startswith("s3://"):
        store: Store = S3(_running(home).client("s3"))
    else:
        store = LocalFiles()
    if files > 1 and store.any_below(target):
        raise click.ClickException(f"{target} is not empty: nothing may lie beside the new files")
    stem = target.rstrip("/").removesuffix(".gz").removesuffix(".tsv")
    parts = [f"{stem}/part-{number:05d}.tsv.gz" for number in range(files)]
    names = parts if files > 1 else [target]
    screen = console()
    sizes = {}
    with _progress(screen, "simulating reviews", simulation.rows) as advance:
        for number, name in enumerate(names):
            compressed = name.endswith(".gz")
            file = simulation.file(number, files, compressed=compressed, progress=advance)
            sizes[name] = store.write(file, name)
    with _progress(screen, "counting the truth", simulation.rows) as advance:
        truth = simulation.truth(advance)
    document = json.dumps({**truth, "files": sizes}, indent=2) + "\n"
    store.write(io.BytesIO(document.encode()), f"{stem}.truth.json")
    rows, malformed = truth["rows"], truth["malformed"]["total"]
    size = sum(sizes.values())
    say(
        screen,
        f"{target}: {rows:,} simulated rows, {malformed:,} of them malformed, {size:,} bytes",
    )
    _say_truth(truth, screen)
    say(screen, f"the truth of them: {stem}.truth.json")


def _say_truth(truth: dict[str, Any], screen: Console) -> None:
    kept = truth["funnel"][-1]
    ratings, customers, videos = (f"{kept[of]:,}" for of in ("ratings", "customers", "videos"))
    left = f"{ratings} ratings of {customers} customers and {videos} videos"
    say(screen, f"the workflow's filters leave {left}")
    if truth["attainable"] is not None:
        best, naive = truth["attainable"]["rmse"], truth["stars"]["variance"] ** 0.5
        say(screen, f"RMSE: {best:.4f} attainable, {naive:.4f} by their mean alone")


def _running(home: Path) -> Stack:
    """Return the stack of a home, if its object store answers."""
    stack = existing_stack(home)
    if stack.seaweedfs.waiting_for() is not None:
        raise click.ClickException("SeaweedFS is not running: `matinee up` starts it")
    return stack


@contextmanager
def _progress(screen: Console, what: str, rows: int) -> Iterator[Callable[[int], None]]:
    """Show a bar in a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=screen, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task(what, total=rows)
        yield lambda more: progress.advance(task, more)
