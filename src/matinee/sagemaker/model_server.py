"""Talk to an algorithm's ``serve`` process over loopback HTTP.

SageMaker Developer Guide, "Use Your Own Inference Code with Batch Transform": ``/ping`` says when
it is ready, ``/execution-parameters`` what it prefers, ``/invocations`` answers requests.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

HOST = "127.0.0.1"
_PING_SECONDS = 2.0
# No more of an answer that says no is of use to anybody.
_MESSAGE_LIMIT = 300


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


def free_port() -> int:
    """Return a loopback port nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


class ModelServer:
    """The client of one serve process; safe to use from many threads.

    Parameters
    ----------
    port
        Where it listens.
    timeout_seconds
        For the answer to an invocation.
    """

    def __init__(self, port: int, timeout_seconds: float) -> None:
        self._port = port
        self._timeout = timeout_seconds
        self._kept = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def abort(self) -> None:
        """End the invocations under way; they raise InvocationError."""
        for connection in self._all:
            with contextlib.suppress(OSError):
                if connection.sock is not None:
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def is_healthy(self) -> bool:
        """Ask ``/ping``."""
        try:
            return self._get("/ping")[0] == 200
        except InvocationError:
            return False

    def execution_parameters(self) -> dict[str, Any]:
        """Return what the server prefers; empty if it does not say."""
        try:
            status, body = self._get("/execution-parameters")
            parameters = json.loads(body) if status == 200 else {}
        except (InvocationError, ValueError):
            return {}
        return parameters if isinstance(parameters, dict) else {}

    def invoke(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the answer to one request.

        Raises
        ------
        InvocationError
            There was none in time, or it says no.
        """
        connection = self._connection()
        is_reused = connection.sock is not None
        try:
            status, answer = _ask(connection, "POST", "/invocations", body, headers)
        except InvocationError:
            if not is_reused:
                raise
            # A server may close a connection that was idle; it opens anew.
            status, answer = _ask(connection, "POST", "/invocations", body, headers)
        if status != 200:
            said = answer[:_MESSAGE_LIMIT].decode(errors="replace").strip()
            fault = "client" if 400 <= status < 500 else "server"
            raise InvocationError(
                f'Received {fault} error ({status}) from the model with message "{said}"', status
            )
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        """Return this thread's own connection."""
        connection: http.client.HTTPConnection | None
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(HOST, self._port, timeout=self._timeout)
            self._kept.connection = connection
            self._all.append(connection)
        return connection

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_PING_SECONDS)
        with contextlib.closing(connection):
            return _ask(connection, "GET", path, None, {})


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, bytes]:
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise InvocationError(
            f"Unable to get response from algorithm: {type(error).__name__}: {error}"
        ) from error
