"""From an HTTP request to an operation and back.

The services are those the caller signed for, the protocol and the operation what the headers, the
form or the path name; names, shapes and rules come from botocore's service models. An operation the
model has and matinee has not is said to be missing, never pretended. A fault of the server is
logged with its cause; the caller gets its request id and no more.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.model import OperationModel, ServiceModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from matinee.sagemaker.access.permissions import require_operation
from matinee.sagemaker.context import AnyOperation, Context
from matinee.sagemaker.errors import (
    InternalFailure,
    InvalidParameterException,
    NotImplementedByMatinee,
    SerializationException,
    ServiceError,
    ValidationError,
    ValidationException,
)
from matinee.sagemaker.http import cbor_protocol, service_models
from matinee.sagemaker.http.auth import ReceivedRequest
from matinee.sagemaker.http.cbor_protocol import CborProtocol
from matinee.sagemaker.http.compression import inflated
from matinee.sagemaker.http.json_protocol import JsonProtocol
from matinee.sagemaker.http.protocols import Protocol
from matinee.sagemaker.http.query_protocol import QueryProtocol, read_form
from matinee.sagemaker.http.rest_protocol import RestProtocol, check_is_served
from matinee.sagemaker.http.validation import describe_violations, violations

log = logging.getLogger(__name__)

# botocore's folders where they are not called as the services are here.
_MODELS = {"monitoring": "cloudwatch"}
# What a service calls a request that breaks its model, where it is not a ValidationException.
_INVALID: Mapping[str, type[ServiceError]] = {
    "logs": InvalidParameterException,
    "sagemaker-runtime": ValidationError,
}


@dataclass(frozen=True, slots=True)
class Service:
    """One AWS service: its model and the operations matinee has.

    Attributes
    ----------
    name
        What it is called here.
    model
        botocore's service model.
    operations
        By AWS's name.
    """

    name: str
    model: ServiceModel
    operations: Mapping[str, AnyOperation]

    @property
    def signing_name(self) -> str:
        """The name in the signature's credential scope; several services may share one."""
        name: str = self.model.signing_name
        return name

    @property
    def invalid(self) -> type[ServiceError]:
        """The error this service gives for a request that breaks its model."""
        return _INVALID.get(self.name, ValidationException)

    def speaks(self, protocol: str) -> bool:
        """Return whether the service has a protocol: ``json``, ``query``, ``rest-json`` ..."""
        return protocol in self.model.metadata["protocols"]


def load_services(operations: Mapping[str, Mapping[str, AnyOperation]]) -> dict[str, Service]:
    """Load the models of the services that have operations.

    Parameters
    ----------
    operations
        By service, then by AWS's name of the operation.

    Raises
    ------
    ValueError
        An operation is not in its service's model, or of a form no protocol here has.
    """
    services = {}
    for name, offered in operations.items():
        model = service_models.load(_MODELS.get(name, name))
        if unknown := sorted(offered.keys() - set(model.operation_names)):
            raise ValueError(f"{name} has no operations {', '.join(unknown)}")
        services[name] = service = Service(name, model, offered)
        if service.speaks("rest-json"):
            for operation in offered:
                check_is_served(model.operation_model(operation))
    return services


@dataclass(slots=True)
class Exchange:
    """One request on its way through, as far as it is understood yet.

    Attributes
    ----------
    request
        As received.
    request_id
        Goes into the answer and the log.
    service, operation
        Empty until they are known.
    """

    request: ReceivedRequest
    request_id: str
    service: Service | None = None
    operation: str = ""
    protocol: Protocol = field(init=False)

    def __post_init__(self) -> None:
        self.protocol = _protocol(self.request)

    def refuse(self, error: ServiceError) -> Response:
        """Return the error in the caller's protocol."""
        model = None if self.service is None else self.service.model
        return self.protocol.refuse(error, model, self.request_id)

    def fail(self, told: str = "internal error of matinee") -> Response:
        """Log the exception being handled and return an error that tells no more of it than this.

        Parameters
        ----------
        told
            What the caller is told.
        """
        log.exception("%s failed, request %s", self.operation or "a request", self.request_id)
        return self.refuse(InternalFailure(f"{told}; its log has request {self.request_id}"))


def perform(
    exchange: Exchange, services: Mapping[str, Service], signing_name: str, context: Context
) -> Response:
    """Run the operation a verified request asks for, in a thread of its own.

    Parameters
    ----------
    exchange
        The request; its service and operation are filled in.
    services
        By name.
    signing_name
        Whom the request was signed for.
    context
        Given to the operation.

    Raises
    ------
    ServiceError
        The answer is no.
    """
    call = _prepare(exchange, services, signing_name, context)
    return call.write(call.operation(context, call.request))


async def perform_here(
    exchange: Exchange, services: Mapping[str, Service], signing_name: str, context: Context
) -> Response:
    """Run the operation a verified request asks for in the event loop, if it is written for that.

    Parameters and errors are those of ``perform``.
    """
    call = _prepare(exchange, services, signing_name, context)
    if inspect.iscoroutinefunction(call.operation):
        return call.write(await call.operation(context, call.request))
    return call.write(await run_in_threadpool(call.operation, context, call.request))


@dataclass(frozen=True, slots=True)
class _Call:
    """An operation and its parsed request."""

    exchange: Exchange
    model: OperationModel
    operation: AnyOperation
    request: dict[str, Any]

    def write(self, answer: Any) -> Response:
        return self.exchange.protocol.write(answer, self.model, self.exchange.request_id)


def _prepare(
    exchange: Exchange, services: Mapping[str, Service], signing_name: str, context: Context
) -> _Call:
    signed_for = [item for item in services.values() if item.signing_name == signing_name]
    if not signed_for:
        raise NotImplementedByMatinee(f"service {signing_name}")
    exchange.service = signed_for[0]  # whose words an error has until more is known
    if not isinstance(exchange.protocol, RestProtocol):
        exchange.request = inflated(exchange.request)
    exchange.service, name = _find(exchange, signed_for)
    service = exchange.service
    exchange.operation = name
    if name not in service.operations:
        raise NotImplementedByMatinee(name)
    model = _operation_model(service.model, name)
    try:
        request = _read(exchange, service, model)
    except RecursionError as error:  # a shape may hold itself, so JSON may nest it at will
        raise SerializationException("the body is nested too deeply") from error
    require_operation(context, signing_name, name, request)
    return _Call(exchange, model, service.operations[name], request)


@functools.cache
def _operation_model(model: ServiceModel, name: str) -> OperationModel:
    # The model makes a new one, with new shapes, at each call.
    return model.operation_model(name)


def _read(exchange: Exchange, service: Service, model: OperationModel) -> dict[str, Any]:
    shape = model.input_shape
    request = exchange.protocol.read(exchange.request.body, shape)
    if shape is not None:
        payload = shape.serialization.get("payload")
        checked = request
        if payload is not None and isinstance(request.get(payload), bytes):
            # A body as it is, is limited by the server before it is read.
            checked = {**request, payload: b""}
        found = list(violations(checked, shape))
        if found:
            raise service.invalid(describe_violations(found))
    return request


def _protocol(request: ReceivedRequest) -> Protocol:
    """Return the protocol a request is in, as far as that can be told without a model."""
    if request.header(cbor_protocol.HEADER) == cbor_protocol.NAME:
        return CborProtocol(request)
    if request.header("x-amz-target") is not None:
        return JsonProtocol()
    if request.target.partition("?")[0] not in {"", "/"}:
        return RestProtocol(request)
    return QueryProtocol() if _is_form(request) else JsonProtocol()


def _is_form(request: ReceivedRequest) -> bool:
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded"


def _find(exchange: Exchange, signed_for: Sequence[Service]) -> tuple[Service, str]:
    """Return the service and the name of the operation that a request asks for."""
    request, protocol = exchange.request, exchange.protocol
    if isinstance(protocol, RestProtocol):
        return _find_by_path(protocol, request, signed_for)
    if isinstance(protocol, CborProtocol):
        for service in signed_for:
            if service.speaks("smithy-rpc-v2-cbor") and protocol.is_for(service.model):
                return service, protocol.operation
        raise _not_spoken(signed_for)
    if isinstance(protocol, QueryProtocol):
        for service in signed_for:
            if service.speaks("query"):
                action = read_form(request.body).get("Action")
                if action is None:
                    raise SerializationException("the form has no Action")
                return service, action
    target = request.header("x-amz-target")
    speaking = [service for service in signed_for if service.speaks("json")]
    if target is None or not speaking:
        raise _not_spoken(signed_for)
    prefix, _, name = target.rpartition(".")
    for service in speaking:
        if prefix == service.model.metadata["targetPrefix"]:
            return service, name
    raise NotImplementedByMatinee(target)


def _find_by_path(
    protocol: RestProtocol, request: ReceivedRequest, signed_for: Sequence[Service]
) -> tuple[Service, str]:
    speaking = [service for service in signed_for if service.speaks("rest-json")]
    if not speaking:
        raise _not_spoken(signed_for)
    for service in speaking:
        if (name := protocol.find(service.model)) is not None:
            return service, name
    raise NotImplementedByMatinee(f"{request.method} {request.target}")


def _not_spoken(services: Sequence[Service]) -> SerializationException:
    known = {"json", "query", "rest-json", "smithy-rpc-v2-cbor"}
    spoken = [name for service in services for name in service.model.metadata["protocols"]]
    return SerializationException(
        f"the request is in no protocol of {services[0].signing_name} that matinee speaks: "
        f"{', '.join(dict.fromkeys(name for name in spoken if name in known))}"
    )
