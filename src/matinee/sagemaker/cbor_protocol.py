"""Smithy RPC v2 CBOR: the path names the operation, bodies are CBOR, times are tagged numbers.

CloudWatch offers it beside JSON; some SDKs prefer it. Source: "Smithy RPC v2 CBOR protocol".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import cbor2
from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.auth import ReceivedRequest
from matinee.sagemaker.errors import SerializationException, ServiceError
from matinee.sagemaker.protocols import (
    Mismatches,
    Protocol,
    fault,
    present_members,
    query_code,
    wire_name,
)

HEADER = "smithy-protocol"
NAME = "rpc-v2-cbor"
_PATH = re.compile(r"/service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9_]+)")
_EPOCH_TAG = 1

_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (bytes,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (datetime,),
}


class CborProtocol(Protocol):
    """Requests and answers are one CBOR map.

    Parameters
    ----------
    request
        As received.
    """

    def __init__(self, request: ReceivedRequest) -> None:
        found = _PATH.fullmatch(request.target)
        self._service, self.operation = found.groups() if found else ("", "")

    def is_for(self, model: ServiceModel) -> bool:
        """Return whether the path names this service."""
        return bool(self._service == model.metadata.get("targetPrefix"))

    def read(self, body: bytes, shape: Shape | None) -> dict[str, Any]:
        try:
            document = cbor2.loads(body) if body else {}
        except (cbor2.CBORDecodeError, RecursionError, ValueError) as error:
            raise SerializationException(f"the body is not CBOR: {error}") from error
        if not isinstance(document, dict):
            raise SerializationException("the body is not a CBOR map")
        if shape is None:
            return {}
        mismatches = Mismatches()
        request: dict[str, Any] = _from_cbor(document, shape, "", mismatches)
        mismatches.raise_if_any()
        return request

    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        shape = operation.output_shape
        if shape is None:
            headers = {HEADER: NAME, "x-amzn-RequestId": request_id}
            return Response(b"", 200, headers)
        return _response(_to_cbor(answer, shape, operation.name), 200, request_id)

    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        body = {"__type": error.code, "message": error.message}
        response = _response(body, error.status, request_id)
        if model is not None and "awsQueryCompatible" in model.metadata:
            response.headers["x-amzn-query-error"] = f"{query_code(error, model)};{fault(error)}"
        return response


def _response(body: Any, status: int, request_id: str) -> Response:
    headers = {HEADER: NAME, "x-amzn-RequestId": request_id}
    return Response(cbor2.dumps(body), status, headers, media_type="application/cbor")


def _from_cbor(value: Any, shape: Shape, path: str, mismatches: Mismatches) -> Any:
    kind = shape.type_name
    if not _has_type(value, kind):
        mismatches.add(path, shape, value)
        return None
    if kind == "structure":
        prefix = f"{path}." if path else ""
        return {
            name: _from_cbor(value[called], member, f"{prefix}{name}", mismatches)
            for name, member in shape.members.items()
            if value.get(called := wire_name(name, member)) is not None
        }
    if kind == "list":
        return [
            _from_cbor(item, shape.member, f"{path}[{index}]", mismatches)
            for index, item in enumerate(value)
        ]
    if kind == "map":
        return {
            _from_cbor(key, shape.key, path, mismatches): _from_cbor(
                item, shape.value, f"{path}[{key!r}]", mismatches
            )
            for key, item in value.items()
        }
    return value


def _has_type(value: Any, kind: str) -> bool:
    # To Python, but not to CBOR, true is a number.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _to_cbor(value: Any, shape: Shape, path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            wire_name(name, member): _to_cbor(item, member, f"{path}.{name}")
            for name, item, member in present_members(value, shape, path)
        }
    if kind == "list":
        return [_to_cbor(item, shape.member, path) for item in value]
    if kind == "map":
        return {key: _to_cbor(item, shape.value, path) for key, item in value.items()}
    if kind == "timestamp":
        return cbor2.CBORTag(_EPOCH_TAG, round(value.timestamp(), 3))
    return float(value) if kind in {"float", "double"} else value
