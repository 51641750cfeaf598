"""A Ray cluster of two nodes on this machine, in an environment of its own, and a server on it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ObjectStore
from tests.sagemaker.jobs.conftest import Jobs, Server

FOLDER_VARIABLE = "MATINEE_CLUSTER"
# 127.0.0.1 Ray would take for another address of this machine.
HEAD, NODES = "127.0.0.2", ("127.0.0.3", "127.0.0.4")
# Longer than the room of an ended job takes to be free.
WAIT_S = 20
ROOT = Path(__file__).parents[4]
UV = ROOT / ".uv/bin/uv"


def _python_with_ray() -> Path:
    """Return the Python of an environment with the extra ``ray`` as it is locked."""
    given = os.environ.get(FOLDER_VARIABLE)
    if not given:
        pytest.skip(
            f"{FOLDER_VARIABLE} names no folder for environments; the Makefile's targets do"
        )
    if not UV.exists():
        pytest.skip(f"{UV} is not there to make an environment; `make setup` installs it")
    folder = Path(given).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    locked, python = folder / "locked.txt", folder / "ray/bin/python"
    _run(UV, "export", "--frozen", "--no-dev", "--extra=ray", "--no-emit-project", "-o", locked)
    if not python.exists():
        _run(UV, "venv", "--python", sys.executable, folder / "ray")
    _run(UV, "pip", "sync", "--python", python, "--require-hashes", locked)
    _run(UV, "pip", "install", "--python", python, "--no-deps", "--editable", ROOT)
    return python


def _run(*words: str | Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Nodes:
    """The cluster.

    Attributes
    ----------
    python
        An interpreter that has Ray and matinee.
    address
        Of the head.
    token
        The file with the cluster's token.
    environment
        For processes of that interpreter; without the token.
    """

    python: Path
    address: str
    token: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[str]

    def end(self, address: str) -> None:
        """End a node as a loss of power would."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{address}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"ended {address}\n"


@contextlib.contextmanager
def running(
    python: Path, environment: Mapping[str, str], *addresses: str
) -> Iterator[subprocess.Popen[str]]:
    """Run ``nodes.py``, without waiting until the nodes are there."""
    with subprocess.Popen(  # noqa: S603 - our own words
        [str(python), str(Path(__file__).with_name("nodes.py")), *addresses],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    """Return the address of a cluster's head, when all of its nodes are there."""
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("127.")
    return address


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    python = _python_with_ray()
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    environment = {**kept, "RAY_USAGE_STATS_ENABLED": "0"}
    signed = {**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with running(python, signed, HEAD, *NODES) as process:
        yield Nodes(python, address_of(process), token, environment, process)


@pytest.fixture
def cluster_jobs(nodes: Nodes, object_store: ObjectStore, tmp_path: Path) -> Iterator[Jobs]:
    """A caller of a server whose jobs run on the cluster."""
    server = Server(
        tmp_path,
        object_store,
        object_store.endpoint,
        python=nodes.python,
        environment=nodes.environment,
    )
    settings = {"ray": nodes.address, "token_file": str(nodes.token), "wait_seconds": WAIT_S}
    (server.state / "cluster.json").write_text(json.dumps(settings))
    caller = Jobs(server, object_store, "matinee")
    try:
        server.start()
        caller.prefix = caller.new_name("caller")
        yield caller
    finally:
        caller.close()
        server.close()
