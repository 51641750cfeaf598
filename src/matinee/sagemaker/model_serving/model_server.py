"""Talk to an algorithm's ``serve`` process over loopback HTTP.

SageMaker Developer Guide, "Use Your Own Inference Code with Batch Transform": ``/ping`` says when
it is ready, ``/execution-parameters`` what it prefers, ``/invocations`` answers requests. Bodies
are sent from where they lie; a body may go out in chunks while its answer comes in. The containers
of an inference pipeline answer one after the other.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import httptools

HOST = "127.0.0.1"
_PING_SECONDS = 2.0
# No more of an answer that says no is of use to anybody.
_MESSAGE_LIMIT = 300
_CHUNK_BYTES = 1024**2
_RECEIVE_BYTES = 256 * 1024

Body = bytes | memoryview

# A process takes a while until it listens on the port it was given.
_giving = threading.Lock()
_given: deque[int] = deque(maxlen=1000)


class InvocationError(Exception):
    """The model server did not answer a request with 200.

    Attributes
    ----------
    status
        The HTTP status; None when there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model server says to a request.

    Attributes
    ----------
    content_type
        As it says; None if it does not.
    body
        Empty where it was written to a file.
    """

    content_type: str | None
    body: bytes


def free_port() -> int:
    """Return a loopback port nothing listens on, and nobody was given lately."""
    with _giving:
        while True:
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port: int = probe.getsockname()[1]
            if port not in _given:
                _given.append(port)
                return port


class ModelServer:
    """The client of one serve process; safe to use from many threads.

    Parameters
    ----------
    port
        Where it listens.
    timeout_seconds
        For the answer to an invocation.
    name
        What it is called where it says no.
    """

    def __init__(self, port: int, timeout_seconds: float, name: str = "the model") -> None:
        self._port = port
        self._name = name
        self._timeout = timeout_seconds
        self._kept = threading.local()
        self._all: list[_Connection] = []
        self._is_aborted = False

    def abort(self) -> None:
        """End the invocations under way, and all that come; they raise InvocationError."""
        self._is_aborted = True
        for connection in self._all:
            connection.abort()

    def close(self) -> None:
        """Close the connections; no invocation may be under way."""
        for connection in self._all:
            connection.close()

    def is_healthy(self) -> bool:
        """Ask ``/ping``."""
        try:
            return self._get("/ping").status == 200
        except InvocationError:
            return False

    def execution_parameters(self) -> dict[str, Any]:
        """Return what the server prefers; empty if it does not say."""
        try:
            answer = self._get("/execution-parameters")
            parameters = json.loads(answer.body) if answer.status == 200 else {}
        except (InvocationError, ValueError):
            return {}
        return parameters if isinstance(parameters, dict) else {}

    def invoke(
        self,
        body: Body,
        headers: Mapping[str, str],
        *,
        in_chunks: bool = False,
        sink: BinaryIO | None = None,
    ) -> Answer:
        """Return the answer to one request.

        Parameters
        ----------
        body
            What to send.
        headers
            Content-Type and the like.
        in_chunks
            Send the body in chunks, without saying its length before.
        sink
            The file for the body of the answer.

        Raises
        ------
        InvocationError
            There was none in time, or it says no.
        """
        connection: _Connection | None = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._kept.connection = _Connection(self._port)
            self._all.append(connection)
            if self._is_aborted:
                connection.abort()
        head = _head("POST", "/invocations", headers, None if in_chunks else len(body))
        pieces = _chunks(body) if in_chunks else iter((body,))
        is_reused = connection.is_open
        try:
            answer = connection.exchange(head, pieces, self._timeout, sink)
        except _NoAnswerError as error:
            if not is_reused or error.has_begun:
                raise
            # A server may close a connection that was idle; it opens anew.
            pieces = _chunks(body) if in_chunks else iter((body,))
            answer = connection.exchange(head, pieces, self._timeout, sink)
        if answer.status != 200:
            said = bytes(answer.body[:_MESSAGE_LIMIT]).decode(errors="replace").strip()
            fault = "client" if 400 <= answer.status < 500 else "server"
            raise InvocationError(
                f'Received {fault} error ({answer.status}) from {self._name} with message "{said}"',
                answer.status,
            )
        return Answer(answer.content_type, bytes(answer.body))

    def _get(self, path: str) -> _Reception:
        connection = _Connection(self._port)
        try:
            return connection.exchange(_head("GET", path, {}, 0), iter(()), _PING_SECONDS, None)
        finally:
            connection.close()


class Pipeline:
    """The model servers of one instance, each of which gets the answer of the one before.

    Parameters
    ----------
    servers
        In the order of the model's containers.
    """

    def __init__(self, servers: Sequence[ModelServer]) -> None:
        self._servers = servers

    def abort(self) -> None:
        """End the invocations under way, and all that come; they raise InvocationError."""
        for server in self._servers:
            server.abort()

    def close(self) -> None:
        """Close the connections; no invocation may be under way."""
        for server in self._servers:
            server.close()

    def execution_parameters(self) -> dict[str, Any]:
        """Return what the first of the servers prefers; empty if it does not say."""
        return self._servers[0].execution_parameters()

    def invoke(
        self,
        body: Body,
        headers: Mapping[str, str],
        *,
        in_chunks: bool = False,
        sink: BinaryIO | None = None,
    ) -> Answer:
        """Return the last server's answer to a request; the parameters are those of ModelServer.

        Accept is for the last alone. What an answer says of its Content-Type, the next is told.

        Raises
        ------
        InvocationError
            One of them did not answer in time, or says no.
        """
        accept = {name: value for name, value in headers.items() if name == "Accept"}
        passed_on = {name: value for name, value in headers.items() if name not in accept}
        *before, last = self._servers
        for server in before:
            answer = server.invoke(body, passed_on, in_chunks=in_chunks)
            body = answer.body
            if answer.content_type is not None:
                passed_on["Content-Type"] = answer.content_type
        return last.invoke(body, {**passed_on, **accept}, in_chunks=in_chunks, sink=sink)


class _NoAnswerError(InvocationError):
    """There is no answer, or not all of it."""

    def __init__(self, error: Exception, *, has_begun: bool) -> None:
        super().__init__(f"Unable to get response from algorithm: {type(error).__name__}: {error}")
        self.has_begun = has_begun


class _Connection:
    """One connection, opened when it is needed and kept as long as the server lets it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._is_aborted = False

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def abort(self) -> None:
        self._is_aborted = True
        kept = self._socket
        if kept is not None:
            with contextlib.suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(
        self, head: bytes, pieces: Iterator[Body], seconds: float, sink: BinaryIO | None
    ) -> _Reception:
        """Send a request and return its answer, as it comes also while the request goes out."""
        reception = _Reception(sink)
        try:
            kept = self._open(seconds)
            _exchange(kept, itertools.chain((head,), pieces), reception, seconds)
        except (OSError, EOFError, httptools.HttpParserError) as error:
            self.close()
            raise _NoAnswerError(error, has_begun=reception.status != 0) from error
        except BaseException:
            self.close()
            raise
        if not reception.keeps_alive:
            self.close()
        return reception

    def _open(self, seconds: float) -> socket.socket:
        if self._socket is None:
            opened = socket.create_connection((HOST, self._port), timeout=seconds)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            self._socket = opened
        # Only now: else an abort could miss a socket that was being opened.
        if self._is_aborted:
            raise ConnectionAbortedError("the job does not go on")
        return self._socket


class _Reception:
    """Takes in an answer: what httptools calls back, and what has come of it."""

    def __init__(self, sink: BinaryIO | None) -> None:
        self.status = 0
        self.content_type: str | None = None
        self.body = bytearray()
        self.is_complete = False
        self.keeps_alive = False
        self._sink = sink
        self._ends_with_connection = True
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        if data:
            self._parser.feed_data(data)
            # Not where httptools calls back: it would take a full disk for a bad answer.
            if self._sink is not None and self.status == 200:
                self._sink.write(self.body)
                self.body.clear()
        elif self.status and self._ends_with_connection:
            self.is_complete = True
        else:
            raise EOFError("the connection was closed before the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-type":
            self.content_type = value.decode("latin-1")
        elif lower in {b"content-length", b"transfer-encoding"}:
            self._ends_with_connection = False

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        # 100 Continue and its like come before the answer.
        if status >= 200:
            self.status = status

    def on_body(self, data: bytes) -> None:
        if self.status == 200 or len(self.body) < _MESSAGE_LIMIT:
            self.body += data

    def on_message_complete(self) -> None:
        self.is_complete = self.status != 0
        self.keeps_alive = self._parser.should_keep_alive()


def _exchange(
    kept: socket.socket, pieces: Iterator[Body], reception: _Reception, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(kept, select.POLLIN)
    unsent = _gather(pieces)
    while not reception.is_complete:
        if unsent:
            unsent = _send(kept, unsent) or _gather(pieces)
        poll.modify(kept, select.POLLIN | (select.POLLOUT if unsent else 0))
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise TimeoutError("timed out")
        if ready[0][1] & ~select.POLLOUT:
            with contextlib.suppress(BlockingIOError):
                reception.feed(kept.recv(_RECEIVE_BYTES))
    if unsent:
        # It answered before it had heard everything, so no request can follow on this connection.
        reception.keeps_alive = False


def _gather(pieces: Iterator[Body]) -> list[memoryview]:
    """Return the next pieces of a request, to be sent in one call."""
    return [memoryview(piece) for piece in itertools.islice(pieces, 2) if piece]


def _send(kept: socket.socket, unsent: list[memoryview]) -> list[memoryview]:
    """Send what fits, and return the rest."""
    try:
        sent = kept.sendmsg(unsent)
    except BlockingIOError:
        return unsent
    except (BrokenPipeError, ConnectionResetError):
        # The server listens no more, but may have said why.
        return []
    rest = []
    for piece in unsent:
        if sent < len(piece):
            rest.append(piece[sent:])
        sent = max(0, sent - len(piece))
    return rest


def _head(method: str, path: str, headers: Mapping[str, str], length: int | None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"a header has a line break: {lines}")
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif method == "POST":
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunks(body: Body) -> Iterator[Body]:
    view = memoryview(body)
    for start in range(0, len(view), _CHUNK_BYTES):
        piece = view[start : start + _CHUNK_BYTES]
        yield f"{len(piece):x}\r\n".encode()
        yield piece
        yield b"\r\n"
    yield b"0\r\n\r\n"
