"""A client that sends too much, too slowly or not at all holds nothing of the server."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from matinee.sagemaker.http.connections import Connection

ANSWER = b"HTTP/1.1 200 OK"


class Hasty(Connection):
    max_connections = 3
    head_seconds = body_seconds = answer_seconds = 0.3


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Answer with the size of the body, a second later if that is asked for."""
    size, more, body = 0, True, b""
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        size, more = len(body), message.get("more_body", False)
    if body.startswith(b"wait"):
        await asyncio.sleep(1.0)
    said = b"x" * (1 << 24) if body.startswith(b"much") else str(size).encode()
    length = (b"content-length", str(len(said)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": said})


@contextmanager
def serving(protocol: type[Connection]) -> Iterator[tuple[int, uvicorn.Server]]:
    config = uvicorn.Config(
        app, port=0, http=protocol, ws="none", lifespan="off", log_config=None, loop="asyncio"
    )
    listener = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield listener.getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[int, uvicorn.Server]]:
    with serving(Hasty) as server:
        yield server


@pytest.fixture
def port(running: tuple[int, uvicorn.Server]) -> int:
    number, server = running
    deadline = time.monotonic() + 20
    while server.server_state.connections:
        assert time.monotonic() < deadline, "connections of the test before are still there"
        time.sleep(0.01)
    return number


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def everything(client: socket.socket) -> bytes:
    """Read until the server closes."""
    found = b""
    try:
        while data := client.recv(1 << 16):
            found += data
    except ConnectionResetError:
        pass
    return found


def answer(client: socket.socket) -> bytes:
    """Read one answer and return its body."""
    response = http.client.HTTPResponse(client)
    response.begin()
    assert response.status == 200
    return response.read()


def request(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def test_requests_one_after_the_other_are_answered(port: int) -> None:
    with connected(port) as client:
        for body in (b"one", b"seven", b""):
            client.sendall(request(body))
            assert answer(client) == b"%d" % len(body)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX-",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        # After a first request that was answered
        request(b"one") + b"\r\n",
        request(b"one") + b"POST / HT",
        request(b"one") + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ],
)
def test_a_request_that_does_not_go_on_is_cut_off(port: int, begun: bytes) -> None:
    with connected(port) as client:
        client.sendall(begun)
        answers = everything(client)
    assert answers.count(ANSWER) == begun.startswith(request(b"one"))


def test_a_client_that_trickles_is_cut_off(port: int) -> None:
    began = time.monotonic()
    with connected(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\n")
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < 10:
                client.sendall(b"X: y\r\n")
                time.sleep(0.02)
    assert time.monotonic() - began < 10, "it was never cut off"


def test_a_request_may_wait_for_the_answer_to_the_one_before(port: int) -> None:
    with connected(port) as client:
        # The second one's time is over while the first one is answered.
        client.sendall(request(b"wait") + request(b"one")[:-1])
        time.sleep(0.5)
        assert answer(client) == b"4"
        client.sendall(b"e")
        assert answer(client) == b"3"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (1 << 17),
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: yyyyyyyyyyyyyyyy\r\n" * (1 << 12) + b"\r\n",
        b"GET /" + b"x" * (1 << 17),
    ],
)
def test_a_head_that_is_too_large_is_refused(port: int, head: bytes) -> None:
    with connected(port) as client:
        sender = threading.Thread(target=_send, args=(client, head))
        sender.start()
        told = everything(client)
        sender.join()
    # The client may still be sending when the connection is closed, and not get to read it.
    assert told.startswith(b"HTTP/1.1 431 ") or told == b"", told[:99]


def _send(client: socket.socket, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(data)


def test_a_large_head_within_the_limit_is_read(port: int) -> None:
    with connected(port) as client:
        client.sendall(request(b"one", b"X: " + b"x" * 60_000))
        assert answer(client) == b"3"


def test_one_connection_too_many_is_refused(port: int) -> None:
    with connected(port) as a, connected(port) as b, connected(port) as c:
        for client in (a, b, c):
            client.sendall(request(b"one"))
            assert answer(client) == b"3"
        with connected(port) as fourth:
            assert everything(fourth).startswith(b"HTTP/1.1 503 ")
        a.sendall(request(b"one"))
        assert answer(a) == b"3"


def test_an_answer_nobody_takes_is_dropped(port: int, running: tuple[int, uvicorn.Server]) -> None:
    with connected(port) as client:
        client.sendall(request(b"much"))
        deadline = time.monotonic() + 20
        while not running[1].server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        while running[1].server_state.connections:
            assert time.monotonic() < deadline, "the connection is still held"
            time.sleep(0.01)
        assert len(everything(client)) < 1 << 24


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ],
)
def test_what_is_no_request_is_told_so(port: int, data: bytes) -> None:
    with connected(port) as client:
        client.sendall(data)
        assert everything(client).startswith(b"HTTP/1.1 400 ")


def test_no_other_protocol_is_gone_over_to(port: int) -> None:
    upgrade = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: YWJj"]
    with connected(port) as client:
        client.sendall(request(b"one", *upgrade, b"Sec-WebSocket-Version: 13"))
        assert everything(client).startswith(b"HTTP/1.1 501 ")
