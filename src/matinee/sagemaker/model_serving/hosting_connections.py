"""Ask a model server for one answer from inside the event loop, over connections kept alive.

Made for a thousand small requests a second: no thread, no copy of a body, one write a request. An
answer over the limit, not in time or not HTTP is an error; a connection that was lost before it
answered anything is opened anew once, as a server may close one that was idle.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httptools

from matinee.sagemaker.model_serving.model_server import HOST

ANSWER_LIMIT_BYTES = 100 << 20


class NoAnswerError(Exception):
    """The model server did not answer."""


class UnreachedError(NoAnswerError):
    """Nothing listens there, so the request was not begun."""


class TooLateError(NoAnswerError):
    """The answer did not come in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model server answered.

    Attributes
    ----------
    status
        HTTP status.
    headers
        By name in lower case.
    body
        All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.port = port
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._fresh_parser()
        self.is_open = False
        self.has_answered_something = False

    def _fresh_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = 0
        self._has_headers = False

    def ask(self, request: bytes, seconds: float) -> asyncio.Future[Answer]:
        """Send a request; the future has its answer."""
        self._fresh_parser()
        self.has_answered_something = False
        waiting: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting = waiting
        timer = self._loop.call_later(seconds, self._fail, TooLateError(f"none in {seconds:g} s"))
        waiting.add_done_callback(lambda _: timer.cancel())
        if self._transport is None:
            raise RuntimeError("the connection was never made")
        self._transport.write(request)
        return waiting

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        self.close()

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not all event loops' transports are of asyncio's own class.
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self.has_answered_something = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(NoAnswerError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiting is None:
            return
        ends_with_connection = not {"content-length", "transfer-encoding"} & self._headers.keys()
        if self._has_headers and ends_with_connection:
            self.on_message_complete()
        else:
            self._fail(NoAnswerError(f"the connection was closed: {exc or 'no reason'}"))

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._has_headers = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        if self._size > ANSWER_LIMIT_BYTES:
            self._fail(NoAnswerError(f"the answer is over {ANSWER_LIMIT_BYTES} bytes"))

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            # 100 Continue and its like come before the answer.
            self._headers, self._has_headers = {}, False
            return
        waiting, self._waiting = self._waiting, None
        if not self._parser.should_keep_alive():
            self.close()
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(status, self._headers, b"".join(self._chunks)))


class Connections:
    """The kept connections of one event loop to the model servers of this machine."""

    def __init__(self) -> None:
        self._idle: defaultdict[int, list[_Connection]] = defaultdict(list)

    async def ask(
        self, port: int, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> Answer:
        """Return the answer to ``POST /invocations``.

        Parameters
        ----------
        port
            Where the model server listens.
        headers
            Of the request; plain ASCII without line breaks.
        body
            Sent as it is.
        seconds
            How long the answer may take.

        Raises
        ------
        NoAnswerError
        """
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST /invocations HTTP/1.1\r\nHost: {HOST}:{port}\r\n{fields}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode("latin-1") + body
        kept = self._kept(port)
        if kept is None:
            return await self._answer(await self._opened(port), request, seconds)
        try:
            return await self._answer(kept, request, seconds)
        except TooLateError:
            raise
        except NoAnswerError:
            if kept.has_answered_something:
                raise
        return await self._answer(await self._opened(port), request, seconds)

    def close(self) -> None:
        """Close those that are kept."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    async def _answer(self, connection: _Connection, request: bytes, seconds: float) -> Answer:
        try:
            answer = await connection.ask(request, seconds)
        except asyncio.CancelledError:
            connection.close()
            raise
        if connection.is_open:
            self._idle[connection.port].append(connection)
        return answer

    def _kept(self, port: int) -> _Connection | None:
        idle = self._idle[port]
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _opened(self, port: int) -> _Connection:
        # Now and then: nobody asks for those again whose model server is no more.
        for other, idle in list(self._idle.items()):
            idle[:] = [connection for connection in idle if connection.is_open]
            if not idle:
                del self._idle[other]
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(loop, port), HOST, port
            )
        except OSError as error:
            raise UnreachedError(str(error)) from error
        return connection
