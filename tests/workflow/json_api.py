"""An AWS API of the JSON protocol over HTTP, answered by functions: what boto3 sends comes in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Operation = Callable[..., dict[str, Any]]


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the server
    """The operation answers with an error of this name."""


@contextmanager
def serving(operations: Mapping[str, Operation]) -> Iterator[str]:
    """Serve operations, by their names, on loopback; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, answer = 200, {}
            try:
                answer = operations[name](**request)
            except Refused as error:
                status, answer = 400, {"__type": str(error), "Message": str(error)}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the functions keep what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
