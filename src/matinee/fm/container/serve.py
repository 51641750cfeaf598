"""The container's `serve`: a model file's predictions over HTTP.

`GET /ping`, `POST /invocations` and `GET /execution-parameters`, for endpoints and for batch
transform. A body that cannot be scored is answered with 400 and one fixed sentence, as SageMaker's
own containers do; the cause is in the log. Bodies above 100 MiB are refused.
Source: SageMaker Developer Guide, "Use Your Own Inference Code".
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

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
        make_app(model, payloads.JSON_LINES if batch else payloads.JSON),
        host=host,
        port=port,
        access_log=False,
        lifespan="off",
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    return 0


def make_app(model: Model, default_response: str) -> Starlette:
    """Make the application that serves a model.

    Parameters
    ----------
    model : Model
        What scores.
    default_response : str
        The media type for requests without an Accept header.
    """

    async def ping(request: Request) -> Response:
        del request
        return Response()

    async def execution_parameters(request: Request) -> Response:
        del request
        return JSONResponse(
            {
                "MaxConcurrentTransforms": os.cpu_count() or 1,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": 6,
            }
        )

    async def invocations(request: Request) -> Response:
        try:
            request_type = payloads.request_type(request.headers.get("content-type"))
        except payloads.MediaTypeError as error:
            return PlainTextResponse(str(error), 415)
        try:
            response_type = payloads.response_type(request.headers.get("accept"), default_response)
        except payloads.MediaTypeError as error:
            return PlainTextResponse(str(error), 406)
        body = await _read_body(request)
        if body is None:
            return PlainTextResponse(f"the body is above {MAXIMUM_BODY} bytes", 413)
        try:
            answer = await run_in_threadpool(_predict, model, body, request_type, response_type)
        except (payloads.PayloadError, DataError) as error:
            LOGGER.warning("%s: %s", NOT_EVALUATED, error)
            return PlainTextResponse(NOT_EVALUATED, 400)
        return Response(answer, media_type=response_type)

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/execution-parameters", execution_parameters),
            Route("/invocations", invocations, methods=["POST"]),
        ]
    )


def _predict(model: Model, body: bytes, request_type: str, response_type: str) -> bytes:
    features = payloads.decode(body, request_type)
    scores = model.predict(features)
    if not numpy.isfinite(scores).all():
        raise DataError("a score isn't finite: the features are too large for the model")
    labels = None
    if model.predictor_type == "binary_classifier":
        labels = (scores >= THRESHOLD).astype(numpy.float32)
    return payloads.encode(scores, labels, response_type)


async def _read_body(request: Request) -> bytes | None:
    """Read a request's body; None, without reading the rest, if it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAXIMUM_BODY:
            return None
    return bytes(body)


def _read_model(folder: Path) -> Model:
    paths = sorted(folder.glob("model_algo-*"))
    if len(paths) != 1:
        names = sorted(path.name for path in folder.iterdir())
        raise ArtifactError(f"{folder} must hold one file model_algo-1, but has {names}")
    return artifact.read(paths[0])


def _stop(signal_number: int, frame: object) -> NoReturn:
    del signal_number, frame
    sys.exit(0)
