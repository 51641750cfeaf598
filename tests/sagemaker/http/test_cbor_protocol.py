"""CBOR that is not what it should be, over the wire; what is right is asked for elsewhere."""

from __future__ import annotations

from typing import Any

import cbor2
import httpx
import pytest

from tests.sagemaker.conftest import Front

SERVICE = "GraniteServiceVersion20100801"
HEADERS = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}

ITEMS = [1]


def call(front: Front, operation: str, body: bytes, service: str = SERVICE) -> httpx.Response:
    path = f"/service/{service}/operation/{operation}"
    return front.post("monitoring", body, HEADERS, path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff", "the body is not CBOR"),
        (b"\xa1\x61a", "the body is not CBOR"),
        (b"\x81" * 100_000, "the body is not CBOR"),
        (cbor2.dumps([1]), "the body is not a CBOR map"),
        (cbor2.dumps({"Namespace": 1}), "Namespace: 1 is not of type string"),
        (cbor2.dumps({"Namespace": b"a"}), "Namespace: b'a' is not of type string"),
        (cbor2.dumps({"Dimensions": {}}), "Dimensions: {} is not of type list"),
        (cbor2.dumps({"a": ITEMS, "b": ITEMS}, value_sharing=True), "semantic tag 28"),
        (cbor2.dumps(["shared"] * 2, string_referencing=True), "semantic tag 25"),
        (cbor2.dumps({"IncludeLinkedAccounts": 1}), "is not of type boolean"),
    ],
)
def test_what_cannot_be_read(front: Front, body: bytes, words: str) -> None:
    answer = call(front, "ListMetrics", body)
    assert answer.status_code == 400
    error = cbor2.loads(answer.content)
    assert error["__type"] == "SerializationException"
    assert words in error["message"]


@pytest.mark.parametrize(
    ("operation", "service", "code"),
    [
        ("DescribeAlarms", SERVICE, "UnknownOperationException"),
        ("NoSuchThing", SERVICE, "UnknownOperationException"),
        ("ListMetrics", "Other", "SerializationException"),
    ],
)
def test_what_is_not_there(front: Front, operation: str, service: str, code: str) -> None:
    answer = call(front, operation, b"", service)
    assert cbor2.loads(answer.content)["__type"] == code


def test_an_empty_body_is_an_empty_request(front: Front) -> None:
    answer = call(front, "ListMetrics", b"")
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    assert cbor2.loads(answer.content) == {"Metrics": []}


def test_the_models_rules_hold(front: Front) -> None:
    request: dict[str, Any] = {"Namespace": ":a"}
    answer = call(front, "ListMetrics", cbor2.dumps(request))
    assert "failed to satisfy constraint" in cbor2.loads(answer.content)["message"]
