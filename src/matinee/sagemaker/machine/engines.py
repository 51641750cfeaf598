"""Containers on this machine: a command that runs an image, through docker or podman.

The engine's client is the job's process: it stays in the foreground, its output is the container's,
and a signal to it is one to the container. Training and processing containers share the machine's
network, so that they reach S3 on it and each other; a serving container has a network of its own
and its port 8080 published on the loopback address alone.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matinee.sagemaker.machine.commands import BASE_DIRECTORY, DATA_CACHE, INHERITED, Command
from matinee.sagemaker.machine.isolation import BASE

_ENVIRONMENT_FILE = "container.env"
_ENGINES = ("docker", "podman")
_ANSWER_SECONDS = 20.0
# SageMaker Developer Guide: containers answer inference requests on this port.
_SERVE_PORT = 8080
# Where the client finds its engine.
_CLIENT = (
    *("CONTAINER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST"),
    *("HOME", "PATH", "XDG_RUNTIME_DIR"),
)
_ULIMITS = {"cpu_seconds": "cpu", "open_files": "nofile", "file_size_mb": "fsize"}


class NoEngineError(Exception):
    """There is no container engine on this machine, or it does not answer."""


@dataclass(frozen=True, slots=True)
class Client:
    """How the engine's client is started for a container.

    Attributes
    ----------
    words
        Program and arguments.
    environment
        The client's own environment; the container's is in a file.
    when_killed
        What to say when the container was killed and nobody here did it. An engine tells no more
        that could be relied on.
    at_end
        What is run when the client has ended, so that nothing of the container is left.
    """

    words: list[str]
    environment: dict[str, str]
    when_killed: str
    at_end: list[str]


@functools.cache
def find() -> str:
    """Return the path of an engine's client whose engine answers; one that was found stays so.

    Raises
    ------
    NoEngineError
    """
    clients = [path for name in _ENGINES if (path := shutil.which(name))]
    if not clients:
        raise NoEngineError("neither docker nor podman is installed on this machine")
    said = ""
    for path in clients:
        try:
            answer = subprocess.run(  # noqa: S603 - a fixed program's own question
                [path, "info"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_ANSWER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if answer.returncode == 0:
            return path
        said = (answer.stderr.strip() or answer.stdout.strip())[-300:]
    raise NoEngineError(
        f"{Path(clients[-1]).name} is installed, but its engine does not answer: {said}"
    )


def client(
    folder: Path,
    command: Command,
    *,
    directory: Path,
    environment: Mapping[str, str],
    addresses: Mapping[str, str],
    has_network: bool,
) -> Client:
    """Return how a command's container is run, and write its environment into the folder.

    Parameters
    ----------
    folder
        Of the job's host; its container is named by it.
    command
        With an image.
    directory
        The folder that is ``/opt/ml`` in the container.
    environment
        As for a program of this machine; what only such a program needs is left out.
    addresses
        Names the container can resolve.
    has_network
        Whether it has one.

    Raises
    ------
    NoEngineError
    """
    program = find()
    # What a program of this machine takes from it, a container has of its own.
    inside = {
        name: value
        for name, value in environment.items()
        if name != DATA_CACHE and (name not in INHERITED or value != os.environ.get(name))
    }
    inside[BASE_DIRECTORY] = str(BASE)
    name = f"matinee-{folder.parent.name}-{folder.name}"
    words = [program, "run", f"--name={name}", "--init", f"--volume={directory}:{BASE}"]
    if port := inside.get("SAGEMAKER_BIND_TO_PORT"):
        words.append(f"--publish=127.0.0.1:{port}:{_SERVE_PORT}")
        inside |= {"SAGEMAKER_BIND_TO_PORT": str(_SERVE_PORT), "MATINEE_BIND_HOST": "0.0.0.0"}  # noqa: S104 - inside the container
    else:
        words.append(f"--network={'host' if has_network else 'none'}")
    if Path(program).name == "docker" and os.getuid() != 0:
        # Else what the container writes could not be removed.
        words.append(f"--user={os.getuid()}:{os.getgid()}")
    words += [f"--add-host={host}:{address}" for host, address in addresses.items()]
    words += _limit_words(command)
    words += _environment_words(folder / _ENVIRONMENT_FILE, {**inside, **command.environment})
    entrypoint, *rest = command.entrypoint or ("",)
    if entrypoint:
        words.append(f"--entrypoint={entrypoint}")
    own = {name: os.environ[name] for name in _CLIENT if name in os.environ}
    memory = command.limits.memory_mb
    return Client(
        words=[*words, command.image, *rest, *command.words],
        environment=own,
        when_killed="the container was killed"
        + (f", most likely over the limit memory_mb {memory}" if memory else ""),
        at_end=[program, "rm", "--force", "--volumes", name],
    )


def _limit_words(command: Command) -> list[str]:
    given = command.limits.given()
    words = []
    if "memory_mb" in given:
        words.append(f"--memory={given['memory_mb']}m")
    if "processes" in given:
        words.append(f"--pids-limit={given['processes']}")
    for name, ulimit in _ULIMITS.items():
        if name in given:
            value = given[name] * (1024**2 if name == "file_size_mb" else 1)
            if name == "open_files":
                # An engine without root's rights cannot go over what this process may.
                value = min(value, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            words.append(f"--ulimit={ulimit}={value}:{value}")
    return words


def _environment_words(path: Path, environment: Mapping[str, str]) -> list[str]:
    # In a file: a command line can be read by every user of the machine. A file's line cannot hold
    # a line break, so such a value, which no credential is, goes by the command line.
    broken = {name for name, value in environment.items() if "\n" in value}
    lines = [f"{name}={value}\n" for name, value in environment.items() if name not in broken]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as target:
        target.writelines(lines)
    return [
        f"--env-file={path}",
        *(f"--env={name}={environment[name]}" for name in sorted(broken)),
    ]
