"""SageMaker Runtime: InvokeEndpoint, and InvokeEndpointAsync with its answer in S3.

A request is passed on to a healthy instance of a variant and its answer passed back, in the event
loop. Only an instance that was not reached at all is replaced by another one: a model may be asked
once. Requests to single models of a multi-model container, inference components, sessions and
explanations are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import AnyOperation, Context
from matinee.sagemaker.endpoints import async_inference
from matinee.sagemaker.endpoints.hosting_instances import GROUP_PREFIX
from matinee.sagemaker.endpoints.hosting_traffic import (
    BusyError,
    Instance,
    NoEndpointError,
    NoInstanceError,
    NoVariantError,
    Ticket,
)
from matinee.sagemaker.errors import (
    ModelError,
    ServiceUnavailable,
    ThrottlingException,
    ValidationError,
)
from matinee.sagemaker.model_serving import data_capture
from matinee.sagemaker.model_serving.hosting_connections import (
    Answer,
    NoAnswerError,
    TooLateError,
    UnreachedError,
)

# SageMaker Developer Guide: a container must answer within 60 seconds.
TIMEOUT_SECONDS = 60.0
_MESSAGE_LIMIT = 1024

_UNSUPPORTED = (
    "EnableExplanations",
    "InferenceComponentName",
    "PrefixAwareId",
    "SessionId",
    "TargetModel",
)
# What is passed on to the model, and by which header.
_PASSED_ON = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "TargetVariant": "X-Amzn-SageMaker-Target-Variant",
}
_CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


async def invoke_endpoint(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return a model's answer.

    Raises
    ------
    ValidationError
        There is no such endpoint in service, variant or container, or it is asynchronous.
    ModelError
        The container answered with an error, or not in time.
    ServiceUnavailable
        No instance could be reached.
    ThrottlingException
        A serverless variant has as many requests as it takes at once.
    """
    for member in _UNSUPPORTED:
        if member in request:
            raise ValidationError(f"not implemented by matinee: InvokeEndpoint with {member}")
    traffic, name = context.hosting.traffic, request["EndpointName"]
    tried: list[Instance] = []
    variant = request.get("TargetVariant")
    while True:
        ticket = _take(context, name, variant, tried)
        try:
            if "AsyncInferenceConfig" in ticket.settings:
                raise ValidationError(
                    f"Endpoint {name} is asynchronous; it takes InvokeEndpointAsync."
                )
            answer = await _ask(context, ticket, request)
        except UnreachedError:
            # It is about to be replaced: nobody has seen the request.
            context.hosting.wake(name)
            tried.append(ticket.instance)
            variant = ticket.variant
            continue
        finally:
            traffic.give_back(ticket)
        break
    if "DataCaptureConfig" in ticket.settings:
        data_capture.capture(context, ticket, request, answer)
    return _described(ticket, answer)


def _described(ticket: Ticket, answer: Answer) -> dict[str, Any]:
    described = {
        "Body": answer.body,
        "ContentType": answer.headers.get("content-type", "application/octet-stream"),
        "InvokedProductionVariant": ticket.variant,
    }
    if _CUSTOM_ATTRIBUTES in answer.headers:
        described["CustomAttributes"] = answer.headers[_CUSTOM_ATTRIBUTES]
    return described


def _take(context: Context, name: str, variant: str | None, tried: list[Instance]) -> Ticket:
    try:
        return context.hosting.traffic.take(name, variant, without=tried)
    except NoEndpointError as error:
        raise _not_found(context, name) from error
    except NoVariantError as error:
        raise ValidationError(f"Variant {variant} not found for endpoint {name}.") from error
    except NoInstanceError as error:
        raise ServiceUnavailable(
            f"No instance of endpoint {name} is healthy now; its log group "
            f"{GROUP_PREFIX}{name} says why."
        ) from error
    except BusyError as error:
        raise ThrottlingException(
            f"The serverless variant {error} of endpoint {name} has as many requests as its "
            "MaxConcurrency."
        ) from error


async def _ask(context: Context, ticket: Ticket, request: Mapping[str, Any]) -> Answer:
    """Return the answer of the last container, each having had the one before's.

    Raises
    ------
    UnreachedError
        The first container could not be reached.
    ModelError
        A container answered with an error, or not at all.
    """
    passed_on = {
        header: request[member] for member, header in _PASSED_ON.items() if request.get(member)
    }
    accept = passed_on.pop("Accept", None)
    body: bytes = request.get("Body", b"")
    chain = _chain(ticket, request)
    for position, (host, port) in enumerate(chain):
        headers = passed_on
        if accept is not None and position == len(chain) - 1:
            headers = {**passed_on, "Accept": accept}
        try:
            answer = await context.hosting.connections.ask(port, headers, body, TIMEOUT_SECONDS)
        except UnreachedError as error:
            if position == 0:
                raise
            raise _no_answer(context, ticket.endpoint, host, error) from error
        except NoAnswerError as error:
            raise _no_answer(context, ticket.endpoint, host, error) from error
        if not 200 <= answer.status < 300:
            raise _said_no(context, ticket.endpoint, host, answer.status, answer.body)
        body = answer.body
        if "content-type" in answer.headers:
            passed_on = {**passed_on, "Content-Type": answer.headers["content-type"]}
    return answer


def _chain(ticket: Ticket, request: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the containers that a request passes through."""
    containers = ticket.instance.containers
    target = request.get("TargetContainerHostname")
    if ticket.is_direct:
        if target is None:
            raise ValidationError(
                f"Variant {ticket.variant} of endpoint {ticket.endpoint} runs its containers "
                "directly: TargetContainerHostname must name one."
            )
    elif target is None:
        return containers
    found = tuple(item for item in containers if item[0] == target)
    if not found or not ticket.is_direct:
        raise ValidationError(
            f"Variant {ticket.variant} of endpoint {ticket.endpoint} has no container "
            f"{target} to invoke directly."
        )
    return found


def _said_no(context: Context, endpoint: str, host: str, status: int, body: bytes) -> ModelError:
    """Return AWS's error for a container that answered with one."""
    said = body[:_MESSAGE_LIMIT].decode(errors="replace").strip()
    fault = "client" if 400 <= status < 500 else "server"
    return _model_error(context, endpoint, f"Received {fault} error ({status})", host, said, status)


def _no_answer(context: Context, endpoint: str, host: str, error: Exception) -> ModelError:
    """Return AWS's error for a container that did not answer."""
    if isinstance(error, TooLateError):
        said = (
            "Your invocation timed out while waiting for a response from container "
            f"{host}. Review the latency metrics for each container in Amazon CloudWatch, resolve "
            "the issue, and try again."
        )
    else:
        said = f"The container ended the connection without an answer: {error}"
    return _model_error(context, endpoint, "Received server error (0)", host, said, 0)


def _model_error(
    context: Context, endpoint: str, what: str, host: str, said: str, status: int
) -> ModelError:
    region, account, group = context.region, context.account_id, GROUP_PREFIX + endpoint
    return ModelError(
        f'{what} from {host} with message "{said}". See https://{region}.console.aws.amazon.com/'
        f"cloudwatch/home?region={region}#logEventViewer:group={group} in account {account} for "
        "more information.",
        status,
        said,
        f"arn:aws:logs:{region}:{account}:log-group:{group}",
    )


def invoke_endpoint_async(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Take a request whose answer will be an object of S3.

    Raises
    ------
    ValidationError
        There is no such endpoint in service, it is not asynchronous, or the input is none.
    """
    name = request["EndpointName"]
    try:
        settings = context.hosting.traffic.settings(name)
    except NoEndpointError as error:
        raise _not_found(context, name) from error
    if "AsyncInferenceConfig" not in settings:
        raise ValidationError(
            f"Endpoint {name} is not asynchronous: its configuration has no AsyncInferenceConfig."
        )
    return async_inference.accept(context, request, settings)


def _not_found(context: Context, name: str) -> ValidationError:
    return ValidationError(f"Endpoint {name} of account {context.account_id} not found.")


OPERATIONS: Mapping[str, AnyOperation] = {
    "InvokeEndpoint": invoke_endpoint,
    "InvokeEndpointAsync": invoke_endpoint_async,
}
