"""AWS JSON 1.0 and 1.1: times are epoch seconds, null means absent."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.errors import SerializationException, ServiceError
from matinee.sagemaker.protocols import (
    Mismatches,
    Protocol,
    fault,
    present_members,
    query_code,
    wire_name,
)


class JsonProtocol(Protocol):
    """Requests and answers are one JSON object."""

    def read(self, body: bytes, shape: Shape | None) -> dict[str, Any]:
        document = read_object(body)
        if shape is None:
            return {}
        mismatches = Mismatches()
        request: dict[str, Any] = from_json(document, shape, "", mismatches)
        mismatches.raise_if_any()
        return request

    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        shape = operation.output_shape
        body = {} if shape is None else to_json(answer, shape, operation.name)
        return _response(body, 200, operation.service_model, request_id)

    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        body = {"__type": error.code, "message": error.message}
        response = _response(body, error.status, model, request_id)
        # CloudWatch spoke query before; clients of today still know its errors by the old codes.
        if model is not None and "awsQueryCompatible" in model.metadata:
            response.headers["x-amzn-query-error"] = f"{query_code(error, model)};{fault(error)}"
        return response


def read_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be one JSON object; an empty one is an empty object.

    Raises
    ------
    SerializationException
        It is not.
    """
    try:
        document = json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationException(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SerializationException("the body is not a JSON object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _response(body: Any, status: int, model: ServiceModel | None, request_id: str) -> Response:
    version = "1.1" if model is None else model.metadata.get("jsonVersion", "1.1")
    return Response(
        json.dumps(body, allow_nan=False),
        status,
        {"x-amzn-RequestId": request_id},
        media_type=f"application/x-amz-json-{version}",
    )


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


def _has_type(value: Any, kind: str) -> bool:
    # To Python, but not to JSON, true is a number.
    return isinstance(value, _JSON_TYPES[kind]) and (
        kind == "boolean" or not isinstance(value, bool)
    )


def from_json(value: Any, shape: Shape, path: str, mismatches: Mismatches) -> Any:
    """Return a shape's value of what JSON says; what has another type is noted."""
    kind = shape.type_name
    if not _has_type(value, kind):
        mismatches.add(path, shape, value)
        return None
    if kind == "structure":
        prefix = f"{path}." if path else ""
        return {
            name: from_json(value[called], member, f"{prefix}{name}", mismatches)
            for name, member in shape.members.items()
            if value.get(called := wire_name(name, member)) is not None
        }
    if kind == "list":
        return [
            from_json(item, shape.member, f"{path}[{index}]", mismatches)
            for index, item in enumerate(value)
        ]
    if kind == "map":
        return {
            from_json(key, shape.key, path, mismatches): from_json(
                item, shape.value, f"{path}[{key!r}]", mismatches
            )
            for key, item in value.items()
        }
    try:
        return _scalar(value, kind)
    except (ValueError, OverflowError, OSError):
        mismatches.add(path, shape, value)
        return None


def _scalar(value: Any, kind: str) -> Any:
    if kind == "timestamp":
        return datetime.fromtimestamp(value, UTC)
    if kind == "blob":
        return base64.b64decode(value, validate=True)
    if kind == "string":
        value.encode()  # JSON can spell half a character (a lone surrogate); nothing else can
    return value


def to_json(value: Any, shape: Shape, path: str) -> Any:
    """Return what is written as JSON for a shape's value.

    Raises
    ------
    ValueError
        A structure has a member the model does not know.
    """
    kind = shape.type_name
    if kind == "structure":
        return {
            wire_name(name, member): to_json(item, member, f"{path}.{name}")
            for name, item, member in present_members(value, shape, path)
        }
    if kind == "list":
        return [to_json(item, shape.member, path) for item in value]
    if kind == "map":
        return {key: to_json(item, shape.value, path) for key, item in value.items()}
    if kind == "timestamp":
        return round(value.timestamp(), 3)
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind in {"float", "double"} and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value
