"""Where a job's process runs: on this machine, beside the server and not below it.

``start`` hands a command to a host process of its own session (``host.py``), which outlives this
server; ``status`` and ``stop`` find it again by the job's folder alone, from any later server. A
process is known by its pid and the time it was created. One that is gone without having left an
exit is lost, and its status says so. The module is one of the two that offer `interface.Compute`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import psutil

from matinee.sagemaker.machine import engines, host, hosts, isolation, process_tree
from matinee.sagemaker.machine.commands import NOTHING, Command

log = logging.getLogger(__name__)

# A lost process fails its attempt: of this machine no more is known than that it is gone.
LOSS_RETRIES = 0
_ERRORS = "host.err"

# This server's own children are waited for here, or they would stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ComputeError(Exception):
    """The host process could not be started."""


class Phase(Enum):
    """What has become of a job's process."""

    ABSENT = "never started"
    RUNNING = "running"
    EXITED = "exited"
    LOST = "gone without an exit code"


@dataclass(frozen=True, slots=True)
class Status:
    """A job's process.

    Attributes
    ----------
    phase
        Where it stands.
    code
        Of an exited one: the exit code, 128 + n after signal n.
    cause
        Of an exited one: ``exited`` by itself, ``stopped`` or ``timed out``.
    detail
        Of a lost one: what is known of its loss, if anything.
    """

    phase: Phase
    code: int | None = None
    cause: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the hosts of a job run.

    Attributes
    ----------
    addresses
        Of each host, by name.
    interfaces
        The network interface of each host's address, by name.
    port
        Where the hosts may meet, free at the first one; None: at any port, as no other job has
        their addresses.
    """

    addresses: Mapping[str, str]
    interfaces: Mapping[str, str]
    port: int | None = None

    def environment(self) -> dict[str, str]:
        """Return what the hosts' processes are told of it."""
        port = {} if self.port is None else {"MATINEE_PORT": str(self.port)}
        return {"MATINEE_HOSTS": json.dumps(dict(self.addresses)), **port}


def place(folder: Path, host_names: Sequence[str]) -> Placement:
    """Return where the hosts of a job's folder run: on this machine there is always room."""
    return Placement(hosts.addresses(folder.name, host_names), dict.fromkeys(host_names, "lo"))


def release(folder: Path) -> None:
    """Give up the places of the hosts of a job's folder; on this machine, nothing."""


@functools.cache
def can_isolate() -> bool:
    """Return whether a process of this machine can have its own ``/opt/ml``; found out once."""
    with tempfile.TemporaryDirectory(prefix="matinee-") as folder:
        for name in ("base", "scratch"):
            Path(folder, name).mkdir()
        program = (
            "import sys; from pathlib import Path\n"
            f"from {isolation.__package__} import isolation\n"
            "isolation.enter([(Path(sys.argv[1], 'base'), isolation.BASE)],"
            " scratch=Path(sys.argv[1], 'scratch'), has_network=False)"
        )
        tried = subprocess.run(  # noqa: S603 - our own interpreter and words
            [sys.executable, "-c", program, folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    if tried.returncode != 0:
        why = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        log.warning("processes get no /opt/ml of their own: %s", why)
    return tried.returncode == 0


def can_be_in_place(folder: Path) -> bool:
    """Return whether the process of a job's folder can have its own ``/opt/ml``."""
    # Its own would hide the folder.
    return can_isolate() and not folder.resolve().is_relative_to(isolation.BASE)


def start(
    folder: Path,
    command: Command | Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    limit_seconds: float | None,
    grace_seconds: float,
    addresses: Mapping[str, str] = NOTHING,
    has_network: bool = True,
    beside: Path | None = None,  # noqa: ARG001 - all of them are on this machine
    is_bound: bool = False,
) -> None:
    """Start a job's process, and return when ``status`` and ``stop`` can find it.

    Parameters
    ----------
    folder
        The folder of one of a job's hosts; made if it is not there. One process a folder, ever.
    command
        What to run; bare words are a program and its arguments, without limits.
    directory
        Where it starts: the folder that is ``/opt/ml`` to it.
    environment
        All of its environment but what the command brings.
    limit_seconds
        How long it may run; None for ever.
    grace_seconds
        From SIGTERM to SIGKILL.
    addresses
        IP addresses by the names it can resolve, such as those of the job's other hosts; of a
        program of this machine only one that is run in place.
    has_network
        Whether it can reach the network, this machine's own services included.
    beside
        The folder of the host on whose machine it has to run.
    is_bound
        Whether it ends at once when this process does, and when its folder is made another's.

    Raises
    ------
    ComputeError
        The host process did not start, the folder has had a process before, or this machine cannot
        run such a command.
    """
    if (folder / host.PROCESS).exists():
        raise ComputeError(f"{folder} has had a process before")
    if not isinstance(command, Command):
        command = Command(tuple(command))
    folder.mkdir(parents=True, exist_ok=True)
    launch = {
        **_run(folder, command, directory, environment, addresses, has_network=has_network),
        "directory": str(directory),
        "limit_seconds": limit_seconds,
        "grace_seconds": grace_seconds,
        "is_bound": is_bound,
    }
    host.write_whole(folder / host.LAUNCH, launch)
    with (folder / _ERRORS).open("ab") as errors:
        # Popen, not posix_spawn: the server's listening socket is inheritable, and a host that
        # held it would keep the next server from its port.
        child = subprocess.Popen(  # noqa: S603 - our own interpreter, module and folder
            [sys.executable, "-m", host.__name__, str(folder)],
            stdin=_lifeline() if is_bound else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    _reap()
    _children[child.pid] = child
    if child.stdout is not None:
        # The host closes its end once the process runs, or by ending.
        with child.stdout as report:
            report.read()
    if not (folder / host.PROCESS).exists():
        said = (folder / _ERRORS).read_text(errors="replace").strip()
        raise ComputeError(f"the host process of {folder} did not start: {said[-500:]}")


@functools.cache
def _lifeline() -> int:
    """Return the end of a pipe that ends when this process does: nobody else has its other end."""
    return os.pipe()[0]


def _run(
    folder: Path,
    command: Command,
    directory: Path,
    environment: Mapping[str, str],
    addresses: Mapping[str, str],
    *,
    has_network: bool,
) -> dict[str, Any]:
    """Return the part of what a host is told that depends on the kind of command."""
    if command.image:
        try:
            client = engines.client(
                folder,
                command,
                directory=directory,
                environment=environment,
                addresses=addresses,
                has_network=has_network,
            )
        except engines.NoEngineError as error:
            raise ComputeError(f"image {command.image!r} cannot be run: {error}") from error
        # The engine keeps the limits and gives the view.
        return {
            "command": client.words,
            "environment": client.environment,
            "limits": {},
            "mounts": [],
            "has_network": True,
            "when_killed": client.when_killed,
            "at_end": client.at_end,
        }
    if not has_network and not can_isolate():
        raise ComputeError("this machine cannot take a process's network away")
    environment = {**environment, **command.environment}
    if command.search_path:
        environment["PATH"] = f"{command.search_path}{os.pathsep}{environment.get('PATH', '')}"
    mounts = []
    if command.in_place and can_be_in_place(folder):
        mounts.append((directory, isolation.BASE))
        if addresses:
            mounts.append((_write_hosts(folder, addresses), isolation.HOSTS))
    return {
        "command": list(command.words),
        "environment": environment,
        "limits": command.limits.given(),
        "mounts": [[str(source), str(target)] for source, target in mounts],
        "has_network": has_network,
    }


def _write_hosts(folder: Path, addresses: Mapping[str, str]) -> Path:
    path = folder / "hosts"
    kept = isolation.HOSTS.read_text() if isolation.HOSTS.exists() else ""
    lines = [f"{address} {name}\n" for name, address in addresses.items()]
    path.write_text("".join([*lines, kept]))
    return path


def status(folder: Path) -> Status:
    """Return what has become of the process of a job's folder."""
    identity = host.read_whole(folder / host.PROCESS)
    if identity is None:
        return Status(Phase.ABSENT)
    alive = _is_alive(identity["host"])
    # In this order: a host leaves its exit and then ends.
    ended = host.read_whole(folder / host.EXIT)
    if ended is not None:
        return Status(Phase.EXITED, ended["code"], ended["cause"])
    return Status(Phase.RUNNING if alive else Phase.LOST)


def wait(folder: Path, seconds: float) -> Status:
    """Return the status when the process has ended, or else after a number of seconds."""
    identity = host.read_whole(folder / host.PROCESS)
    if identity is None:
        return Status(Phase.ABSENT)
    _wait_for(identity["host"], seconds)
    _reap()
    return status(folder)


def _reap() -> None:
    """Take leave of the children that have ended, also of those nobody waits for by name."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            # Another thread may have been here at the same time.
            _children.pop(pid, None)


def stop(folder: Path) -> None:
    """Ask the process of a job's folder to end; it has its grace to do so. Idempotent."""
    identity = host.read_whole(folder / host.PROCESS)
    if identity is None:
        return
    with contextlib.suppress(ProcessLookupError):
        if _is_alive(identity["host"]):
            os.kill(identity["host"]["pid"], signal.SIGTERM)
        elif "algorithm" in identity and not (folder / host.EXIT).exists():
            # Its host was killed, so nobody would end it after a grace; and a container may run on
            # without its client.
            if _is_alive(identity["algorithm"]):
                host.kill_group(identity["algorithm"]["pid"])
            host.clean_up(folder)


def _wait_for(process: Mapping[str, int], seconds: float) -> None:
    """Return when a process has ended, or else after a number of seconds."""
    try:
        descriptor = os.pidfd_open(process["pid"])
    except ProcessLookupError:
        return
    except OSError:
        # A sandbox may not know the call; then asking again and again has to do.
        if _is_alive(process):
            with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
                psutil.Process(process["pid"]).wait(seconds)
        return
    try:
        # With the descriptor open the number cannot become another process's.
        if _is_alive(process):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * seconds)
    finally:
        os.close(descriptor)


def _is_alive(process: Mapping[str, int]) -> bool:
    return process_tree.started_at(process["pid"]) == process["started_at"]
