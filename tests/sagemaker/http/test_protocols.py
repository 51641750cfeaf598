"""The protocols against botocore's own serialisers and parsers, and against anything at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.sagemaker.errors import SerializationException
from matinee.sagemaker.http.json_protocol import JsonProtocol
from matinee.sagemaker.http.protocols import Protocol
from matinee.sagemaker.http.query_protocol import QueryProtocol
from matinee.sagemaker.http.validation import violations

SERVICES = {
    name: ServiceModel(Loader().load_service_model(name, "service-2"), name)
    for name in ("sagemaker", "cloudwatch", "iam", "logs")
}
NOON = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=UTC)
PROTOCOLS: dict[str, Protocol] = {"json": JsonProtocol(), "query": QueryProtocol()}


def sent(protocol: str, operation: Any, request: dict[str, Any]) -> bytes:
    """Serialise a request as boto would."""
    body = create_serializer(protocol, include_validation=False).serialize_to_request(
        request, operation
    )["body"]
    return urlencode(body).encode() if protocol == "query" else bytes(body)


@pytest.mark.parametrize("protocol", ["json", "query"])
def test_reads_what_botocore_sends(protocol: str) -> None:
    operation = SERVICES["cloudwatch"].operation_model("PutMetricAlarm")
    request = {
        "AlarmName": "Größe & <b>",
        "ActionsEnabled": True,
        "OKActions": [],
        "AlarmActions": ["a", "b"],
        "Dimensions": [{"Name": "n", "Value": "v"}, {"Name": "m", "Value": ""}],
        "Threshold": 0.25,
        "Period": 60,
    }
    body = sent(protocol, operation, request)
    assert PROTOCOLS[protocol].read(body, operation.input_shape) == request


def test_reads_times_blobs_and_maps() -> None:
    operation = SERVICES["sagemaker"].operation_model("CreateTrainingJob")
    request = {"TrainingJobName": "a", "HyperParameters": {"k": "1", "": ""}, "InputDataConfig": []}
    body = sent("json", operation, request)
    assert JsonProtocol().read(body, operation.input_shape) == request
    listing = SERVICES["sagemaker"].operation_model("ListModels").input_shape
    assert JsonProtocol().read(b'{"CreationTimeAfter": 1795435200.5}', listing) == {
        "CreationTimeAfter": NOON
    }
    upload = SERVICES["iam"].operation_model("EnableMFADevice").input_shape
    form = b"Action=EnableMFADevice&UserName=%C3%A9&SerialNumber=1"
    assert QueryProtocol().read(form, upload) == {"UserName": "é", "SerialNumber": "1"}


@pytest.mark.parametrize("protocol", ["json", "query"])
def test_botocore_reads_what_is_written(protocol: str) -> None:
    operation = SERVICES["cloudwatch"].operation_model("GetMetricStatistics")
    answer = {
        "Label": "Größe & <b>",
        "Datapoints": [
            {"Timestamp": NOON, "Average": 0.1, "ExtendedStatistics": {"p50": 1.0, "p90": 2.0}},
            {"Timestamp": NOON, "SampleCount": 3, "Unit": "None"},
        ],
    }
    response = PROTOCOLS[protocol].write(answer, operation, "id")
    parsed = create_parser(protocol).parse(
        {
            "body": bytes(response.body),
            "headers": dict(response.headers),
            "status_code": response.status_code,
        },
        operation.output_shape,
    )
    assert parsed.pop("ResponseMetadata")["RequestId"] == "id"
    assert parsed == answer


@pytest.mark.parametrize("environment", ['{"k": "\\ud800"}', '{"\\ud800": "v"}'])
def test_half_a_character_is_no_text(environment: str) -> None:
    with pytest.raises(SerializationException, match="not of type string"):
        JsonProtocol().read(f'{{"Environment": {environment}}}'.encode(), TRAINING)


@pytest.mark.parametrize("number", ["1e999", "9" * 400])
def test_a_number_too_large_for_one_is_refused(number: str) -> None:
    alarm = SERVICES["cloudwatch"].operation_model("PutMetricAlarm").input_shape
    with pytest.raises(SerializationException, match=r"Threshold: .* is not of type double"):
        JsonProtocol().read(f'{{"Threshold": {number}}}'.encode(), alarm)


def test_a_time_that_no_calendar_has_is_refused() -> None:
    form = urlencode({"StartTime": "0001-01-01T00:00:00+23:00"}).encode()
    with pytest.raises(SerializationException, match=r"StartTime: .* is not of type timestamp"):
        QueryProtocol().read(form, STATISTICS)


def test_an_answer_outside_the_model_is_a_fault() -> None:
    operation = SERVICES["sagemaker"].operation_model("DescribeModel")
    with pytest.raises(ValueError, match="DescribeModel: not in the service's model: Colour"):
        JsonProtocol().write({"Colour": "red"}, operation, "id")


def test_numbers_that_json_has_not_are_written_as_aws_does() -> None:
    operation = SERVICES["cloudwatch"].operation_model("GetMetricStatistics")
    points = [{"Sum": value} for value in (float("inf"), float("-inf"), float("nan"))]
    body = json.loads(bytes(JsonProtocol().write({"Datapoints": points}, operation, "id").body))
    assert [point["Sum"] for point in body["Datapoints"]] == ["Infinity", "-Infinity", "NaN"]


TEXT = st.text("a1-é\x00\ud800", max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TRAINING = SERVICES["sagemaker"].operation_model("CreateTrainingJob").input_shape


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(TRAINING.members)), JSON, max_size=6))
def test_any_json_is_a_request_or_refused(document: dict[str, Any]) -> None:
    try:
        request = JsonProtocol().read(json.dumps(document).encode(), TRAINING)
    except SerializationException:
        return
    assert all(isinstance(violation, str) for violation in violations(request, TRAINING))


STATISTICS = SERVICES["cloudwatch"].operation_model("GetMetricStatistics").input_shape
FORM_TEXT = st.text("a1.=&é\x00", max_size=4)
FIELDS = ["Period", "StartTime", "Statistics", "Statistics.member.1", "Dimensions.member.1.Name"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS) | FORM_TEXT, FORM_TEXT, max_size=6))
def test_any_form_is_a_request_or_refused(form: dict[str, str]) -> None:
    try:
        request = QueryProtocol().read(urlencode(form).encode(), STATISTICS)
    except SerializationException:
        return
    assert all(isinstance(violation, str) for violation in violations(request, STATISTICS))
    assert request.keys() <= STATISTICS.members.keys()


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    for protocol in PROTOCOLS.values():
        try:
            assert isinstance(protocol.read(body, STATISTICS), dict)
        except SerializationException:
            continue
