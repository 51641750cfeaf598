"""What the protocols of AWS's clients have in common: read a request, write an answer or an error.

A protocol walks the service's model; no field list is written by hand. A body that is not what the
protocol or the model's types say is refused, with every mismatch named. Members unknown to the
model are ignored in requests, as AWS does, and are a fault in answers.
"""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.errors import SerializationException, ServiceError


class Protocol(ABC):
    """How requests are read and answers written."""

    @abstractmethod
    def read(self, body: bytes, shape: Shape | None) -> dict[str, Any]:
        """Parse a body into a dict of the input shape's members.

        Raises
        ------
        SerializationException
            The body cannot be parsed, or values have other types than the model's.
        """

    @abstractmethod
    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        """Write an operation's answer by its output shape."""

    @abstractmethod
    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        """Write an error; without a model when the service is not known yet."""


class Mismatches:
    """Collects what has the wrong type, so that one answer can name it all."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, path: str, shape: Shape, value: Any) -> None:
        """Note that the value at a path is not of the shape's type."""
        shown = "the value" if shape.metadata.get("sensitive") else f"{value!r:.80}"
        self._found.append(f"{path}: {shown} is not of type {shape.type_name}")

    def raise_if_any(self) -> None:
        """Raise SerializationException naming all that was noted."""
        if self._found:
            raise SerializationException("; ".join(self._found))


def present_members(
    answer: Mapping[str, Any], shape: Shape, path: str
) -> Iterator[tuple[str, Any, Shape]]:
    """Yield name, value and shape of the members an answer has.

    Raises
    ------
    ValueError
        The answer has a member the model does not know.
    """
    # In the answer's order: of the many members of a shape an answer has few.
    members = shape.members
    if not answer.keys() <= members.keys():
        unknown = sorted(answer.keys() - members.keys())
        raise ValueError(f"{path}: not in the service's model: {', '.join(unknown)}")
    for name, value in answer.items():
        if value is not None:
            yield name, value, members[name]


def wire_name(name: str, member: Shape) -> str:
    """Return what a structure's member is called in JSON, in a header or in a query."""
    called: str = member.serialization.get("name", name)
    return called


def read_text(text: str, kind: str) -> Any:
    """Return the scalar that stands as text in a form, a path, a header or a query.

    Parameters
    ----------
    text
        As sent.
    kind
        The type in the model.

    Raises
    ------
    ValueError, OverflowError, OSError
        The text is none of this type.
    """
    if kind in {"integer", "long"}:
        return int(text)
    if kind in {"float", "double"}:
        return float(text)
    if kind == "boolean":
        if text not in {"true", "false"}:
            raise ValueError(text)
        return text == "true"
    if kind == "timestamp":
        return _read_time(text)
    if kind == "blob":
        return base64.b64decode(text, validate=True)
    return text


def _read_time(text: str) -> datetime:
    """Read seconds since 1970, a date of HTTP or one of ISO 8601: clients send all of them."""
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    if text[:1].isalpha():
        return parsedate_to_datetime(text).astimezone(UTC)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def query_code(error: ServiceError, model: ServiceModel | None) -> str:
    """Return the error's code in the query protocol."""
    codes = {} if model is None else {shape.name: shape.error_code for shape in model.error_shapes}
    code: str = codes.get(error.code, error.query_code or error.code)
    return code


def fault(error: ServiceError) -> str:
    """Return whose fault an error is, in the query protocol's words."""
    return "Sender" if error.status < 500 else "Receiver"


def query_error(error: ServiceError, model: ServiceModel | None) -> dict[str, str]:
    """Return the header by which clients know the errors of a service that spoke query before."""
    if model is None or "awsQueryCompatible" not in model.metadata:
        return {}
    return {"x-amzn-query-error": f"{query_code(error, model)};{fault(error)}"}
