"""An S3 between the server and the real one that fails at the n-th request.

It passes on what it gets byte by byte, so signatures stay good, until its turn comes: then it
answers with an error, answers with nothing, or breaks off in the middle of a body.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# What may happen to a request.
FAULTS = ("error", "close", "cut the request", "cut the answer", "refuse")
_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>as told</Message></Error>"
_BY_HOP = {"connection", "transfer-encoding", "content-length"}


class FailingS3:
    """The S3 in front of the real one.

    Parameters
    ----------
    endpoint
        Of the real one.
    """

    def __init__(self, endpoint: str) -> None:
        self._real = urlsplit(endpoint).netloc
        self._lock = threading.Lock()
        self._kind, self._first, self._count = "", 0, 0
        proxy = self

        class Handler(_Handler):
            s3 = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def arm(self, kind: str, first: int, count: int = 1) -> None:
        """Let so many requests fail from the first of these on, counted from 1."""
        with self._lock:
            self._kind, self._first, self._count = kind, first, count

    def disarm(self) -> bool:
        """Pass on everything again; return whether a request has failed."""
        with self._lock:
            struck, self._kind = self._first <= 0, ""
        return struck

    def fault(self) -> str:
        """Count a request; return what happens to it, nothing by default."""
        with self._lock:
            if not self._kind:
                return ""
            self._first -= 1
            return self._kind if -self._count < self._first <= 0 else ""

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._real, timeout=60)

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: FailingS3

    def _pass_on(self) -> None:
        fault = self.s3.fault()
        size = int(self.headers.get("Content-Length", 0))
        if fault == "cut the request":
            self.rfile.read(size // 2)
            self._break_off()
            return
        body = self.rfile.read(size)
        if fault == "close":
            self._break_off()
            return
        if fault in {"error", "refuse"}:
            status, code = (500, b"InternalError") if fault == "error" else (403, b"AccessDenied")
            self._answer(status, {}, _ERROR % code)
            return
        connection = self.s3.connect()
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _BY_HOP}
            length = answer.getheader("Content-Length")
            data = answer.read()
        finally:
            connection.close()
        if self.command == "HEAD" and length is not None:
            headers["Content-Length"] = length
        self._answer(answer.status, headers, data, is_cut=fault == "cut the answer")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - http.server's names

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, *, is_cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if is_cut:
            self.wfile.write(body[: len(body) // 2])
            self._break_off()
        elif self.command != "HEAD":
            self.wfile.write(body)

    def _break_off(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def failing_s3(endpoint: str) -> Iterator[FailingS3]:
    """Run one."""
    proxy = FailingS3(endpoint)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
