"""The server as an ASGI application: one address for all the AWS services matinee has.

A request passes the Host and Origin check, the size limit and the signature check before anything
of it is interpreted. Operations are plain functions and run in worker threads; those that only pass
a request on to an endpoint's model run in the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from matinee.sagemaker.console.app import create_console
from matinee.sagemaker.console.options import ConsoleOptions
from matinee.sagemaker.context import AnyOperation, Context
from matinee.sagemaker.errors import (
    InvalidSignature,
    RequestEntityTooLarge,
    ServiceError,
    ServiceUnavailable,
)
from matinee.sagemaker.http.auth import ReceivedRequest, SignatureVerifier
from matinee.sagemaker.http.bodies import read_body
from matinee.sagemaker.http.loopback import AllowedHosts
from matinee.sagemaker.http.wire import Exchange, Service, load_services, perform, perform_here
from matinee.sagemaker.services import (
    associations,
    autoscaling,
    ecr,
    endpoint_configs,
    endpoints,
    experiment_trials,
    experiments,
    iam,
    iam_policies,
    lineage_entities,
    log_search,
    logs,
    metric_data,
    metrics,
    model_package_groups,
    model_packages,
    models,
    processing_jobs,
    runtime,
    search,
    sts,
    tags,
    training_jobs,
    training_metrics,
    transform_jobs,
    trial_components,
    tuning_jobs,
)
from matinee.sagemaker.store import StoreError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
# SageMaker's quota for the payload of an invocation.
MAX_INVOCATION_BYTES = 25 << 20
_INVOCATIONS = "/endpoints/"
_FIRST_ERROR = 400

OPERATIONS: Mapping[str, Mapping[str, AnyOperation]] = {
    "sagemaker": {
        **endpoint_configs.OPERATIONS,
        **endpoints.OPERATIONS,
        **associations.OPERATIONS,
        **experiment_trials.OPERATIONS,
        **experiments.OPERATIONS,
        **lineage_entities.OPERATIONS,
        **model_package_groups.OPERATIONS,
        **model_packages.OPERATIONS,
        **models.OPERATIONS,
        **processing_jobs.OPERATIONS,
        **search.OPERATIONS,
        **tags.OPERATIONS,
        **training_jobs.OPERATIONS,
        **transform_jobs.OPERATIONS,
        **trial_components.OPERATIONS,
        **tuning_jobs.OPERATIONS,
    },
    "sagemaker-runtime": runtime.OPERATIONS,
    "sagemaker-metrics": training_metrics.OPERATIONS,
    "application-autoscaling": autoscaling.OPERATIONS,
    "logs": {**logs.OPERATIONS, **log_search.OPERATIONS},
    "monitoring": {**metrics.OPERATIONS, **metric_data.OPERATIONS},
    "ecr": ecr.OPERATIONS,
    "iam": {**iam.OPERATIONS, **iam_policies.OPERATIONS},
    "sts": sts.OPERATIONS,
}

# Those that only keep what they are told: nothing here acts on it.
RECORDED: Mapping[str, frozenset[str]] = {
    "sagemaker": model_package_groups.RECORDED,
    "application-autoscaling": autoscaling.RECORDED,
}

# Clients sign for these in us-east-1 wherever they are.
_GLOBAL_SERVICES = {"iam", "sts"}


def create_app(
    context: Context,
    verifier: SignatureVerifier,
    allowed_hosts: Collection[str] = (),
    console: ConsoleOptions | None = None,
) -> Starlette:
    """Return the application.

    Parameters
    ----------
    context
        Given to every operation.
    verifier
        Decides which requests are from the holder of the keys.
    allowed_hosts
        Names clients may use besides those of loopback.
    console
        How the console is to be; None: there is none.

    Raises
    ------
    PageError
        A page that the console is to have besides its own cannot be made.
    """
    services = load_services(OPERATIONS)
    endpoint = _Endpoint(context, verifier, services)
    return Starlette(
        routes=[
            Route("/_matinee/health", _health, methods=["GET"]),
            *_console(context, console),
            Route("/{path:path}", endpoint.answer, methods=["GET", "POST", "PUT", "DELETE"]),
        ],
        middleware=[Middleware(AllowedHosts, names=allowed_hosts)],
    )


def _console(context: Context, options: ConsoleOptions | None) -> list[BaseRoute]:
    # No service of AWS has a path that begins so.
    if options is None:
        return []
    return [
        Route("/console", lambda _: RedirectResponse("/console/"), methods=["GET"]),
        Mount("/console", create_console(context, options)),
    ]


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
        is_invocation = request.scope["path"].startswith(_INVOCATIONS)
        limit = MAX_INVOCATION_BYTES if is_invocation else MAX_BODY_BYTES
        try:
            body = await read_body(request, limit)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        exchange = Exchange(_received(request, body or b""), self._context.new_id())
        if body is None:
            error = RequestEntityTooLarge(f"the body is over {limit} bytes")
            response = exchange.refuse(error)
            # What the client is still sending would be taken for its next request.
            response.headers["connection"] = "close"
        else:
            response = await self._respond(exchange, is_invocation=is_invocation)
        # At a thousand invocations a second the log would be larger than what is asked.
        is_noted = not is_invocation or response.status_code >= _FIRST_ERROR
        level = logging.INFO if is_noted else logging.DEBUG
        if log.isEnabledFor(level):
            asked = exchange.operation or f"{request.method} {exchange.request.target}"
            log.log(
                level,
                "%s %s -> %d in %.0f ms, request %s",
                "-" if exchange.service is None else exchange.service.name,
                asked.encode("unicode_escape").decode(),  # it may hold line breaks
                response.status_code,
                1000 * (time.monotonic() - started),
                exchange.request_id,
            )
        return response

    async def _respond(self, exchange: Exchange, *, is_invocation: bool) -> Response:
        try:
            if is_invocation:
                signing_name, context = self._verified(exchange)
                return await perform_here(exchange, self._services, signing_name, context)
            return await run_in_threadpool(self._perform, exchange)
        except ServiceError as error:
            return exchange.refuse(error)
        except StoreError as error:
            return exchange.fail(str(error))
        except asyncio.CancelledError:
            # Only a server at the end of its grace cancels a request, and this is its answer.
            return exchange.refuse(
                ServiceUnavailable(
                    "The server is being stopped; whether the request was carried out is not known."
                )
            )
        except Exception:  # noqa: BLE001 - logged with its cause; the caller must get an answer
            return exchange.fail()

    def _perform(self, exchange: Exchange) -> Response:
        signing_name, context = self._verified(exchange)
        return perform(exchange, self._services, signing_name, context)

    def _verified(self, exchange: Exchange) -> tuple[str, Context]:
        """Verify the request; return for which service, and whom its operation serves."""
        scope = self._verifier.verify(exchange.request)
        region = self._context.region
        if scope.service not in _GLOBAL_SERVICES and scope.region != region:
            raise InvalidSignature(
                f"Credential should be scoped to a valid region: {region!r}, not {scope.region!r}"
            )
        return scope.service, self._context.called_by(scope.caller)


def _received(request: Request, body: bytes) -> ReceivedRequest:
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    target = path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
    return ReceivedRequest(request.method, target, request.headers.items(), body)
