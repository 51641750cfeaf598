"""AWS REST-JSON: the method and the path name the operation, headers and query hold members too.

Where each member stands comes from botocore's model: in the path, the query, a header, as the whole
body (the payload) or in a JSON body. Event streams and paths with a query of their own, which no
operation served here has, are refused when the services are loaded.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterator
from datetime import UTC
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.errors import SerializationException, ServiceError
from matinee.sagemaker.http.auth import ReceivedRequest
from matinee.sagemaker.http.json_protocol import JSON, read_object
from matinee.sagemaker.http.protocols import (
    Mismatches,
    Protocol,
    present_members,
    read_text,
    wire_name,
)

_JSON = "application/json"
_LABEL = re.compile(r"\{([^{}+]+)(\+?)\}")


class RestProtocol(Protocol):
    """A request whose method and path say what it asks for.

    Parameters
    ----------
    request
        As received.
    """

    def __init__(self, request: ReceivedRequest) -> None:
        self._request = request
        path, _, self._query = request.target.partition("?")
        self._path = path
        self._labels: dict[str, str] = {}

    def find(self, model: ServiceModel) -> str | None:
        """Return the operation of a service that the request asks for; None: none of it."""
        for name, method, pattern in _routes(model):
            if method == self._request.method and (found := pattern.fullmatch(self._path)):
                self._labels = found.groupdict()
                return name
        return None

    def read(self, body: bytes, shape: Shape | None) -> dict[str, Any]:
        if shape is None:
            return {}
        mismatches = Mismatches()
        request = self._read_located(shape, mismatches)
        payload = shape.serialization.get("payload")
        if payload is None:
            request |= _read_members(body, shape, mismatches)
        else:
            value = _read_payload(body, shape.members[payload], payload, mismatches)
            if value is not None:
                request[payload] = value
        mismatches.raise_if_any()
        return request

    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        shape = operation.output_shape
        status = operation.http.get("responseCode", 200)
        headers = {"x-amzn-RequestId": request_id}
        if shape is None:
            return Response(b"", status, headers)
        payload = shape.serialization.get("payload")
        members: dict[str, Any] = {}
        body: bytes | None = None
        for name, value, member in present_members(answer, shape, operation.name):
            location = member.serialization.get("location")
            if location == "header":
                headers[wire_name(name, member)] = _header_text(value, member)
            elif location == "headers":
                prefix = wire_name(name, member)
                headers |= {f"{prefix}{key}": str(item) for key, item in value.items()}
            elif location == "statusCode":
                status = int(value)
            elif name == payload:
                body = _payload_bytes(value, member, name)
            else:
                members[wire_name(name, member)] = JSON.write(value, member, name)
        if payload is None:
            headers.setdefault("Content-Type", _JSON)
            body = json.dumps(members, allow_nan=False).encode()
        return Response(body or b"", status, headers)

    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        shapes = () if model is None else model.error_shapes
        modelled = next((shape for shape in shapes if shape.name == error.code), None)
        names = () if modelled is None else modelled.members
        said = next((name for name in names if name.lower() == "message"), "message")
        return Response(
            json.dumps({said: error.message, **error.details}),
            error.status,
            {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.code},
            media_type=_JSON,
        )

    def _read_located(self, shape: Shape, mismatches: Mismatches) -> dict[str, Any]:
        """Return the members that stand in the path, the headers and the query."""
        found: dict[str, Any] = {}
        headers = {name.lower(): value for name, value in reversed(self._request.headers)}
        query: dict[str, list[str]] | None = None
        for name, member, location, called in _located(shape):
            texts: list[str] = []
            if location == "uri":
                texts = [unquote(self._labels[called])]
            elif location == "header":
                text = headers.get(called)
                texts = [text] if text else []
            elif location == "querystring":
                query = _read_query(self._query) if query is None else query
                texts = query.get(called, [])
            elif location == "headers":
                found[name] = self._prefixed_headers(called)
            if texts:
                found[name] = _read_texts(texts, member, name, mismatches)
        return found

    def _prefixed_headers(self, prefix: str) -> dict[str, str]:
        return {
            key[len(prefix) :]: value
            for key, value in self._request.headers
            if key.lower().startswith(prefix)
        }


def check_is_served(operation: OperationModel) -> None:
    """Refuse an operation this protocol cannot read or write whole.

    Raises
    ------
    ValueError
        Its path holds a query, or its input or output an event stream.
    """
    if "?" in operation.http["requestUri"]:
        raise ValueError(f"{operation.name}: a path with a query is not served")
    if operation.has_event_stream_input or operation.has_event_stream_output:
        raise ValueError(f"{operation.name}: event streams are not served")


@functools.cache
def _routes(model: ServiceModel) -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    found = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        template = http["requestUri"].partition("?")[0]
        found.append((name, http["method"], re.compile("".join(_pattern(template)))))
    return tuple(found)


@functools.cache
def _located(shape: Shape) -> tuple[tuple[str, Shape, str, str], ...]:
    """Return name, shape, location and name there of the members that are not in the body."""
    found = []
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        if location is None:
            continue
        called = wire_name(name, member)
        if location == "uri":
            called = _group(called)
        elif location in {"header", "headers"}:
            called = called.lower()
        found.append((name, member, location, called))
    return tuple(found)


def _pattern(template: str) -> Iterator[str]:
    end = 0
    for label in _LABEL.finditer(template):
        yield re.escape(template[end : label.start()])
        yield f"(?P<{_group(label[1])}>{'.+' if label[2] else '[^/]+'})"
        end = label.end()
    yield re.escape(template[end:])


def _group(label: str) -> str:
    return re.sub(r"\W", "_", label)


def _read_query(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise SerializationException(f"cannot read the query {query!r}: {error}") from error


def _read_members(body: bytes, shape: Shape, mismatches: Mismatches) -> dict[str, Any]:
    """Return the members of a JSON body."""
    members = {
        name: member
        for name, member in shape.members.items()
        if "location" not in member.serialization
    }
    if not members:
        return {}
    document = read_object(body)
    return {
        name: JSON.read(document[wire_name(name, member)], member, name, mismatches)
        for name, member in members.items()
        if document.get(wire_name(name, member)) is not None
    }


def _read_payload(body: bytes, shape: Shape, name: str, mismatches: Mismatches) -> Any:
    if shape.type_name == "blob":
        return body
    if not body:
        return None
    if shape.type_name == "string":
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise SerializationException(f"the body is not UTF-8: {error}") from error
    return JSON.read(read_object(body), shape, name, mismatches)


def _read_texts(texts: list[str], shape: Shape, name: str, mismatches: Mismatches) -> Any:
    """Return the value of a member of the path, a header or the query."""
    if shape.type_name == "list":
        if shape.serialization["location"] == "header":
            texts = [text.strip() for text in texts[0].split(",")]
        return [_read_text(text, shape.member, name, mismatches) for text in texts]
    return _read_text(texts[0], shape, name, mismatches)


def _read_text(text: str, shape: Shape, name: str, mismatches: Mismatches) -> Any:
    try:
        return read_text(text, shape.type_name)
    except (ValueError, OverflowError, OSError):
        mismatches.add(name, shape, text)
        return None


def _payload_bytes(value: Any, shape: Shape, name: str) -> bytes:
    if shape.type_name == "blob":
        return bytes(value)
    if shape.type_name == "string":
        return str(value).encode()
    return json.dumps(JSON.write(value, shape, name), allow_nan=False).encode()


def _header_text(value: Any, shape: Shape) -> str:
    if shape.type_name == "list":
        return ",".join(_header_text(item, shape.member) for item in value)
    if shape.type_name == "boolean":
        return "true" if value else "false"
    if shape.type_name == "timestamp":
        style = shape.serialization.get("timestampFormat", "rfc822")
        if style == "iso8601":
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if style == "unixTimestamp":
            return str(int(value.timestamp()))
        return format_datetime(value.astimezone(UTC), usegmt=True)
    if shape.type_name == "blob":
        return base64.b64encode(value).decode()
    return str(value)
