"""`matinee cloud`: a stack on AWS, made, looked at, used and removed.

Each command may be broken off and repeated. Nothing but the named stack, and what its runs made, is
touched.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
import httpx

from matinee.cli import cloud_screen
from matinee.cli.data import MOVIELENS_URI
from matinee.cli.follow import Place, begin, follow
from matinee.cli.run import parameter_options, parameters, put_ratings
from matinee.cli.screen import console, say
from matinee.cloud import billing, health
from matinee.cloud.account import Account
from matinee.cloud.bundle import Bundle
from matinee.cloud.deploy import Deployment, stored_digest
from matinee.cloud.destroy import Destruction
from matinee.cloud.plan import kept_values, plan
from matinee.cloud.stack import Described, Stack
from matinee.cloud.template import CODE_VERSION, Kind, Template
from matinee.stack.airflow_api import AirflowAPI

_NAME = re.compile(r"[a-zA-Z](-?[a-zA-Z0-9]){0,39}")


@click.group()
def cloud() -> None:
    """Hold the commands; the front door has its own words for them."""


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


@cloud.command()
@_of_a_stack
def status(name: str, region: str | None) -> None:
    """Show the state of a stack, its outputs, and what runs. The exit code is 0 if all is well."""
    screen = console()
    stack = _stack(name, region)
    described = stack.describe()
    if described is None:
        raise click.ClickException(
            f"there is no stack {name} in {stack.account.region}: `matinee cloud deploy` makes one"
        )
    found = health.look(stack, described)
    cloud_screen.show_health(found, screen)
    cloud_screen.show_outputs(described.outputs, screen)
    if not found.is_well:
        raise click.exceptions.Exit(1)


@cloud.command()
@_of_a_stack
@parameter_options
@click.option(
    "--airflow",
    "address",
    metavar="URL",
    help="Where Airflow's pages are, if not at the stack's output AirflowAddress.",
)
@click.pass_obj
def run(
    home: Path,
    name: str,
    region: str | None,
    tune: bool,
    ratings: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    address: str | None,
) -> None:
    """Run the workflow on a stack's Airflow and show what came of it, as `matinee run` does.

    Ratings, output and role are the stack's. The exit code is 0 only if every task succeeded, or
    was left out by a branch.
    """
    stack = _stack(name, region)
    described = stack.describe()
    if described is None or "AdminSecretArn" not in described.outputs:
        raise click.ClickException(_no_airflow(name, described))
    outputs, screen = described.outputs, console()
    address = (address or outputs["AirflowAddress"]).rstrip("/")
    _require_privacy(address)
    defaults = run_defaults(described)
    file, conf = parameters(
        tune, ratings, preset, assignments,
        bucket=outputs["Bucket"], defaults=defaults,
    )  # fmt: skip
    account = stack.account
    secret = account.client("secretsmanager").get_secret_value(SecretId=outputs["AdminSecretArn"])
    with AirflowAPI(address, secret["SecretString"]) as api:
        try:
            api.health()
        except httpx.TransportError as error:
            hint = outputs.get("PortForwarding", "")
            raise click.ClickException(
                f"{address} does not answer ({error}). In another terminal: {hint}"
            ) from error
        put_ratings(
            home, account.client("s3"), file, conf["ratings"], screen,
            movielens=defaults["ratings"],
        )  # fmt: skip
        place = Place(
            api=api,
            address=address,
            s3=account.client("s3"),
            sagemaker=account.client("sagemaker"),
            logs=f"log group /matinee/{name}: ",
            reports=home / "reports",
        )
        run_id = begin(place, conf, screen)
        try:
            ended_well = follow(place, run_id, conf, screen, is_given_up=False)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
    if not ended_well:
        raise click.exceptions.Exit(1)


def run_defaults(stack: Described) -> dict[str, Any]:
    """Return the parameters of a run that only the stack knows."""
    bucket = stack.outputs["Bucket"]
    name = stack.parameters.get("Recommender", "recommender")
    return {
        "ratings": MOVIELENS_URI.replace("s3://matinee/", f"s3://{bucket}/", 1),
        "output": f"s3://{bucket}/runs",
        "role": stack.outputs["SageMakerRoleArn"],
        "endpoint": name,
        "model_package_group": name,
    }


def _no_airflow(name: str, stack: Described | None) -> str:
    if stack is None:
        return f"there is no stack {name}: `matinee cloud deploy` makes one"
    if stack.kind is Kind.MWAA:
        return (
            f"stack {name} is of kind mwaa: this command does not speak to MWAA's Airflow. Start"
            f" the DAG in its pages ({stack.outputs.get('AirflowAddress', 'not made yet')}) with"
            f" the parameters {json.dumps(run_defaults(stack))}"
        )
    return f"stack {name} is {stack.status} and has no Airflow: `matinee cloud deploy` goes on"


def _require_privacy(address: str) -> None:
    """Refuse to send the password unencrypted, but to this machine."""
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise click.ClickException(
            f"{address}: Airflow's password goes by https, or to this machine alone"
        )


@cloud.command()
@_of_a_stack
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def destroy(name: str, region: str | None, yes: bool, dry_run: bool) -> None:
    """Remove a stack, its data, and what its runs made, and look whether anything is left.

    The exit code is 0 only if nothing is.
    """
    screen = console()
    stack = _stack(name, region)
    destruction = Destruction(stack, cloud_screen.Screen(screen))
    remains = destruction.remains()
    if remains.is_empty:
        say(screen, f"there is no stack {name} in {stack.account.region}: looking for leftovers")
    else:
        cloud_screen.show_remains(name, remains, screen)
    if dry_run:
        say(screen, "nothing was changed: this was a dry run")
        return
    if not (yes or remains.is_empty):
        click.confirm("Remove all of this, for good?", abort=True)
    with _going_on(
        "Broken off: what CloudFormation has begun goes on. The same command goes on from there."
    ):
        checks = destruction.destroy()
    for check in checks:
        cloud_screen.show_check(check, screen)
    if any(check.left for check in checks):
        raise click.ClickException(
            "something is left: look at it, and repeat the command; AWS may list for a while what"
            " has gone"
        )
