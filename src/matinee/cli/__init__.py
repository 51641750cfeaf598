"""The front door: the local stack, its data and runs, the state machine, and stacks on AWS.

Each module holds the commands of one noun. What a user can mend ends as one line on the error
stream and exit code 1, never as a traceback.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click
import httpx
from botocore.exceptions import BotoCoreError, ClientError

from matinee.cli import data, recommend, rollback, run, stack
from matinee.datasets.movielens import DatasetError
from matinee.stack.airflow_api import AirflowError
from matinee.stack.errors import StackError
from matinee.stepfunctions.errors import InterpreterError
from matinee.workflow.errors import WorkflowError

KNOWN = (
    AirflowError,
    BotoCoreError,
    ClientError,
    DatasetError,
    InterpreterError,
    StackError,
    WorkflowError,
)


class _Front(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KNOWN as error:
            raise click.ClickException(str(error)) from error
        except httpx.TransportError as error:
            raise click.ClickException(
                f"{error.request.url} does not answer ({error}); `matinee status` shows what runs"
            ) from error


class _Later(click.Group):
    """A group whose module is imported when it is asked for: other commands start without it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._group().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._group().get_command(ctx, cmd_name)

    def _group(self) -> click.Group:
        group: click.Group = getattr(import_module(f"matinee.cli.{self.name}"), str(self.name))
        return group


@click.group(cls=_Front, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="MATINEE_HOME",
    default=Path("~/.matinee"),
    show_default=True,
    show_envvar=True,
    help="The folder of the local stack: its keys, ports, data and logs.",
)
@click.version_option(package_name="matinee")
@click.pass_context
def main(context: click.Context, home: Path) -> None:
    """Build a recommender end to end with SageMaker and Airflow, on this machine."""
    context.obj = home.expanduser().resolve()


main.add_command(stack.up)
main.add_command(stack.down)
main.add_command(stack.status)
main.add_command(stack.logs)
main.add_command(stack.env)
main.add_command(data.data)
main.add_command(run.run)
main.add_command(recommend.recommend)
main.add_command(rollback.rollback)
main.add_command(_Later("cloud", help="A stack on AWS: the same workflow with Amazon's SageMaker."))
main.add_command(_Later("stepfunctions", help="The workflow as a state machine."))
