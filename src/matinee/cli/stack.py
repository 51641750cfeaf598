"""`matinee up`, `down`, `status`, `logs` and `env`: the local stack in a user's hands."""

from __future__ import annotations

import os
import random
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from matinee.cli.board import Board, Mark
from matinee.cli.screen import console, say
from matinee.stack.airflow_api import USER
from matinee.stack.home import Home
from matinee.stack.service import Service
from matinee.stack.stack import Event, Phase, Stack

SERVICES = ("seaweedfs", "sagemaker", "airflow")
FOLLOW_POLL_S = 0.3

MARKS = {
    Phase.UP_ALREADY: Mark.DONE,
    Phase.STARTING: Mark.BUSY,
    Phase.WAITING: Mark.BUSY,
    Phase.READY: Mark.DONE,
    Phase.STOPPING: Mark.BUSY,
    Phase.STOPPED: Mark.DONE,
}


def open_stack(home: Path) -> Stack:
    """Open the stack of a home, which is made if it is not there."""
    return Stack(Home.open(home, random.SystemRandom()), os.environ)


def existing_stack(home: Path) -> Stack:
    """Open the stack of a home that is there, or say that none is."""
    if not Home.exists(home):
        raise click.ClickException(f"there is no stack in {home}: `matinee up` makes one")
    return open_stack(home)


@contextmanager
def observer(screen: Console) -> Iterator[Callable[[Event], None]]:
    """Give what shows a stack's events on a board."""
    with Board(screen) as board:

        def show(event: Event) -> None:
            text = f"{event.phase} {event.detail}".strip()
            board.show(event.service, MARKS[event.phase], text, event.seconds or None)

        yield show


def say_waiting(screen: Console) -> Callable[[str], None]:
    """Give what tells the user that another command is at work on the same stack."""
    return lambda pid: say(
        screen, f"process {pid} is starting or stopping this stack: waiting for it"
    )


def start(stack: Stack, screen: Console, services: Sequence[Service] | None = None) -> list[str]:
    """Start a stack, or some of it, with progress; return the services that were started."""
    with observer(screen) as show:
        return stack.up(show, say_waiting(screen), services)


def stop(stack: Stack, screen: Console) -> None:
    """Stop a stack with progress on the screen."""
    with observer(screen) as show:
        stack.down(show, say_waiting(screen))


@click.command()
@click.pass_obj
def up(home: Path) -> None:
    """Start SeaweedFS, the local SageMaker and Airflow, whichever is not running."""
    screen = console()
    stack = open_stack(home)
    began = time.monotonic()
    started = start(stack, screen)
    state = f"is up after {time.monotonic() - began:.1f} s" if started else "was up already"
    say(screen, f"The stack {state}.")
    say_login(stack, screen)
    say(screen, f"For the AWS clients of this shell: eval $(matinee{_option(home)} env)")


@click.command()
@click.pass_obj
def down(home: Path) -> None:
    """Stop the stack and every job in it. Its data stay."""
    screen = console()
    stop(existing_stack(home), screen)
    say(screen, "The stack is down.")


@click.command()
@click.pass_obj
def status(home: Path) -> None:
    """Show each service. The exit code is 0 only if all of them run."""
    table = Table("service", "state", "address", "pid", "memory", "uptime")
    stack = existing_stack(home)
    found = stack.status()
    for service in found:
        table.add_row(
            service.service,
            service.state,
            service.address,
            str(service.pid or ""),
            f"{service.memory / 2**20:.0f} MiB" if service.pid else "",
            _duration(service.uptime_s) if service.pid else "",
        )
    screen = console()
    screen.print(table)
    total = sum(service.memory for service in found)
    say(screen, f"{total / 2**20:.0f} MiB in all (proportional share, PSS)")
    if any(service.state == "running" for service in found):
        say_login(stack, screen)
    if any(service.state != "running" for service in found):
        sys.exit(1)


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.pass_obj
def logs(home: Path, service: str, lines: int, follow: bool) -> None:
    """Show the log of a service."""
    log = existing_stack(home).home.log(service)
    if not log.exists():
        raise click.ClickException(f"{service} has written no log yet ({log})")
    with log.open(errors="replace") as file:
        for line in deque(file, maxlen=lines):
            click.echo(line, nl=False)
        while follow:
            if line := file.readline():
                click.echo(line, nl=False)
            elif log.stat().st_ino != os.fstat(file.fileno()).st_ino:
                raise click.ClickException(f"{log} was put aside: the service was started anew")
            else:
                time.sleep(FOLLOW_POLL_S)


@click.command()
@click.pass_obj
def env(home: Path) -> None:
    """Print the variables by which AWS clients find the stack, as lines for a shell."""
    for name, value in existing_stack(home).client_environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")


def say_login(stack: Stack, screen: Console) -> None:
    """Say where the pages of the console and of Airflow are, and how to get in."""
    say(screen, f"Console: {stack.console_address}")
    airflow = stack.airflow
    say(screen, f"Airflow: {airflow.address}  user {USER}  password {airflow.password}")


def _option(home: Path) -> str:
    default = Path("~/.matinee").expanduser().resolve()
    return "" if home == default else f" --home {shlex.quote(str(home))}"


def _duration(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
