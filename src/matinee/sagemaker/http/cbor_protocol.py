"""Smithy RPC v2 CBOR: the path names the operation, bodies are CBOR, times are tagged numbers.

CloudWatch offers it beside JSON; some SDKs prefer it. Source: "Smithy RPC v2 CBOR protocol".
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import cbor2
from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.errors import SerializationException, ServiceError
from matinee.sagemaker.http.auth import ReceivedRequest
from matinee.sagemaker.http.documents import Notation
from matinee.sagemaker.http.protocols import Mismatches, Protocol, query_error

HEADER = "smithy-protocol"
NAME = "rpc-v2-cbor"
_PATH = re.compile(r"/service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9_]+)")
_EPOCH_TAG = 1
# Of strings and of values that are written once and referred to. The protocol has none, and a
# small body could mean a very large request.
_REFERENCE_TAGS = (25, 28, 29)


def _refuse_reference(*_: object) -> None:
    raise ValueError("references are not read")


_DECODERS = dict.fromkeys(_REFERENCE_TAGS, _refuse_reference)


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
            document = cbor2.loads(body, semantic_decoders=_DECODERS) if body else {}
        except (cbor2.CBORDecodeError, RecursionError, ValueError) as error:
            raise SerializationException(f"the body is not CBOR: {error}") from error
        if not isinstance(document, dict):
            raise SerializationException("the body is not a CBOR map")
        if shape is None:
            return {}
        mismatches = Mismatches()
        request: dict[str, Any] = _CBOR.read(document, shape, "", mismatches)
        mismatches.raise_if_any()
        return request

    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        shape = operation.output_shape
        if shape is None:
            headers = {HEADER: NAME, "x-amzn-RequestId": request_id}
            return Response(b"", 200, headers)
        return _response(_CBOR.write(answer, shape, operation.name), 200, request_id)

    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        body = {"__type": error.code, "message": error.message}
        response = _response(body, error.status, request_id)
        response.headers.update(query_error(error, model))
        return response


def _response(body: Any, status: int, request_id: str) -> Response:
    headers = {HEADER: NAME, "x-amzn-RequestId": request_id}
    return Response(cbor2.dumps(body), status, headers, media_type="application/cbor")


def _read_scalar(value: Any, _kind: str) -> Any:
    return value


def _write_scalar(value: Any, kind: str) -> Any:
    if kind == "timestamp":
        return cbor2.CBORTag(_EPOCH_TAG, round(value.timestamp(), 3))
    return float(value) if kind in {"float", "double"} else value


_CBOR = Notation(
    types={
        "string": (str,),
        "blob": (bytes,),
        "boolean": (bool,),
        "integer": (int,),
        "long": (int,),
        "float": (int, float),
        "double": (int, float),
        "timestamp": (datetime,),
    },
    read_scalar=_read_scalar,
    write_scalar=_write_scalar,
)
