"""The server as an ASGI application: one address for all the AWS services matinee has.

A request passes the Host and Origin check, the size limit and the signature check before anything
of it is interpreted. Operations are plain functions and run in worker threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from matinee.sagemaker.auth import ReceivedRequest, SignatureVerifier
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import InvalidSignature, RequestEntityTooLarge, ServiceError
from matinee.sagemaker.loopback import LoopbackOnly
from matinee.sagemaker.services import (
    iam,
    logs,
    metrics,
    models,
    sts,
    tags,
    training_jobs,
    transform_jobs,
    tuning_jobs,
)
from matinee.sagemaker.wire import Exchange, Service, load_services, perform

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20

OPERATIONS: Mapping[str, Mapping[str, Operation]] = {
    "sagemaker": {
        **models.OPERATIONS,
        **tags.OPERATIONS,
        **training_jobs.OPERATIONS,
        **transform_jobs.OPERATIONS,
        **tuning_jobs.OPERATIONS,
    },
    "logs": logs.OPERATIONS,
    "monitoring": metrics.OPERATIONS,
    "iam": iam.OPERATIONS,
    "sts": sts.OPERATIONS,
}

# Clients sign for these in us-east-1 wherever they are.
_GLOBAL_SERVICES = {"iam", "sts"}


def create_app(context: Context, verifier: SignatureVerifier) -> Starlette:
    """Return the application.

    Parameters
    ----------
    context
        Given to every operation.
    verifier
        Decides which requests are from the holder of the keys.
    """
    services = load_services(OPERATIONS)
    endpoint = _Endpoint(context, verifier, services)
    return Starlette(
        routes=[
            Route("/_matinee/health", _health, methods=["GET"]),
            Route("/{path:path}", endpoint.answer, methods=["GET", "POST", "PUT", "DELETE"]),
        ],
        middleware=[Middleware(LoopbackOnly)],
    )


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok", "version": version("matinee")})


class _Endpoint:
    """Answers every request but the health check's."""

    def __init__(
        self, context: Context, verifier: SignatureVerifier, services: Mapping[str, Service]
    ) -> None:
        self._context = context
        self._verifier = verifier
        self._services = services

    async def answer(self, request: Request) -> Response:
        started = time.monotonic()
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        exchange = Exchange(_received(request, body or b""), self._context.new_id())
        if body is None:
            error = RequestEntityTooLarge(f"the body is over {MAX_BODY_BYTES} bytes")
            response = exchange.refuse(error)
            # What the client is still sending would be taken for its next request.
            response.headers["connection"] = "close"
        else:
            response = await run_in_threadpool(self._respond, exchange)
        asked = exchange.operation or f"{request.method} {exchange.request.target}"
        log.info(
            "%s %s -> %d in %.0f ms, request %s",
            "-" if exchange.service is None else exchange.service.signing_name,
            asked.encode("unicode_escape").decode(),  # it may hold line breaks
            response.status_code,
            1000 * (time.monotonic() - started),
            exchange.request_id,
        )
        return response

    def _respond(self, exchange: Exchange) -> Response:
        try:
            scope = self._verifier.verify(exchange.request)
            region = self._context.region
            if scope.service not in _GLOBAL_SERVICES and scope.region != region:
                raise InvalidSignature(
                    f"Credential should be scoped to a valid region: {region!r}, "
                    f"not {scope.region!r}"
                )
            return perform(exchange, self._services, scope.service, self._context)
        except ServiceError as error:
            return exchange.refuse(error)
        except Exception:  # noqa: BLE001 - logged with its cause; the caller must get an answer
            return exchange.fail()


def _received(request: Request, body: bytes) -> ReceivedRequest:
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    target = path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
    return ReceivedRequest(request.method, target, request.headers.items(), body)


async def _read_body(request: Request) -> bytes | None:
    """Read the body; None when it is over the limit."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
