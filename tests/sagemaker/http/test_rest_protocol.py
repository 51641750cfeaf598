"""REST-JSON against botocore's own serialiser and parser, and against anything at all."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.awsrequest import HeadersDict, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from matinee.sagemaker.errors import ModelError, SerializationException, ValidationError
from matinee.sagemaker.http.auth import ReceivedRequest
from matinee.sagemaker.http.rest_protocol import RestProtocol, check_is_served

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def service(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


RUNTIME = service("sagemaker-runtime")
METRICS = service("sagemaker-metrics")
FEATURES = service("sagemaker-featurestore-runtime")
FUNCTIONS = service("lambda")


def sent(operation: OperationModel, request: dict[str, Any]) -> ReceivedRequest:
    """Return a request as it arrives from boto."""
    made = create_serializer("rest-json", include_validation=False).serialize_to_request(
        request, operation
    )
    query = urlencode(made["query_string"], doseq=True)
    prepare_request_dict(made, "http://127.0.0.1")
    path = made["url_path"] + (f"?{query}" if query else "")
    body = made["body"]
    content = body if isinstance(body, bytes) else body.encode()
    return ReceivedRequest(made["method"], path, list(made["headers"].items()), content)


def understood(model: ServiceModel, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    received = sent(model.operation_model(operation), request)
    protocol = RestProtocol(received)
    assert protocol.find(model) == operation
    return protocol.read(received.body, model.operation_model(operation).input_shape)


def parsed(response: Response, shape: Any, is_stream: bool = False) -> dict[str, Any]:
    """Return what boto makes of an answer."""
    body = bytes(response.body)
    answer: dict[str, Any] = create_parser("rest-json").parse(
        {
            "body": io.BytesIO(body) if is_stream else body,
            "headers": HeadersDict(response.headers),
            "status_code": response.status_code,
        },
        shape,
    )
    return answer


@pytest.mark.parametrize(
    ("model", "operation", "request_"),
    [
        (
            RUNTIME,
            "InvokeEndpoint",
            {
                "EndpointName": "a-b",
                "Body": b"\x00\xff",
                "ContentType": "text/csv",
                "Accept": "application/json",
                "CustomAttributes": "a=1",
            },
        ),
        (RUNTIME, "InvokeEndpointAsync", {"EndpointName": "a", "RequestTTLSeconds": 60}),
        (
            METRICS,
            "BatchPutMetrics",
            {
                "TrialComponentName": "a",
                "MetricData": [
                    {"MetricName": "rmse", "Timestamp": NOON, "Step": 3, "Value": 0.25},
                    {"MetricName": "Größe", "Timestamp": NOON, "Value": 1.0},
                ],
            },
        ),
        (
            FEATURES,
            "GetRecord",
            {
                "FeatureGroupName": "a b/c",
                "RecordIdentifierValueAsString": "ä&=1",
                "FeatureNames": ["x", "y"],
            },
        ),
        (FUNCTIONS, "Invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": b"{}"}),
    ],
)
def test_reads_what_botocore_sends(
    model: ServiceModel, operation: str, request_: dict[str, Any]
) -> None:
    read = understood(model, operation, request_)
    if "Body" in model.operation_model(operation).input_shape.members:
        request_ = {"Body": b"", **request_}  # a body that is not sent is empty
    assert read == request_


@pytest.mark.parametrize(
    ("model", "operation", "answer"),
    [
        (
            RUNTIME,
            "InvokeEndpoint",
            {
                "Body": b"\x00\xff",
                "ContentType": "text/csv",
                "InvokedProductionVariant": "a",
                "CustomAttributes": "c",
            },
        ),
        (RUNTIME, "InvokeEndpointAsync", {"InferenceId": "i", "OutputLocation": "s3://b/k"}),
        (METRICS, "BatchPutMetrics", {"Errors": [{"Code": "CONFLICT_ERROR", "MetricIndex": 1}]}),
        (FUNCTIONS, "Invoke", {"StatusCode": 202, "Payload": b"x"}),
    ],
)
def test_botocore_reads_what_is_written(
    model: ServiceModel, operation: str, answer: dict[str, Any]
) -> None:
    request = ReceivedRequest("POST", "/", [], b"")
    response = RestProtocol(request).write(answer, model.operation_model(operation), "id")
    shape = model.operation_model(operation).output_shape
    read = parsed(response, shape, model.operation_model(operation).has_streaming_output)
    assert read.pop("ResponseMetadata")["RequestId"] == "id"
    assert {k: v.read() if hasattr(v, "read") else v for k, v in read.items()} == answer


def test_the_status_is_the_models() -> None:
    request = ReceivedRequest("POST", "/", [], b"")
    operation = RUNTIME.operation_model("InvokeEndpointAsync")
    assert RestProtocol(request).write({}, operation, "id").status_code == 202


def test_an_answer_outside_the_model_is_a_fault() -> None:
    request = ReceivedRequest("POST", "/", [], b"")
    with pytest.raises(ValueError, match="InvokeEndpoint: not in the service's model: Colour"):
        RestProtocol(request).write({"Colour": 1}, RUNTIME.operation_model("InvokeEndpoint"), "id")


def test_errors_are_the_modelled_ones() -> None:
    error = ModelError("Received client error (400)", 400, "bad", "arn:log")
    response = RestProtocol(ReceivedRequest("POST", "/", [], b"")).refuse(error, RUNTIME, "id")
    read = parsed(response, RUNTIME.operation_model("InvokeEndpoint").output_shape)
    assert read["Error"] == {"Code": "ModelError", "Message": "Received client error (400)"}
    members = parsed(response, RUNTIME.shape_for("ModelError"))
    assert members["OriginalStatusCode"] == 400
    assert members["OriginalMessage"] == "bad"
    assert response.status_code == 424


def test_an_error_before_the_service_is_known() -> None:
    response = RestProtocol(ReceivedRequest("GET", "/a", [], b"")).refuse(
        ValidationError("no"), None, "id"
    )
    assert json.loads(bytes(response.body)) == {"message": "no"}
    assert response.headers["x-amzn-errortype"] == "ValidationError"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/endpoints/a/invocations"),
        ("POST", "/endpoints/a/b/invocations"),
        ("POST", "/endpoints//invocations"),
        ("POST", "/endpoints/a/invocations/"),
        ("POST", "/x/endpoints/a/invocations"),
    ],
)
def test_other_paths_are_no_operation(method: str, target: str) -> None:
    assert RestProtocol(ReceivedRequest(method, target, [], b"")).find(RUNTIME) is None


def test_values_of_wrong_types_are_told_all_at_once() -> None:
    headers = [
        ("X-Amzn-SageMaker-RequestTTLSeconds", "soon"),
        ("X-Amzn-SageMaker-InvocationTimeoutSeconds", "1.5"),
    ]
    received = ReceivedRequest("POST", "/endpoints/a/async-invocations", headers, b"")
    protocol = RestProtocol(received)
    protocol.find(RUNTIME)
    shape = RUNTIME.operation_model("InvokeEndpointAsync").input_shape
    with pytest.raises(SerializationException) as caught:
        protocol.read(b"", shape)
    assert str(caught.value).split("; ") == [
        "RequestTTLSeconds: 'soon' is not of type integer",
        "InvocationTimeoutSeconds: '1.5' is not of type integer",
    ]


def test_event_streams_are_not_served() -> None:
    with pytest.raises(ValueError, match="event streams are not served"):
        check_is_served(RUNTIME.operation_model("InvokeEndpointWithResponseStream"))


@settings(deadline=None)
@given(st.binary(max_size=20), st.text("/%?&=a\xe9.", max_size=12))
def test_anything_is_a_request_or_refused(body: bytes, tail: str) -> None:
    received = ReceivedRequest("PUT", f"/BatchPutMetrics{tail}", [], body)
    protocol = RestProtocol(received)
    if protocol.find(METRICS) is None:
        return
    try:
        protocol.read(body, METRICS.operation_model("BatchPutMetrics").input_shape)
    except SerializationException:
        return
