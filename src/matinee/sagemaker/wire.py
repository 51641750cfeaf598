"""From an HTTP request to an operation and back.

The service is the one the caller signed for, the protocol and the operation what the headers or
the form name; names, shapes and rules come from botocore's service models. An operation the model
has and matinee has not is said to be missing, never pretended. A fault of the server is logged
with its cause; the caller gets its request id and no more.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from starlette.responses import Response

from matinee.sagemaker.auth import ReceivedRequest
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    InternalFailure,
    InvalidParameterException,
    NotImplementedByMatinee,
    SerializationException,
    ServiceError,
    ValidationException,
)
from matinee.sagemaker.json_protocol import JsonProtocol
from matinee.sagemaker.protocols import Protocol
from matinee.sagemaker.query_protocol import QueryProtocol, read_form
from matinee.sagemaker.validation import describe_violations, violations

log = logging.getLogger(__name__)

# botocore's folder of each service, by the name requests are signed for.
_MODELS = {
    "sagemaker": "sagemaker",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "iam": "iam",
    "sts": "sts",
}


@dataclass(frozen=True, slots=True)
class Service:
    """One AWS service: its model and the operations matinee has.

    Attributes
    ----------
    signing_name
        The name in the signature's credential scope.
    model
        botocore's service model.
    operations
        By AWS's name.
    """

    signing_name: str
    model: ServiceModel
    operations: Mapping[str, Operation]

    @property
    def invalid(self) -> type[ServiceError]:
        """The error this service gives for a request that breaks its model."""
        return InvalidParameterException if self.signing_name == "logs" else ValidationException


def load_services(operations: Mapping[str, Mapping[str, Operation]]) -> dict[str, Service]:
    """Load the models of the services that have operations.

    Parameters
    ----------
    operations
        By signing name, then by AWS's name of the operation.

    Raises
    ------
    ValueError
        An operation is not in its service's model.
    """
    services = {}
    for signing_name, offered in operations.items():
        folder = _MODELS[signing_name]
        model = _model(folder)
        if unknown := sorted(offered.keys() - set(model.operation_names)):
            raise ValueError(f"{folder} has no operations {', '.join(unknown)}")
        services[signing_name] = Service(signing_name, model, offered)
    return services


@functools.cache
def _model(folder: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(folder, "service-2"), folder)


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
        self.protocol = QueryProtocol() if _is_form(self.request) else JsonProtocol()

    def refuse(self, error: ServiceError) -> Response:
        """Return the error in the caller's protocol."""
        model = None if self.service is None else self.service.model
        return self.protocol.refuse(error, model, self.request_id)

    def fail(self) -> Response:
        """Log the exception being handled and return an error that tells nothing of it."""
        log.exception("%s failed, request %s", self.operation or "a request", self.request_id)
        return self.refuse(
            InternalFailure(f"internal error of matinee; its log has request {self.request_id}")
        )


def perform(
    exchange: Exchange, services: Mapping[str, Service], signing_name: str, context: Context
) -> Response:
    """Run the operation a verified request asks for.

    Parameters
    ----------
    exchange
        The request; its service and operation are filled in.
    services
        By signing name.
    signing_name
        Whom the request was signed for.
    context
        Given to the operation.

    Raises
    ------
    ServiceError
        The answer is no.
    """
    exchange.service = service = services.get(signing_name)
    if service is None:
        raise NotImplementedByMatinee(f"service {signing_name}")
    exchange.operation = name = _operation_name(exchange.request, service)
    if name not in service.operations:
        raise NotImplementedByMatinee(name)
    model: OperationModel = service.model.operation_model(name)
    request = _read(exchange, service, model)
    answer = service.operations[name](context, request)
    return exchange.protocol.write(answer, model, exchange.request_id)


def _read(exchange: Exchange, service: Service, model: OperationModel) -> dict[str, Any]:
    request = exchange.protocol.read(exchange.request.body, model.input_shape)
    if model.input_shape is not None:
        found = list(violations(request, model.input_shape))
        if found:
            raise service.invalid(describe_violations(found))
    return request


def _is_form(request: ReceivedRequest) -> bool:
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded" and request.header("x-amz-target") is None


def _operation_name(request: ReceivedRequest, service: Service) -> str:
    spoken = [name for name in service.model.metadata["protocols"] if name in {"json", "query"}]
    if _is_form(request) and "query" in spoken:
        action = read_form(request.body).get("Action")
        if action is None:
            raise SerializationException("the form has no Action")
        return action
    target = request.header("x-amz-target")
    if target is None or "json" not in spoken:
        raise SerializationException(
            f"the request is in no protocol of {service.signing_name} that matinee speaks: "
            f"{', '.join(spoken)}"
        )
    prefix, _, name = target.rpartition(".")
    if prefix != service.model.metadata["targetPrefix"]:
        raise NotImplementedByMatinee(target)
    return name
