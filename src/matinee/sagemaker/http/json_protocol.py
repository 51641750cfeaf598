"""AWS JSON 1.0 and 1.1: times are epoch seconds, null means absent."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.errors import SerializationException, ServiceError
from matinee.sagemaker.http.documents import Notation
from matinee.sagemaker.http.protocols import Mismatches, Protocol, query_error


class JsonProtocol(Protocol):
    """Requests and answers are one JSON object."""

    def read(self, body: bytes, shape: Shape | None) -> dict[str, Any]:
        document = read_object(body)
        if shape is None:
            return {}
        mismatches = Mismatches()
        request: dict[str, Any] = JSON.read(document, shape, "", mismatches)
        mismatches.raise_if_any()
        return request

    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        shape = operation.output_shape
        body = {} if shape is None else JSON.write(answer, shape, operation.name)
        return _response(body, 200, operation.service_model, request_id)

    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        body = {"__type": error.code, "message": error.message}
        response = _response(body, error.status, model, request_id)
        response.headers.update(query_error(error, model))
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


def _read_scalar(value: Any, kind: str) -> Any:
    if kind == "timestamp":
        return datetime.fromtimestamp(value, UTC)
    if kind == "blob":
        return base64.b64decode(value, validate=True)
    if kind == "string":
        value.encode()  # JSON can spell half a character (a lone surrogate); nothing else can
    if kind in {"float", "double"} and not math.isfinite(value):
        raise ValueError(value)  # JSON can spell numbers that are too large for one
    return value


def _write_scalar(value: Any, kind: str) -> Any:
    if kind == "timestamp":
        return round(value.timestamp(), 3)
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind in {"float", "double"} and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


JSON = Notation(
    types={
        "string": (str,),
        "blob": (str,),
        "boolean": (bool,),
        "integer": (int,),
        "long": (int,),
        "float": (int, float),
        "double": (int, float),
        "timestamp": (int, float),
    },
    read_scalar=_read_scalar,
    write_scalar=_write_scalar,
)
