"""Start the local SageMaker: ``python -m matinee.sagemaker --state DIR --port PORT ...``.

One server per state folder, on a loopback address unless told otherwise, for the holder of one pair
of keys. SIGTERM and SIGINT end it with code 0; jobs that run go on and are found again by the next
server. Where ``cluster.json`` of the state folder names a Ray cluster, the hosts of training and
processing jobs run on its nodes (docs/cluster.md). What cannot work (a credentials file others can
read, a folder in use, a bad port, an address without a name clients may use, a cluster that is open
to all) is refused by name.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import importlib.util
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from botocore.credentials import Credentials as BotoCredentials
from sqlalchemy import URL

from matinee.sagemaker import algorithms_file, private_files, server_log
from matinee.sagemaker.access.roles import Roles
from matinee.sagemaker.access.sessions import JobAccess, RoleSessions, ServerKeys, temporary_keys
from matinee.sagemaker.app import create_app
from matinee.sagemaker.cluster import cluster_file, connection
from matinee.sagemaker.cluster.cluster_file import ClusterError
from matinee.sagemaker.console import options as console_options
from matinee.sagemaker.console.options import ConsoleOptions, ConsoleOptionsError
from matinee.sagemaker.context import Context
from matinee.sagemaker.data.objects import Objects
from matinee.sagemaker.drivers import DRIVERS
from matinee.sagemaker.http.auth import SignatureVerifier
from matinee.sagemaker.http.connections import Connection
from matinee.sagemaker.http.loopback import is_host, is_loopback
from matinee.sagemaker.jobs import JobRunner
from matinee.sagemaker.machine import compute as this_machine
from matinee.sagemaker.machine.interface import PLACEMENT, Compute
from matinee.sagemaker.private_files import PrivateFileError
from matinee.sagemaker.store import Store, StoreError

ACCOUNT_ID = "000000000000"
DEFAULT_ROLE = "matinee-sagemaker"
# Longer than any answer takes; a client that never ends its request must not keep the server.
STOP_GRACE_S = 3
# AWS's clients poll every 5 seconds; uvicorn would close the connection at just that moment.
KEEP_ALIVE_S = 75


class StartError(Exception):
    """The server cannot start as it was told to."""


_CANNOT_START = (
    StartError,
    StoreError,
    ClusterError,
    PrivateFileError,
    algorithms_file.AlgorithmsFileError,
    ConsoleOptionsError,
)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The one pair of keys; it has no repr, so that it gets into no log."""

    access_key_id: str
    secret_access_key: str


def read_credentials(path: Path) -> Credentials:
    """Read the key file.

    Raises
    ------
    PrivateFileError
        The file is missing, others may read it, or it is not the JSON object it should be.
    """
    return Credentials(**private_files.read_strings(path, "credentials", Credentials.__slots__))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other servers out of a state folder.

    Raises
    ------
    StartError
        Another server holds it, or this one may not write there.
    """
    # The lock is the kernel's and ends with this process, however it ends; the pid is for people.
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"cannot write to the state folder: {error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            raise StartError(f"{folder} is in use by another server, process {holder}") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m matinee.sagemaker", description="The local SageMaker of matinee."
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="state folder")
    parser.add_argument("--port", type=_port, required=True, help="TCP port")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default %(default)s)"
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name clients may call this server by, besides loopback; may be repeated",
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        required=True,
        metavar="FILE",
        help='JSON of mode 600: {"access_key_id": .., "secret_access_key": ..}',
    )
    parser.add_argument(
        "--s3-endpoint-url", required=True, metavar="URL", help="the S3 of the jobs"
    )
    parser.add_argument(
        "--jobs-use-server-keys",
        action="store_true",
        help="let jobs use S3 with the server's own keys, whatever their role: for an S3 that does "
        "not answer sts:AssumeRole",
    )
    parser.add_argument("--region", default="us-east-1", help="AWS region (default %(default)s)")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning"),
        default="info",
        help="of the server's own log; debug has every invocation (default %(default)s)",
    )
    parser.add_argument(
        "--database", metavar="URL", help="SQLAlchemy URL (default: SQLite in the state folder)"
    )
    parser.add_argument(
        "--role",
        action="append",
        metavar="NAME",
        help=f"an IAM role that exists; may be repeated (default {DEFAULT_ROLE})",
    )
    console_options.add_to(parser)
    return parser.parse_args(words)


def _port(word: str) -> int:
    port = int(word)
    if not 1 <= port <= 65535:
        raise ValueError(word)
    return port


def _serve(arguments: argparse.Namespace) -> None:
    names = _names(arguments)
    credentials = read_credentials(arguments.credentials)
    console = console_options.read(arguments)
    state: Path = arguments.state.resolve()
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot make the state folder: {error}") from error
    with locked(state):
        _run(arguments, names, credentials, state, console)


def _names(arguments: argparse.Namespace) -> list[str]:
    """Return the names clients may use, besides those of loopback."""
    host: str = arguments.host
    names: list[str] = arguments.allowed_host
    for name in names:
        if not is_host(name):
            raise StartError(f"--allowed-host {name!r} is not a host name or an IP address")
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - it is refused without a name
        if not names:
            raise StartError(
                f"--host {host} listens on every address; name what clients call this server by "
                "with --allowed-host"
            )
        return names
    return names if is_loopback(host) else [*names, host]


def _run(
    arguments: argparse.Namespace,
    names: list[str],
    credentials: Credentials,
    state: Path,
    console: ConsoleOptions | None,
) -> None:
    store = Store(arguments.database or URL.create("sqlite", database=f"{state}/sagemaker.sqlite"))
    store.claim()
    try:
        objects = Objects(
            endpoint_url=arguments.s3_endpoint_url,
            credentials=BotoCredentials(credentials.access_key_id, credentials.secret_access_key),
            region=arguments.region,
        )
    except ValueError as error:
        raise StartError(f"--s3-endpoint-url {arguments.s3_endpoint_url}: {error}") from error
    compute = _compute(state)
    jobs = JobRunner(DRIVERS)
    roles = tuple(arguments.role or [DEFAULT_ROLE])
    access = _access(arguments, credentials, objects, Roles(store, ACCOUNT_ID, roles), store)
    context = Context(
        store=store,
        clock=_now,
        new_id=lambda: uuid.uuid4().hex,
        account_id=ACCOUNT_ID,
        region=arguments.region,
        folder=state,
        roles=roles,
        objects=objects,
        algorithms=algorithms_file.registry(state),
        jobs=jobs,
        compute=compute,
        access=access,
    )
    verifier = SignatureVerifier(
        credentials.access_key_id,
        credentials.secret_access_key,
        _now,
        functools.partial(temporary_keys, store),
    )
    config = uvicorn.Config(
        create_app(context, verifier, names, console),
        host=arguments.host,
        port=arguments.port,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again once it has stopped; with these handlers that is an end with
    # code 0, and a signal before it listens is not lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    # Bound before any job is taken up: a port in use must end the start without effect.
    listener = config.bind_socket()
    try:
        jobs.start(context)
        context.hosting.start(context)
        server.run(sockets=[listener])
    finally:
        context.hosting.shutdown()
        jobs.shutdown()
        listener.close()
        access.close()
        objects.close()
        store.close()


def _compute(state: Path) -> Compute:
    """Return where the hosts of jobs run."""
    cluster = cluster_file.read(state)
    if cluster is None:
        if any(state.glob(f"jobs/*/{PLACEMENT}")):
            raise StartError(
                f"jobs of {state} are on a Ray cluster; it must be named in "
                f"{state / cluster_file.FILE_NAME}"
            )
        return this_machine
    if importlib.util.find_spec("ray") is None:
        raise StartError(f"{state / cluster_file.FILE_NAME} needs Ray: install matinee[ray]")
    connection.connect(cluster.address, cluster.token_file)
    # Only now: who uses no cluster need not have Ray, and it reads its surroundings at once.
    from matinee.sagemaker.cluster.ray_compute import RayCompute

    return RayCompute(
        cpus=cluster.cpus,
        patience=cluster.patience,
        clock=_now,
        new_id=lambda: uuid.uuid4().hex,
    )


def _access(
    arguments: argparse.Namespace,
    credentials: Credentials,
    objects: Objects,
    roles: Roles,
    store: Store,
) -> JobAccess:
    """Return how jobs get at S3."""
    host = arguments.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - where this machine's own processes find it
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    endpoints = {
        "AWS_ENDPOINT_URL": f"http://{host}:{arguments.port}",
        "AWS_ENDPOINT_URL_S3": arguments.s3_endpoint_url,
    }
    keys = {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
    }
    if arguments.jobs_use_server_keys:
        return ServerKeys(objects, {**endpoints, **keys})
    return RoleSessions(
        store=store,
        clock=_now,
        roles=roles,
        s3_endpoint=arguments.s3_endpoint_url,
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        region=arguments.region,
        variables=endpoints,
    )


def _now() -> datetime:
    return datetime.now(UTC)


def main(words: list[str]) -> int:
    """Run the server until it is told to stop; return the exit code."""
    arguments = _arguments(words)
    os.umask(0o077)
    server_log.start()
    logging.getLogger("matinee").setLevel(arguments.log_level.upper())
    try:
        _serve(arguments)
    except _CANNOT_START as error:
        print(f"matinee.sagemaker: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
