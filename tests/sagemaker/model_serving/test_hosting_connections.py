"""One answer from a model server over real sockets: good ones, bad ones and none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from matinee.sagemaker.model_serving import hosting_connections
from matinee.sagemaker.model_serving.hosting_connections import (
    Answer,
    Connections,
    NoAnswerError,
    TooLateError,
    UnreachedError,
)
from matinee.sagemaker.model_serving.model_server import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Says the same to every request and counts connections."""

    def __init__(self, *says: bytes, close: bool = False) -> None:
        self.says = says
        self.close = close
        self.connections = 0
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await read_head(reader):
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            for piece in self.says:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if self.close or not self.says:
                break


async def read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def asked(server: Handler, times: int = 1, seconds: float = 20.0) -> list[Answer]:
    """Return the answers to some requests, one after the other."""

    async def run() -> list[Answer]:
        handlers = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handlers.append(asyncio.current_task())
            with contextlib.suppress(ConnectionError):
                await server(reader, writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        listening = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        connections = Connections()
        try:
            return [
                await connections.ask(port, {"Content-Type": "x/y"}, b"body", seconds)
                for _ in range(times)
            ]
        finally:
            connections.close()
            listening.close()
            await asyncio.gather(*filter(None, handlers))

    return asyncio.run(run())


def test_an_answer_over_a_connection_that_is_kept() -> None:
    server = Server(OK)
    answers = asked(server, times=3)
    assert {(answer.status, answer.body, answer.headers["content-type"]) for answer in answers} == {
        (200, b"hi", "a/b")
    }
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Content-Type: x/y" in head
    assert body == b"body"


@pytest.mark.parametrize(
    "says",
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n",
            b"1\r\ni\r\n0\r\n\r\n",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r\nh", b"i"),
        (b"HTTP/1.0 200 OK\r\n\r\nh", b"i"),
        (b"HTTP/1.1 102 Processing\r\nContent-Type: x/y\r\n\r\n", OK),
    ],
    ids=["chunked", "in-pieces", "until-the-end-of-the-connection", "after-a-provisional-one"],
)
def test_the_forms_an_answer_can_have(says: tuple[bytes, ...]) -> None:
    (answer,) = asked(Server(*says, close=True))
    assert (answer.status, answer.body) == (200, b"hi")


def test_a_connection_that_was_closed_meanwhile_is_opened_anew() -> None:
    server = Server(OK, close=True)
    assert [answer.body for answer in asked(server, times=3)] == [b"hi"] * 3
    assert server.connections == 3


@pytest.mark.parametrize(
    "says",
    [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",), (b"hello\r\n\r\n",)],
    ids=["nothing", "too-little", "not-http"],
)
def test_no_whole_answer_is_none(says: tuple[bytes, ...]) -> None:
    server = Server(*says, close=True)
    with pytest.raises(NoAnswerError) as caught:
        asked(server)
    assert not isinstance(caught.value, UnreachedError)
    assert server.connections == 1  # nobody asks a model twice


def test_an_answer_that_comes_too_late() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.read()

    with pytest.raises(TooLateError, match=r"none in 0\.05 s"):
        asked(silent, seconds=0.05)


def test_an_answer_over_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting_connections, "ANSWER_LIMIT_BYTES", 1)
    with pytest.raises(NoAnswerError, match="over 1 bytes"):
        asked(Server(OK))


def test_nobody_listens() -> None:
    with pytest.raises(UnreachedError):
        asyncio.run(Connections().ask(free_port(), {}, b"", 1.0))
