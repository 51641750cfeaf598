"""A CloudFormation whose one stack goes through the states that a test writes down.

moto's stacks take no time and never fail; this one speaks the same wire, and moves on when the
client waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

GONE = "DELETE_COMPLETE"
ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/matinee-test/1"
_TIME = "2026-01-01T00:00:00Z"


class Script:
    """The stack.

    Parameters
    ----------
    states
        The states it goes through, one each time that the client waits; it stays in the last.
    answers
        The states that it goes through after an operation instead.
    failure
        The reason of the resource that fails whenever the stack does.
    """

    def __init__(
        self, states: Sequence[str], answers: Mapping[str, Sequence[str]], failure: str = ""
    ) -> None:
        self._states = list(states)
        self._answers = answers
        self._failure = failure
        # Newest first, as CloudFormation lists them.
        self._events: list[dict[str, str]] = []
        self.asked: list[str] = []
        self._enter()

    def wait(self, _: float) -> None:
        """Go on to the next state."""
        assert len(self._states) > 1, f"it stays {self._states[0]}: nothing to wait for"
        del self._states[0]
        self._enter()

    def answer(self, request: Mapping[str, list[str]]) -> tuple[int, str]:
        """Answer a request with a status and XML."""
        operation = request["Action"][0]
        if operation in self._answers:
            self.asked.append(operation)
            self._states = list(self._answers[operation])
            self._enter()
            return 200, _result(operation, "")
        if operation == "DescribeStacks":
            if self._states[0] == GONE and request["StackName"] != [ID]:
                return 400, _GONE
            return 200, _result(operation, f"<Stacks>{_member(self._stack())}</Stacks>")
        assert operation == "DescribeStackEvents", operation
        events = "".join(_member(event) for event in self._events)
        return 200, _result(operation, f"<StackEvents>{events}</StackEvents>")

    def _enter(self) -> None:
        state = self._states[0]
        if state.endswith("_FAILED"):
            self._add("Database", "AWS::RDS::DBInstance", "UPDATE_FAILED", self._failure)
        self._add("matinee-test", "AWS::CloudFormation::Stack", state, "")

    def _add(self, name: str, kind: str, status: str, reason: str) -> None:
        event = {
            "StackId": ID, "EventId": str(len(self._events)), "StackName": "matinee-test",
            "LogicalResourceId": name, "ResourceType": kind, "Timestamp": _TIME,
            "ResourceStatus": status, "ResourceStatusReason": reason,
        }  # fmt: skip
        self._events.insert(0, event)

    def _stack(self) -> dict[str, str]:
        return {
            "StackId": ID, "StackName": "matinee-test", "CreationTime": _TIME,
            "Description": "matinee on AWS: a test", "StackStatus": self._states[0],
        }  # fmt: skip


_GONE = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>"
    "<Message>Stack with id matinee-test does not exist</Message></Error></ErrorResponse>"
)


def _member(values: Mapping[str, str]) -> str:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    return f"<member>{inner}</member>"


def _result(operation: str, inner: str) -> str:
    return (
        f"<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"
    )


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Serve it; give its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, text = script.answer(parse_qs(body))
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
