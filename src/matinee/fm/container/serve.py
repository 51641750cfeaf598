"""The container's `serve`: a model file's predictions over HTTP.

`GET /ping`, `POST /invocations` and `GET /execution-parameters`, for endpoints and for batch
transform. A body that cannot be scored is answered with 400 and one fixed sentence, as SageMaker's
own containers do; the cause is in the log. Bodies above 100 MiB are refused.
Source: SageMaker Developer Guide, "Use Your Own Inference Code".
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy
import uvicorn

from matinee.fm import artifact
from matinee.fm.container import logs, payloads
from matinee.fm.errors import ArtifactError, DataError
from matinee.fm.metrics import THRESHOLD
from matinee.fm.model import Model

LOGGER = logging.getLogger(__name__)

# The most that batch transform lets a job send (MaxPayloadInMB).
MAXIMUM_BODY = 100 * 1024 * 1024
# The words clients of SageMaker's built-in algorithms know.
NOT_EVALUATED = "unable to evaluate payload provided"
# SageMaker kills a container 30 s after SIGTERM.
_SHUTDOWN_SECONDS = 20
# Larger ones are read and scored beside the others.
_SMALL_BODY = 1 << 15

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Answer(NamedTuple):
    status: int
    body: bytes
    media_type: str = "text/plain; charset=utf-8"
    headers: Sequence[tuple[str, str]] = ()


_Handler: TypeAlias = Callable[[_Scope, _Receive], Awaitable[_Answer]]


def main(base: Path, environment: Mapping[str, str]) -> int:
    """Serve the model below `base` until SIGTERM.

    Parameters
    ----------
    base : Path
        Folder with `model`, as SageMaker lays it out below /opt/ml.
    environment : mapping
        SAGEMAKER_BIND_TO_PORT (8080), MATINEE_BIND_HOST (0.0.0.0), and SAGEMAKER_BATCH, which makes
        JSON Lines the default of responses.

    Returns
    -------
    int
        The exit status: 0 after SIGTERM, 1 if there is no model or the address is in use.
    """
    # The first process of a container would ignore SIGTERM if it had no handler.
    signal.signal(signal.SIGTERM, _stop)
    logs.configure()
    try:
        model = _read_model(base / "model")
    except (ArtifactError, OSError) as error:
        LOGGER.error("AlgorithmError: the model cannot be loaded: %s", error)
        return 1
    # The first process of all compiles the kernels: no request should wait for that.
    model.predict(numpy.empty((0, model.feature_dim), dtype=numpy.float32))
    host = environment.get("MATINEE_BIND_HOST", "0.0.0.0")  # noqa: S104 - a container's duty
    port = int(environment.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    batch = environment.get("SAGEMAKER_BATCH", "").lower() == "true"
    LOGGER.info("Serving a %s on port %d", model.predictor_type, port)
    uvicorn.run(
        ModelServer(model, payloads.JSON_LINES if batch else payloads.JSON),
        host=host,
        port=port,
        access_log=False,
        lifespan="off",
        log_config=None,
        ws="none",
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    return 0


class ModelServer:
    """The application that serves a model, as ASGI has it.

    There are three paths and no more to a request than its body, so that a framework would take
    longer than the model does.

    Parameters
    ----------
    model : Model
        What scores.
    default_response : str
        The media type for requests without an Accept header.
    """

    def __init__(self, model: Model, default_response: str) -> None:
        self._model, self._default_response = model, default_response
        self._routes: Mapping[str, tuple[Sequence[str], _Handler]] = {
            "/ping": (("GET", "HEAD"), self._ping),
            "/execution-parameters": (("GET", "HEAD"), self._execution_parameters),
            "/invocations": (("POST",), self._invocations),
        }

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        methods, handler = self._routes.get(scope["path"], ((), None))
        if handler is None:
            answer = _Answer(404, b"Not Found")
        elif scope["method"] not in methods:
            answer = _Answer(405, b"Method Not Allowed", headers=(("allow", ", ".join(methods)),))
        else:
            answer = await handler(scope, receive)
        headers = [("content-length", str(len(answer.body))), *answer.headers]
        if answer.body:
            headers.append(("content-type", answer.media_type))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _ping(self, scope: _Scope, receive: _Receive) -> _Answer:
        del scope, receive
        return _Answer(200, b"")

    async def _execution_parameters(self, scope: _Scope, receive: _Receive) -> _Answer:
        del scope, receive
        parameters = {
            "MaxConcurrentTransforms": os.cpu_count() or 1,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": 6,
        }
        return _Answer(200, json.dumps(parameters).encode(), payloads.JSON)

    async def _invocations(self, scope: _Scope, receive: _Receive) -> _Answer:
        # ASGI has names in lower case. Of a header that comes twice the first one counts.
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        try:
            request_type = payloads.request_type(headers.get(b"content-type"))
        except payloads.MediaTypeError as error:
            return _Answer(415, str(error).encode())
        try:
            response_type = payloads.response_type(headers.get(b"accept"), self._default_response)
        except payloads.MediaTypeError as error:
            return _Answer(406, str(error).encode())
        body = await _read_body(receive)
        if body is None:
            return _Answer(413, f"the body is above {MAXIMUM_BODY} bytes".encode())
        try:
            if len(body) <= _SMALL_BODY:
                # Sooner done than handed to a thread.
                scored = self._predict(body, request_type, response_type)
            else:
                scored = await asyncio.to_thread(self._predict, body, request_type, response_type)
        except (payloads.PayloadError, DataError) as error:
            LOGGER.warning("%s: %s", NOT_EVALUATED, error)
            return _Answer(400, NOT_EVALUATED.encode())
        return _Answer(200, scored, response_type)

    def _predict(self, body: bytes, request_type: str, response_type: str) -> bytes:
        scores = self._model.predict(payloads.decode(body, request_type))
        if not numpy.isfinite(scores).all():
            raise DataError("a score isn't finite: the features are too large for the model")
        labels = None
        if self._model.predictor_type == "binary_classifier":
            labels = (scores >= THRESHOLD).astype(numpy.float32)
        return payloads.encode(scores, labels, response_type)


async def _read_body(receive: _Receive) -> bytes | None:
    """Read a request's body; None, without reading the rest, if it is too large.

    Raises
    ------
    ConnectionError
        If the client has gone.
    """
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client has gone before its request was whole")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAXIMUM_BODY:
            return None
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _read_model(folder: Path) -> Model:
    paths = sorted(folder.glob("model_algo-*"))
    if len(paths) != 1:
        names = sorted(path.name for path in folder.iterdir())
        raise ArtifactError(f"{folder} must hold one file model_algo-1, but has {names}")
    return artifact.read(paths[0])


def _stop(signal_number: int, frame: object) -> NoReturn:
    del signal_number, frame
    sys.exit(0)
