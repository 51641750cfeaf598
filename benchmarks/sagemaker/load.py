"""Load for an HTTP server: requests signed once, sent at a steady rate or as fast as they return.

At a rate, a request's time counts from when it was due, so a server that falls behind is not
spared. Requests are bytes made beforehand, since signing one costs more than sending it.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the keys it knows."""

    endpoint: str
    keys: Credentials

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.endpoint)
        return str(parts.hostname), int(parts.port or 80)


@dataclass(frozen=True, slots=True)
class Latencies:
    """What became of a load: seconds of each request, and how long all of it took."""

    seconds: Sequence[float]
    duration: float
    failures: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.duration

    def quantile(self, percent: int) -> float:
        """Return a percentile in milliseconds."""
        return 1000 * quantiles(self.seconds, n=100)[percent - 1]


def json_request(target: Target, operation: str, body: Mapping[str, object]) -> bytes:
    """Return a signed request of SageMaker's JSON protocol."""
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"SageMaker.{operation}",
    }
    return signed(target, "/", json.dumps(body).encode(), headers)


def signed(target: Target, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a signed POST as it goes over the wire; good for five minutes."""
    request = AWSRequest("POST", target.endpoint + path, data=body, headers=dict(headers))
    SigV4Auth(target.keys, "sagemaker", REGION).add_auth(request)
    lines = [f"POST {path} HTTP/1.1", f"Host: {':'.join(map(str, target.address))}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class _Connection(asyncio.Protocol):
    """One request at a time; tells its pool when the answer is there."""

    def __init__(self, pool: "_Pool") -> None:
        self._pool = pool
        self._received = b""
        self._due = 0.0
        self.is_asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        self._due, self._received, self.is_asking = due, b"", True
        self._transport.write(request)  # type: ignore[attr-defined]  # it is a TCP transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        if len(body) >= int(length or 0):
            self.is_asking = False
            closes = head.startswith(b"HTTP/1.0") or b"connection: close" in head.lower()
            self._pool.answered(self, self._due, succeeded=head[9:12] == b"200", is_kept=not closes)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._pool.lost(self)


class _Pool:
    """Connections that are idle, and requests that wait for one."""

    def __init__(self, requests: Sequence[bytes], count: int) -> None:
        self._requests, self._left = requests, count
        self._idle: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self._sent = 0
        self._adding: list[asyncio.Future[None]] = []
        self.seconds: list[float] = []
        self.failures = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, address: tuple[str, int], connections: int) -> None:
        self._address = address
        for _ in range(connections):
            await self._add()

    async def _add(self) -> None:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: _Connection(self), *self._address)
        if self._waiting:
            self._send(protocol, self._waiting.popleft())
        else:
            self._idle.append(protocol)

    def ask(self, due: float) -> None:
        if self._idle:
            self._send(self._idle.pop(), due)
        else:
            self._waiting.append(due)

    def answered(
        self, connection: _Connection, due: float, *, succeeded: bool, is_kept: bool
    ) -> None:
        self.seconds.append(time.perf_counter() - due)
        self.failures += not succeeded
        self._left -= 1
        if is_kept and self._waiting:
            self._send(connection, self._waiting.popleft())
        elif is_kept:
            self._idle.append(connection)
        if self._left == 0:
            self.done.set_result(None)

    def lost(self, connection: _Connection) -> None:
        if self.done.done():
            return
        if connection.is_asking:
            self.done.set_exception(ConnectionError("the server closed a connection it answers"))
            return
        # A server may close each connection after its answer; a client then opens another.
        if connection in self._idle:
            self._idle.remove(connection)
        self._adding.append(asyncio.ensure_future(self._add()))

    def _send(self, connection: _Connection, due: float) -> None:
        request = self._requests[self._sent % len(self._requests)]
        self._sent += 1
        connection.send(request, due)


def steady(
    target: Target, requests: Sequence[bytes], *, rate: float, count: int, connections: int
) -> Latencies:
    """Send requests at a rate, in turn, over so many connections."""

    async def run() -> Latencies:
        pool = _Pool(requests, count)
        await pool.connect(target.address, connections)
        began = time.perf_counter()
        for number in range(count):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            elif number % 16 == 0:
                await asyncio.sleep(0)  # answers must be read although this falls behind
            pool.ask(due)
        await pool.done
        return Latencies(pool.seconds, time.perf_counter() - began, pool.failures)

    return asyncio.run(run())


def saturating(
    target: Target, requests: Sequence[bytes], *, count: int, connections: int
) -> Latencies:
    """Send the next request on each connection as soon as its answer is there."""

    async def run() -> Latencies:
        pool = _Pool(requests, count)
        await pool.connect(target.address, connections)
        began = time.perf_counter()
        for _ in range(count):
            pool.ask(began)
        await pool.done
        return Latencies(pool.seconds, time.perf_counter() - began, pool.failures)

    return asyncio.run(run())
