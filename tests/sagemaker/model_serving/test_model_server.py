"""The client of serve processes, against servers that do what a real one would not."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from matinee.sagemaker.model_serving.model_server import (
    HOST,
    InvocationError,
    ModelServer,
    Pipeline,
    free_port,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/csv\r\n\r\nok"


@contextlib.contextmanager
def serving(
    *turns: Callable[[socket.socket, bytes], object], seconds: float = 10
) -> Iterator[ModelServer]:
    """Take a connection a turn; each is given the socket and what came first."""

    def serve() -> None:
        for turn in turns:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                turn(connection, connection.recv(65536))

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        server = ModelServer(listener.getsockname()[1], seconds)
        try:
            yield server
        finally:
            server.abort()
            thread.join(10)
            server.close()


def test_connections_are_kept_and_opened_anew() -> None:
    seen = []

    def twice(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(OK)
        seen.append(connection.recv(65536))
        connection.sendall(OK)

    def once(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(OK)

    with serving(twice, once) as server:
        for body in (b"one", b"two", b"three"):
            answer = server.invoke(memoryview(body), {"Accept": "text/csv"})
            assert (answer.body, answer.content_type) == (b"ok", "text/csv")
    head = (
        b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/csv\r\nContent-Length: %d"
    )
    assert seen == [head % len(body) + b"\r\n\r\n" + body for body in (b"one", b"two", b"three")]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_answers_may_come_in_any_form(said: bytes, heard: bytes) -> None:
    with serving(lambda connection, _: connection.sendall(said)) as server:
        assert server.invoke(b"x", {}).body == heard


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"", "EOFError: the connection was closed before the end of the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "EOFError"),
        (b"what?\r\n\r\n", "HttpParser"),
    ],
)
def test_no_answer_is_said_so(said: bytes, problem: str) -> None:
    with (
        serving(lambda connection, _: connection.sendall(said)) as server,
        pytest.raises(InvocationError, match=f"Unable to get response from algorithm: {problem}"),
    ):
        server.invoke(b"x", {})


def test_a_refusal_carries_status_and_message() -> None:
    said = b"HTTP/1.1 413 Large\r\nContent-Length: 9\r\n\r\ntoo large"

    def refuse(connection: socket.socket, _: bytes) -> None:
        # Before all of the request has come, and without listening on.
        connection.sendall(said)

    with serving(refuse) as server, pytest.raises(InvocationError) as caught:
        server.invoke(bytes(8 * 1024**2), {})
    assert caught.value.status in {413, None}
    with (
        serving(lambda connection, _: connection.sendall(said)) as server,
        pytest.raises(InvocationError, match=r'client error \(413\) .* "too large"') as caught,
    ):
        server.invoke(b"x", {})
    assert caught.value.status == 413


def test_an_answer_that_does_not_come_in_time() -> None:
    with (
        serving(lambda connection, _: connection.recv(1), seconds=0.05) as server,
        pytest.raises(InvocationError, match="TimeoutError: timed out"),
    ):
        server.invoke(b"x", {})


def test_an_invocation_is_aborted() -> None:
    begun = threading.Event()

    def hang(connection: socket.socket, _: bytes) -> None:
        begun.set()
        connection.recv(1)

    failed: list[InvocationError] = []

    def invoke(server: ModelServer) -> None:
        with pytest.raises(InvocationError) as caught:
            server.invoke(b"x", {})
        failed.append(caught.value)

    with serving(hang) as server:
        thread = threading.Thread(target=invoke, args=(server,))
        thread.start()
        assert begun.wait(10)
        server.abort()
        thread.join(10)
        with pytest.raises(InvocationError):
            server.invoke(b"x", {})
    assert len(failed) == 1


def test_a_body_in_chunks_goes_while_its_answer_comes() -> None:
    body = bytes(range(256)) * 20_000

    def echo(connection: socket.socket, first: bytes) -> None:
        """Send back what comes, and read no more than was sent back."""
        head, _, rest = first.partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            rest = connection.recv(65536)
            connection.sendall(rest)

    sink = io.BytesIO()
    with serving(echo) as server:
        answer = server.invoke(memoryview(body), {}, in_chunks=True, sink=sink)
    assert answer.body == b""
    assert sink.getvalue() == body


def test_a_header_is_one_line() -> None:
    server = ModelServer(free_port(), 1)
    with pytest.raises(ValueError, match="line break"):
        server.invoke(b"", {"Accept": "a\r\nb"})


def test_execution_parameters_are_read() -> None:
    def answer(body: bytes) -> Callable[[socket.socket, bytes], None]:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        return lambda connection, _: connection.sendall(head + body)

    with serving(answer(b'{"MaxPayloadInMB": 1}'), answer(b"[1]"), answer(b"{")) as server:
        found = [server.execution_parameters() for _ in range(3)]
    assert found == [{"MaxPayloadInMB": 1}, {}, {}]


def test_a_pipeline_hands_on_content_types() -> None:
    seen = []

    def answer(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(OK)

    with serving(answer) as one, serving(answer) as two:
        headers = {"Content-Type": "application/json", "Accept": "text/plain", "X-Own": "1"}
        result = Pipeline([one, two]).invoke(b"x", headers)
    assert result.body == b"ok"
    assert b"Content-Type: application/json" in seen[0]
    assert b"Accept" not in seen[0]
    assert b"Content-Type: text/csv" in seen[1]
    assert b"Accept: text/plain" in seen[1]
    assert all(b"X-Own: 1" in request for request in seen)


def test_ports_are_not_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
