"""`matinee rollback`: the endpoint goes back to the model that was approved before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from matinee.cli.screen import console, say
from matinee.cli.stack import existing_stack
from matinee.workflow.parameters import PARAMETERS
from matinee.workflow.rollback import rollback as go_back

CHECK_S = 0.5


@click.command()
@click.option(
    "--endpoint",
    metavar="NAME",
    default=PARAMETERS["endpoint"].default,
    show_default=True,
    help="The endpoint that goes back.",
)
@click.pass_obj
def rollback(home: Path, endpoint: str) -> None:
    """Put the model into service again that was approved before the present one.

    No request is dropped. What it leaves is rejected in the model registry, so that rolling back
    once more goes further back.
    """
    client = existing_stack(home).client("sagemaker")
    done = go_back(endpoint, client, check_s=CHECK_S)
    screen = console()
    say(screen, f"Endpoint {endpoint} went back")
    say(screen, f"  from {_told(client, done['left'])}")
    say(screen, f"  to   {_told(client, done['serves'])}")


def _told(client: Any, model_package: str) -> str:
    package = client.describe_model_package(ModelPackageName=model_package)
    name = f"{package['ModelPackageGroupName']}/{package['ModelPackageVersion']}"
    return f"{name}, {package.get('ModelPackageDescription', 'not described')}"
