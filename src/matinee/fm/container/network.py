"""The hosts of a training job, connected: every host with the first one, which adds up.

Where hosts are is in MATINEE_HOSTS, a JSON object of name to address, or else known to the system's
name resolution, as in SageMaker's own network. They meet at port 18517 of the first one, or at
MATINEE_PORT where other jobs share its address. MATINEE_JOB_SECRET, which only the job's hosts
know, keeps others out.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from matinee.fm.container.connections import (
    QUIET_SECONDS,
    Connection,
    FailedHostError,
    StrangerError,
)
from matinee.fm.hosts import HostsError, Message

LOGGER = logging.getLogger(__name__)

ADDRESSES_VARIABLE = "MATINEE_HOSTS"
PORT_VARIABLE = "MATINEE_PORT"
SECRET_VARIABLE = "MATINEE_JOB_SECRET"  # noqa: S105 - a name

PORT = 18517
JOIN_SECONDS = 600.0
"""Hosts that start later than the others by more than this are lost."""

_RETRY_SECONDS = 0.05


class Network:
    """A job's connected hosts, which ``join`` makes; a context manager.

    An exception that leaves the context is told to the other hosts.

    Parameters
    ----------
    host
        Name of this host.
    hosts
        Names of all, the first one first.
    connections
        With the others in their order, at the first host; elsewhere with the first.
    describe
        Puts an exception into a job's words.
    """

    def __init__(
        self,
        host: str,
        hosts: Sequence[str],
        connections: Sequence[Connection],
        describe: Callable[[Exception], str],
    ) -> None:
        self._host, self._hosts, self._connections = host, hosts, connections
        self._describe = describe
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    @property
    def rank(self) -> int:
        return self._hosts.index(self._host)

    @property
    def count(self) -> int:
        return len(self._hosts)

    def collect(self, message: Message, limit: int) -> Iterable[memoryview]:
        """See ``matinee.fm.hosts.Hosts``."""
        if self.rank == 0:
            return (connection.receive(limit) for connection in self._connections)
        self._connections[0].send(message)
        return ()

    def spread(self, message: Message, limit: int) -> memoryview:
        """See ``matinee.fm.hosts.Hosts``."""
        if self.rank != 0:
            return self._connections[0].receive(limit)
        for connection in self._connections:
            connection.send(message)
        return memoryview(message)

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._heart.join()
        if isinstance(error, Exception):
            host, reason = self._host, self._describe(error)
            if isinstance(error, FailedHostError):
                host, reason = error.host, error.reason
            for connection in self._connections:
                connection.tell_failure(host, reason)
        for connection in self._connections:
            connection.close()

    def _beat(self) -> None:
        while not self._over.wait(QUIET_SECONDS / 10):
            for connection in self._connections:
                # Who waits for a lost host is told; a host that is done may go.
                with suppress(HostsError):
                    connection.beat()


def join(
    host: str,
    hosts: Sequence[str],
    environment: Mapping[str, str],
    describe: Callable[[Exception], str],
    within: float = JOIN_SECONDS,
) -> Network:
    """Connect the hosts of a job; each of them calls this.

    Parameters
    ----------
    host
        Name of this host.
    hosts
        Names of all, the first one first.
    environment
        May hold MATINEE_HOSTS, MATINEE_PORT and MATINEE_JOB_SECRET.
    describe
        Puts an exception into a job's words, for the other hosts to hear.
    within
        Seconds until a host that hasn't come is lost.

    Raises
    ------
    HostsError
        If a host hasn't come, or isn't one of this job.
    ValueError
        If MATINEE_HOSTS isn't an object that holds every host, or MATINEE_PORT no port.
    """
    given = environment.get(ADDRESSES_VARIABLE)
    addresses = {name: name for name in hosts} if given is None else _addresses(given, hosts)
    first = addresses[hosts[0]], _port(environment)
    secret = environment.get(SECRET_VARIABLE, "").encode()
    deadline = time.monotonic() + within
    if host == hosts[0]:
        connections = _await(host, hosts, first, secret, deadline)
    else:
        # From the host's own address: other jobs on this machine have others.
        source = None if given is None else addresses[host]
        connections = [_reach(host, hosts[0], first, source, secret, deadline)]
    return Network(host, hosts, connections, describe)


def _port(environment: Mapping[str, str]) -> int:
    given = environment.get(PORT_VARIABLE, str(PORT))
    if not given.isdecimal() or not 0 < int(given) < 1 << 16:
        raise ValueError(f"{PORT_VARIABLE} must be a port, and is {given!r}")
    return int(given)


def _addresses(given: str, hosts: Sequence[str]) -> dict[str, str]:
    try:
        addresses = json.loads(given)
    except ValueError as error:
        raise ValueError(f"{ADDRESSES_VARIABLE} isn't JSON: {error}") from error
    if not isinstance(addresses, dict) or not all(
        isinstance(addresses.get(name), str) for name in hosts
    ):
        raise ValueError(f"{ADDRESSES_VARIABLE} must give an address to each of {list(hosts)}")
    return addresses


def _await(
    host: str, hosts: Sequence[str], place: tuple[str, int], secret: bytes, deadline: float
) -> list[Connection]:
    """Let the other hosts in, in whatever order they come."""
    joined: dict[str, Connection] = {}
    try:
        with _listening(host, place, deadline) as listener:
            while awaited := [name for name in hosts[1:] if name not in joined]:
                connection = _let_in(listener, awaited, secret, deadline)
                if connection is not None:
                    joined[connection.host] = connection
                # Those who came early shall not think that this host is lost.
                for early in joined.values():
                    early.beat()
    except BaseException as error:
        for connection in joined.values():
            connection.tell_failure(host, f"AlgorithmError: {error}")
            connection.close()
        raise
    return [joined[name] for name in hosts[1:]]


def _let_in(
    listener: socket.socket, awaited: Sequence[str], secret: bytes, deadline: float
) -> Connection | None:
    """Wait a few seconds for a host; None if none comes, or a stranger."""
    try:
        listener.settimeout(min(_left(deadline), QUIET_SECONDS / 10))
        connected, _ = listener.accept()
    except TimeoutError as error:
        if time.monotonic() >= deadline:
            raise HostsError(f"hosts {awaited} haven't come in time") from error
        return None
    try:
        return Connection.answer(connected, awaited, secret)
    except (StrangerError, OSError) as error:
        LOGGER.warning("a connection was refused: %s", error)
        connected.close()
        return None


@contextmanager
def _listening(host: str, place: tuple[str, int], deadline: float) -> Iterator[socket.socket]:
    address, port = place
    while True:
        try:
            (family, *_, found) = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
            listener = socket.create_server(found[:2], family=family, backlog=128)
            break
        except OSError as error:
            # A name may not be known yet; a job before this one may be about to end.
            if _left(deadline) <= _RETRY_SECONDS:
                raise HostsError(
                    f"host {host!r} cannot listen at {address} port {port}: {error}"
                ) from error
            time.sleep(_RETRY_SECONDS)
    with listener:
        yield listener


def _reach(
    host: str,
    first: str,
    place: tuple[str, int],
    source: str | None,
    secret: bytes,
    deadline: float,
) -> Connection:
    """Connect with the first host as soon as it listens."""
    address, port = place
    while True:
        try:
            connected = socket.create_connection(
                place,
                timeout=_left(deadline),
                source_address=None if source is None else (source, 0),
            )
            break
        except OSError as error:
            if _left(deadline) <= _RETRY_SECONDS:
                raise HostsError(
                    f"host {first!r} hasn't come in time: {address} port {port}: {error}"
                ) from error
            time.sleep(_RETRY_SECONDS)
    try:
        return Connection.greet(connected, host, first, secret)
    except (StrangerError, OSError) as error:
        connected.close()
        raise HostsError(f"host {first!r} did not let this host in: {error}") from error


def _left(deadline: float) -> float:
    return max(_RETRY_SECONDS / 10, deadline - time.monotonic())
