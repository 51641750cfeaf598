"""`matinee cloud`: a stack on AWS, made, looked at, used and removed.

Each command may be broken off and repeated. Nothing but the named stack, and what its runs made, is
touched.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import click

from matinee.cli import cloud_screen
from matinee.cli.screen import console, say
from matinee.cloud import billing
from matinee.cloud.account import Account
from matinee.cloud.bundle import Bundle
from matinee.cloud.deploy import Deployment, stored_digest
from matinee.cloud.plan import kept_values, plan
from matinee.cloud.stack import Described, Stack
from matinee.cloud.template import CODE_VERSION, Kind, Template

_NAME = re.compile(r"[a-zA-Z](-?[a-zA-Z0-9]){0,39}")


@click.group()
def cloud() -> None:
    """A stack on AWS: the same workflow with Amazon's SageMaker."""


def _checked(_: click.Context, __: click.Parameter, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise click.BadParameter("at most 40 letters, digits and single hyphens, a letter first")
    return name


def _of_a_stack(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command needs: which stack, and where."""
    command = click.option(
        "--region", metavar="NAME", help="AWS's region.  [default: as the AWS clients have it]"
    )(command)
    return click.option(
        "--stack", "name", metavar="NAME", default="matinee", show_default=True, callback=_checked,
        help="The stack's name.",
    )(command)  # fmt: skip


def _stack(name: str, region: str | None) -> Stack:
    session = boto3.Session(region_name=region)
    if session.region_name is None:
        raise click.ClickException("no region: give --region, or set AWS_DEFAULT_REGION")
    return Stack(Account(session), name)


@contextmanager
def _going_on(line: str) -> Iterator[None]:
    """Say, when the user breaks off, what goes on."""
    try:
        yield
    except KeyboardInterrupt:
        say(console(), f"\n{line}")
        raise click.exceptions.Exit(130) from None


@cloud.command()
@_of_a_stack
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="Airflow on an instance, or by MWAA.  [default: the stack's, else ec2]",
)
@click.option(
    "--parameter",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="A parameter of the template; those not named stay as they are. May be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what is billed.")
@click.option(
    "--prices",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Your price list, for --dry-run: JSON, as docs/aws.md has it.",
)
def deploy(
    name: str,
    region: str | None,
    kind: str | None,
    assignments: tuple[str, ...],
    dry_run: bool,
    prices: Path | None,
) -> None:
    """Create a stack with this matinee, or bring one up to it.

    Ends when Airflow is healthy and has read the DAG, or with the reason why not.
    """
    if prices is not None and not dry_run:
        raise click.UsageError("--prices is for --dry-run")
    chosen = _parameters(assignments)
    stack = _stack(name, region)
    described = stack.describe()
    chosen_kind = Kind(kind or (described.kind if described else None) or Kind.EC2)
    template = Template.of(chosen_kind)
    template.check(chosen)
    version = kept_values(template, chosen, described).get("AirflowVersion", "")
    screen = console()
    say(screen, f"building the code of this matinee for {chosen_kind}")
    bundle = Bundle.build(chosen_kind, version)
    if dry_run:
        _say_plan(stack, described, template, chosen, bundle, prices)
        return
    again = f"matinee cloud deploy --stack {name}"
    with _going_on(
        f"No longer watching: what CloudFormation has begun goes on. `{again}` goes on from there,"
        f" `matinee cloud status --stack {name}` tells how it stands."
    ):
        deployed = Deployment(
            stack,
            template,
            bundle,
            chosen,
            cloud_screen.Screen(screen),
            token=secrets.token_hex(4),
        ).deploy()
    say(screen, f"stack {name} is {deployed.stack.status}")
    cloud_screen.show_outputs(deployed.stack.outputs, screen)
    for line in _next(name, deployed.stack):
        say(screen, line)


def _parameters(assignments: tuple[str, ...]) -> dict[str, str]:
    chosen = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--parameter {assignment}: it must look like NAME=VALUE")
        chosen[name] = value
    return chosen


def _say_plan(
    stack: Stack,
    described: Described | None,
    template: Template,
    chosen: dict[str, str],
    bundle: Bundle,
    prices: Path | None,
) -> None:
    screen = console()
    state = described.status if described else "not there"
    say(screen, f"stack {stack.name} in {stack.account.region} is {state}")
    bucket = described.outputs.get("Bucket") if described else None
    there = {}
    if bucket is not None:
        folder = f"code/{bundle.version}"
        there = {
            name: stored_digest(stack.account, bucket, f"{folder}/{name}") is not None
            for name in bundle.files
        }
    cloud_screen.show_bundle(bundle, there, screen)
    after = {**chosen, CODE_VERSION: bundle.version}
    cloud_screen.show_plan(plan(template, after, stack, described), screen)
    cloud_screen.show_bill(
        billing.bill(template, kept_values(template, after, described)),
        billing.read_prices(prices) if prices else None,
        screen,
    )
    say(screen, "nothing was changed: this was a dry run")


def _next(name: str, stack: Described) -> list[str]:
    outputs = stack.outputs
    lines = []
    if "PortForwarding" in outputs and "localhost" in outputs.get("AirflowAddress", ""):
        lines.append("Airflow's pages come to http://localhost:8080 by the command PortForwarding.")
    if secret := outputs.get("AdminSecretArn"):
        lines.append(
            "The password of admin: aws secretsmanager get-secret-value --output text"
            f" --query SecretString --secret-id {secret}"
        )
    return [*lines, f"A run: matinee cloud run --stack {name}"]
