"""`matinee data`: public data sets into the stack's object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from matinee.cli.screen import console, say
from matinee.cli.stack import existing_stack
from matinee.datasets import movielens
from matinee.stack.stack import Stack
from matinee.workflow.objects import split_uri
from matinee.workflow.parameters import PARAMETERS

MOVIELENS_URI = str(PARAMETERS["ratings"].default)


@click.group()
def data() -> None:
    """Put a public data set into the object store."""


@data.command("movielens-100k")
@click.pass_obj
def movielens_100k(home: Path) -> None:
    """100,000 real film ratings, as Amazon Customer Reviews TSV."""
    stack = existing_stack(home)
    if stack.seaweedfs.waiting_for() is not None:
        raise click.ClickException("SeaweedFS is not running: `matinee up` starts it")
    put_movielens(stack, stack.client("s3"), console())


def put_movielens(stack: Stack, client: Any, screen: Console) -> None:
    """Fetch MovieLens-100K, from the cache if it is there, and put it into S3."""

    def report(line: str) -> None:
        say(screen, line)

    dataset = movielens.load(stack.home.path / "cache", report=report)
    bucket, key = split_uri(MOVIELENS_URI)
    reviews = dataset.reviews()
    client.put_object(Bucket=bucket, Key=key, Body=reviews, ContentType="application/gzip")
    report(movielens.NOTICE)
    count = len(dataset.ratings.splitlines())
    report(f"{MOVIELENS_URI}: {count:,} ratings, {len(reviews):,} bytes")
