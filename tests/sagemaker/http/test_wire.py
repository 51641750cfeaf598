"""The protocols over real HTTP: what clients send, what they get, what they are told."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx
import pytest
from botocore.exceptions import ClientError

from matinee.sagemaker.app import MAX_BODY_BYTES, OPERATIONS
from matinee.sagemaker.http.wire import load_services
from tests.sagemaker.conftest import ROLE_ARN, Front

JSON = {"Content-Type": "application/x-amz-json-1.1"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def error(call: pytest.ExceptionInfo[ClientError]) -> tuple[str, str, int]:
    response: dict[str, Any] = call.value.response
    details = response["Error"]
    return details["Code"], details["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_health_needs_no_signature(front: Front) -> None:
    answer = httpx.get(f"{front.endpoint}/_matinee/health", trust_env=False)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer.json()["version"])


def test_every_answer_has_a_request_id(front: Front) -> None:
    ids = [
        front.client("sagemaker").list_models()["ResponseMetadata"]["RequestId"],
        front.client("sts").get_caller_identity()["ResponseMetadata"]["RequestId"],
        front.call("DescribeModel", {"ModelName": "a"}).headers["x-amzn-requestid"],
    ]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_an_operation_matinee_has_not_is_named(front: Front) -> None:
    with pytest.raises(ClientError) as call:
        front.client("sagemaker").create_domain(DomainName="a")
    assert error(call) == (
        "UnknownOperationException", "not implemented by matinee: CreateDomain", 400,
    )  # fmt: skip


def test_an_operation_of_a_query_service_too(front: Front) -> None:
    with pytest.raises(ClientError) as call:
        front.client("iam").list_users()
    assert error(call) == (
        "UnknownOperationException", "not implemented by matinee: ListUsers", 400,
    )  # fmt: skip


def test_a_service_matinee_has_not_is_named(front: Front) -> None:
    with pytest.raises(ClientError) as call:
        front.client("kms").list_keys()
    assert error(call)[:2] == (
        "UnknownOperationException",
        "not implemented by matinee: service kms",
    )


def test_a_path_says_the_operation_of_services_that_share_a_signing_name(front: Front) -> None:
    client = front.client("sagemaker-runtime")
    with pytest.raises(client.exceptions.ValidationError) as call:
        client.invoke_endpoint(EndpointName="a", Body=b"1")
    assert error(call) == (
        "ValidationError", "Endpoint a of account 000000000000 not found.", 400,
    )  # fmt: skip
    answer = front.post("sagemaker", b"{}", {}, path="/somewhere/else")
    assert answer.headers["x-amzn-errortype"] == "UnknownOperationException"
    assert answer.json() == {"message": "not implemented by matinee: POST /somewhere/else"}
    answer = front.post("sts", b"{}", {}, path="/somewhere/else")
    assert answer.headers["x-amzn-errortype"] == "SerializationException"


def test_an_invocation_may_be_larger_than_other_requests(front: Front) -> None:
    client = front.client("sagemaker-runtime")
    with pytest.raises(client.exceptions.ValidationError, match="not found"):
        client.invoke_endpoint(EndpointName="a", Body=bytes(MAX_BODY_BYTES + 1))


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("sagemaker", "InvalidSignatureException"),
        ("logs", "InvalidSignatureException"),
        ("cloudwatch", "InvalidSignatureException"),
        ("iam", "SignatureDoesNotMatch"),
        ("sts", "SignatureDoesNotMatch"),
    ],
)
def test_a_wrong_secret_key(front: Front, service: str, code: str) -> None:
    client = front.client(
        service, aws_access_key_id=front.keys.access_key, aws_secret_access_key="wrong"
    )
    with pytest.raises(ClientError) as call:
        ask(client, service)
    assert error(call)[0] == code
    assert error(call)[2] == 403


@pytest.mark.parametrize(
    ("service", "code"),
    [("sagemaker", "UnrecognizedClientException"), ("sts", "InvalidClientTokenId")],
)
def test_an_unknown_access_key(front: Front, service: str, code: str) -> None:
    client = front.client(service, aws_access_key_id="AKIDOTHER", aws_secret_access_key="wrong")
    with pytest.raises(ClientError) as call:
        ask(client, service)
    assert error(call)[0] == code


def ask(client: Any, service: str) -> None:
    match service:
        case "sagemaker":
            client.list_models()
        case "logs":
            client.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")
        case "cloudwatch":
            client.get_metric_statistics(Namespace="a", MetricName="b", Period=60)
        case "iam":
            client.get_role(RoleName="a")
        case "sts":
            client.get_caller_identity()


def test_an_unsigned_request(front: Front) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels"}
    answer = httpx.post(front.endpoint, headers=headers, content="{}", trust_env=False)
    assert answer.status_code == 403
    assert answer.json()["__type"] == "MissingAuthenticationToken"


def test_another_region_is_refused(front: Front) -> None:
    with pytest.raises(ClientError, match="valid region: 'us-east-1', not 'eu-west-1'"):
        front.client("sagemaker", region_name="eu-west-1").list_models()
    assert front.client("sts", region_name="eu-west-1").get_caller_identity()["Account"]


def test_signed_for_one_service_a_request_cannot_reach_another(front: Front) -> None:
    answer = front.call("ListModels", {}, service="logs")
    assert answer.json() == {
        "__type": "UnknownOperationException",
        "message": "not implemented by matinee: SageMaker.ListModels",
    }


def test_problems_of_the_model_come_all_at_once(front: Front) -> None:
    with pytest.raises(ClientError) as call:
        front.client("sagemaker").create_model(ModelName="_", ExecutionRoleArn="role")
    code, message, status = error(call)
    assert (code, status) == ("ValidationException", 400)
    assert message.startswith("3 validation errors detected: Value '_' at 'modelName' failed")
    assert "at 'executionRoleArn'" in message


def test_each_service_has_its_own_code_for_them(front: Front) -> None:
    with pytest.raises(ClientError) as call:
        front.client("logs").get_log_events(logStreamName="a:b")
    assert error(call)[0] == "InvalidParameterException"
    with pytest.raises(ClientError) as call:
        front.client("iam").get_role(RoleName="a b")
    assert error(call)[0] == "ValidationError"
    with pytest.raises(ClientError) as call:
        front.client("cloudwatch").get_metric_statistics(Namespace="a")
    assert error(call)[0] == "ValidationError"


def test_members_unknown_to_the_model_are_ignored(front: Front) -> None:
    assert front.call("ListModels", {"Colour": "red", "MaxResults": 5}).json() == {"Models": []}


def test_null_is_absent(front: Front) -> None:
    assert front.call("ListModels", {"NextToken": None}).json() == {"Models": []}


def test_wrong_types_are_told_all_at_once(front: Front) -> None:
    request = {"MaxResults": "5", "NameContains": 1, "CreationTimeAfter": True}
    answer = front.call("ListModels", request)
    assert answer.status_code == 400
    assert answer.json()["__type"] == "SerializationException"
    assert answer.json()["message"].split("; ") == [
        "MaxResults: '5' is not of type integer",
        "NameContains: 1 is not of type string",
        "CreationTimeAfter: True is not of type timestamp",
    ]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'{"MaxResults": NaN}', b"[" * 100_000, b'{"MaxResults": 1e999}']
)
def test_a_body_that_is_no_request(front: Front, body: bytes) -> None:
    answer = front.post("sagemaker", body, {**JSON, "X-Amz-Target": "SageMaker.ListModels"})
    assert answer.status_code == 400
    assert answer.json()["__type"] == "SerializationException"


@pytest.mark.parametrize(
    ("service", "body", "headers"),
    [
        ("sagemaker", b"{}", JSON),
        ("sagemaker", b"Action=ListModels", FORM),
        ("sts", b"{}", {**JSON, "X-Amz-Target": "AWSSecurityTokenService.GetCallerIdentity"}),
        ("sts", b"Version=2011-06-15", FORM),
        ("sts", b"Action=GetCallerIdentity&Action=GetCallerIdentity", FORM),
        ("sts", b"Action=\xff", FORM),
    ],
    ids=["no-target", "form", "json", "no-action", "twice", "not-utf-8"],
)
def test_a_request_in_no_protocol_of_the_service(
    front: Front, service: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = front.post(service, body, headers)
    assert answer.status_code == 400
    assert "SerializationException" in answer.text


def test_a_body_over_the_limit(front: Front) -> None:
    headers = {**JSON, "X-Amz-Target": "SageMaker.ListModels"}
    answer = front.post("sagemaker", b" " * (MAX_BODY_BYTES + 1), headers)
    assert answer.status_code == 413
    assert answer.json()["__type"] == "RequestEntityTooLarge"
    assert front.post("sagemaker", b" " * 9 + b"{}", headers).status_code == 200


def test_times_are_epoch_seconds_both_ways(front: Front) -> None:
    front.call("CreateModel", {"ModelName": "a", "PrimaryContainer": {"Image": "image"}})
    described = front.call("DescribeModel", {"ModelName": "a"}).json()
    assert described["CreationTime"] == 1795435200.0
    listed = front.call("ListModels", {"CreationTimeAfter": 1795435200})
    assert listed.json() == {"Models": []}


def test_absent_members_are_omitted(front: Front) -> None:
    front.call("CreateModel", {"ModelName": "a", "PrimaryContainer": {"Image": "image"}})
    assert front.call("DescribeModel", {"ModelName": "a"}).json() == {
        "ModelName": "a",
        "PrimaryContainer": {"Image": "image"},
        "CreationTime": 1795435200.0,
        "ModelArn": "arn:aws:sagemaker:us-east-1:000000000000:model/a",
        "EnableNetworkIsolation": False,
    }


def statistics_request() -> dict[str, str]:
    return {
        "Action": "GetMetricStatistics",
        "Version": "2010-08-01",
        "Namespace": "/aws/sagemaker/TrainingJobs",
        "MetricName": "train:rmse",
        "Dimensions.member.1.Name": "TrainingJobName",
        "Dimensions.member.1.Value": "a",
        "StartTime": "2026-11-23T12:00:00Z",
        "EndTime": "2026-11-23T12:01:00Z",
        "Period": "60",
        "Statistics.member.1": "Average",
        "Statistics.member.2": "SampleCount",
    }


def test_cloudwatch_speaks_query_too(front: Front) -> None:
    definition = {"Name": "train:rmse", "Regex": "rmse=(.*)"}
    document = {"AlgorithmSpecification": {"MetricDefinitions": [definition]}}
    front.add_job("TrainingJob", "a", [(1795435201000, "rmse=0.5")], document)
    answer = front.post("monitoring", urlencode(statistics_request()).encode(), FORM)
    assert answer.headers["content-type"].startswith("text/xml")
    space = {"cw": "http://monitoring.amazonaws.com/doc/2010-08-01/"}
    root = ElementTree.fromstring(answer.text)  # noqa: S314 - our own server's answer
    point = root.find("cw:GetMetricStatisticsResult/cw:Datapoints/cw:member", space)
    assert point is not None
    assert {child.tag.partition("}")[2]: child.text for child in point} == {
        "Timestamp": "2026-11-23T12:00:00.000Z",
        "SampleCount": "1.0",
        "Average": "0.5",
        "Unit": "None",
    }


def test_query_errors_are_xml_with_the_query_code(front: Front) -> None:
    form = {**statistics_request(), "Period": "61"}
    answer = front.post("monitoring", urlencode(form).encode(), FORM)
    assert answer.status_code == 400
    root = ElementTree.fromstring(answer.text)  # noqa: S314 - our own server's answer
    assert root.findtext("{*}Error/{*}Code") == "InvalidParameterValue"
    assert root.findtext("{*}Error/{*}Type") == "Sender"
    assert "Period" in (root.findtext("{*}Error/{*}Message") or "")
    assert root.findtext("{*}RequestId")


def test_query_values_of_wrong_types_are_told_all_at_once(front: Front) -> None:
    form = {**statistics_request(), "Period": "1.5", "StartTime": "noon"}
    answer = front.post("monitoring", urlencode(form).encode(), FORM)
    assert "SerializationException" in answer.text
    assert "Period: '1.5' is not of type integer" in answer.text
    assert "StartTime: 'noon' is not of type timestamp" in answer.text


def test_an_answer_repeats_text_that_xml_cannot_hold(front: Front) -> None:
    answer = front.post("sts", urlencode({"Action": "a\x00<b>"}).encode(), FORM)
    root = ElementTree.fromstring(answer.text)  # noqa: S314 - our own server's answer
    message = root.findtext("{*}Error/{*}Message")
    assert message == "not implemented by matinee: a\ufffd<b>"


def test_cloudwatch_json_errors_carry_the_query_code(front: Front) -> None:
    client = front.client("cloudwatch")
    at = datetime(2026, 11, 23, tzinfo=UTC)
    with pytest.raises(client.exceptions.InvalidParameterValueException) as call:
        client.get_metric_statistics(
            Namespace="a", MetricName="b", StartTime=at, EndTime=at, Period=60
        )
    assert error(call)[0] == "InvalidParameterValue"


def test_a_fault_of_the_server_is_logged_and_not_told(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    front.add_job("TrainingJob", "a", []).write_text("damaged\n")
    headers = {**JSON, "X-Amz-Target": "Logs_20140328.GetLogEvents"}
    request = {
        "logGroupName": "/aws/sagemaker/TrainingJobs",
        "logStreamName": "a/algo-1-1795435200",
    }
    with caplog.at_level(logging.ERROR):
        answer = front.post("logs", json.dumps(request).encode(), headers)
    request_id = answer.headers["x-amzn-requestid"]
    assert answer.status_code == 500
    assert answer.json() == {
        "__type": "InternalFailure",
        "message": f"internal error of matinee; its log has request {request_id}",
    }
    assert request_id in caplog.text
    assert "not a log event" in caplog.text


def test_one_plain_line_for_a_request(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="matinee.sagemaker.app"):
        front.call("ListModels", {})
        front.post("sts", urlencode({"Action": "a\nb"}).encode(), FORM)
    told = [record for record in caplog.records if record.name == "matinee.sagemaker.app"]
    lines = [record.getMessage() for record in told]
    assert re.fullmatch(r"sagemaker ListModels -> 200 in \d+ ms, request [0-9a-f]{32}", lines[0])
    assert lines[1].startswith(r"sts a\nb -> 400")


def test_an_operation_outside_the_model_cannot_be_offered() -> None:
    with pytest.raises(ValueError, match="sts has no operations Invent"):
        load_services({"sts": {"Invent": lambda _context, request: request}})


def test_the_query_models_are_as_plain_as_the_protocol_is_written() -> None:
    for service in load_services(OPERATIONS).values():
        if "query" in service.model.metadata["protocols"]:
            text = json.dumps(service.model._service_description["shapes"])
            assert '"flattened"' not in text
            assert '"locationName"' not in text


def test_role_arn_is_known(front: Front) -> None:
    container = {"Image": "image"}
    front.client("sagemaker").create_model(
        ModelName="a", PrimaryContainer=container, ExecutionRoleArn=ROLE_ARN
    )
    with pytest.raises(ClientError, match="Could not assume role arn:aws:iam::1"):
        front.client("sagemaker").create_model(
            ModelName="b",
            PrimaryContainer=container,
            ExecutionRoleArn=ROLE_ARN.replace("000000000000", "111111111111"),
        )
