"""A client's connection, with an end to its patience.

Whoever talks to the server has so much time and so many bytes for a request's head, so much time
for its body and for taking its answer, and there are so many connections at once. One that goes
over is told so where HTTP has a word for it, and closed: it holds nothing that others need. Bodies
are limited by what they are for, in ``app``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _RefusedError(Exception):
    """The request is refused by its head."""


_PHRASES: Mapping[HTTPStatus, str] = {
    HTTPStatus.SERVICE_UNAVAILABLE: "there are too many connections",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "the request line and the headers are too large",
    HTTPStatus.NOT_IMPLEMENTED: "a connection is for HTTP/1.1 and nothing else",
}


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits.

    Attributes
    ----------
    max_connections
        How many there may be at once; the next one is answered with 503.
    max_head_bytes
        Of the request line and the headers together; a larger one is answered with 431.
    head_seconds
        From the connection, or a request's first byte, to the end of its headers.
    body_seconds
        From there to the end of its body.
    answer_seconds
        How long a client may leave its answer untaken.
    """

    max_connections: ClassVar[int] = 512
    max_head_bytes: ClassVar[int] = 64 * 1024
    head_seconds: ClassVar[float] = 20.0
    body_seconds: ClassVar[float] = 120.0
    answer_seconds: ClassVar[float] = 60.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._answer_deadline: asyncio.TimerHandle | None = None
        self._has_head = False
        self._refusal: HTTPStatus | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._allow(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        # Also for what begins no request, such as empty lines: they end the wait for one.
        if self._deadline is None:
            self._allow(self.head_seconds)
        self._head_bytes += len(data)
        super().data_received(data)
        is_over = not self._has_head and self._head_bytes > self.max_head_bytes
        if is_over and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # What the parser calls back

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._allow(self.head_seconds)

    def on_headers_complete(self) -> None:
        self._has_head = True
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.max_head_bytes:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        elif self.parser.should_upgrade():
            # The parser would take the body for the other protocol's.
            self._refusal = HTTPStatus.NOT_IMPLEMENTED
        if self._refusal is not None:
            raise _RefusedError
        self._allow(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._has_head, self._head_bytes = False, 0
        self._disarm()

    def send_400_response(self, msg: str) -> None:
        # The parser takes an error of `on_headers_complete` for one of the request.
        if self._refusal is None:
            super().send_400_response(msg)
        else:
            self._refuse(self._refusal)

    def _refuse(self, status: HTTPStatus) -> None:
        body = f"matinee: {_PHRASES[status]}\n".encode()
        self.transport.write(
            f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: text/plain\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()

    # Time

    def _allow(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._expire, seconds)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self, seconds: float) -> None:
        cycle = self.cycle
        is_answering = cycle is not None and not (cycle.response_complete or cycle.more_body)
        if self.pipeline or is_answering:
            # An earlier request of this client is answered first: the wait is not its fault.
            self._deadline = self.loop.call_later(seconds, self._expire, seconds)
            return
        self._deadline = None
        # Not ``close``, which waits until the client has taken what was written before.
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._answer_deadline is None:
            abort = self.transport.abort
            self._answer_deadline = self.loop.call_later(self.answer_seconds, abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answer_deadline is not None:
            self._answer_deadline.cancel()
            self._answer_deadline = None
