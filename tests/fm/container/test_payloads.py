"""Media types and bodies, in and out, without a server."""

import json
from typing import Any

import numpy
import pytest
import scipy.sparse

from matinee.fm.container import payloads
from matinee.fm.container.payloads import JSON, JSON_LINES, RECORDIO, MediaTypeError, PayloadError
from matinee.fm.data import SparseRows
from matinee.recordio import decode_predictions, encode

DENSE = {"features": [1.0, 0, 2.5]}
LONG = {"data": {"features": {"values": [1.0, 0, 2.5]}}, "configuration": {}}
SPARSE = {"data": {"features": {"keys": [2, 0], "shape": [3], "values": [2.5, 1]}}}
EMPTY_ROW = {"data": {"features": {"keys": [], "shape": [3], "values": []}}}
ROW = [1.0, 0.0, 2.5]


def rows(features: Any) -> Any:
    if isinstance(features, SparseRows):
        parts = (features.data, features.indices, features.indptr)
        features = scipy.sparse.csr_matrix(parts, shape=features.shape).toarray()
    assert features.dtype == numpy.float32
    return features.tolist()


@pytest.mark.parametrize("instance", [DENSE, LONG, SPARSE], ids=["short", "long", "sparse"])
def test_the_forms_of_an_instance(instance: Any) -> None:
    body = json.dumps({"instances": [instance, instance]}).encode()
    assert rows(payloads.decode(body, JSON)) == [ROW, ROW]
    line = json.dumps(instance).encode()
    assert rows(payloads.decode(line, JSON_LINES)) == [ROW]


def test_json_lines_may_mix_forms() -> None:
    lines = [json.dumps(instance) for instance in (DENSE, LONG, SPARSE, EMPTY_ROW)]
    expected = [ROW, ROW, ROW, [0.0, 0.0, 0.0]]
    assert rows(payloads.decode("\n".join(lines).encode(), JSON_LINES)) == expected
    assert rows(payloads.decode("\r\n".join([*lines, "", ""]).encode(), JSON_LINES)) == expected


def test_recordio_with_and_without_a_frame() -> None:
    framed = encode(numpy.array([ROW], dtype=numpy.float32))
    assert rows(payloads.decode(framed, RECORDIO)) == [ROW]
    assert rows(payloads.decode(framed[8:], RECORDIO)) == [ROW]


def sparse(**features: Any) -> Any:
    return {"data": {"features": {"keys": [0], "shape": [3], "values": [1.0], **features}}}


@pytest.mark.parametrize(
    ("instance", "problem"),
    [
        (1, "neither"),
        ({}, "neither"),
        ({"features": "1,2"}, "neither"),
        ({"data": [1]}, "neither"),
        ({"data": {"features": [1]}}, "neither"),
        ({"data": {"features": {}}}, "values must be a list of numbers"),
        ({"features": ["1.0"]}, "values must be a list of numbers"),
        ({"features": [True]}, "values must be a list of numbers"),
        ({"features": [None]}, "values must be a list of numbers"),
        ({"features": [[1.0]]}, "values must be a list of numbers"),
        ({"features": [1.0, [2.0]]}, "values must be a list of numbers"),
        ({"features": [10**400]}, "values must be a list of numbers"),
        (sparse(keys=[0.0]), "keys must be a list of integers"),
        (sparse(keys=0), "keys must be a list of numbers"),
        (sparse(keys=[0, 1]), "2 keys for 1 values"),
        (sparse(keys=[3]), "keys from 3 to 3 aren't all below 3"),
        (sparse(keys=[-1]), "keys from -1 to -1 aren't all below 3"),
        (sparse(shape=3), "shape must be a list of one positive integer"),
        (sparse(shape=[3, 1]), "shape must be a list of one positive integer"),
        (sparse(shape=[0]), "shape must be a list of one positive integer"),
        (sparse(shape=[True]), "shape must be a list of one positive integer"),
        (sparse(shape=[2**31]), "shape must be a list of one positive integer"),
        ({"data": {"features": {"keys": [0], "values": [1]}}}, "shape must be a list"),
        ({"data": {"features": {"values": [1], "shape": [2]}}}, "1 values don't fill the shape"),
    ],
)
def test_a_bad_instance_is_named(instance: Any, problem: str) -> None:
    body = json.dumps({"instances": [EMPTY_ROW, instance]}).encode()
    with pytest.raises(PayloadError) as caught:
        payloads.decode(body, JSON)
    assert str(caught.value).startswith(f"instance 1: {problem}")


@pytest.mark.parametrize(
    ("body", "media_type", "problem"),
    [
        (b"", JSON, "the body is empty"),
        (b"", JSON_LINES, "the body is empty"),
        (b"", RECORDIO, "the body is empty"),
        (b"{", JSON, "the body isn't application/json"),
        (b"\xff", JSON, "the body isn't application/json"),
        (b"[" * 100_000, JSON, "the body isn't application/json"),
        (b"[]", JSON, "the body holds no instances"),
        (b"{}", JSON, "the body holds no instances"),
        (b'{"instances": {}}', JSON, "the body holds no instances"),
        (b'{"instances": []}', JSON, "the body holds no instances"),
        (b"\n \n", JSON_LINES, "the body holds no instances"),
        (b'{"features": [1]} x', JSON_LINES, "the body isn't application/jsonlines"),
        (b'{"features": [1]}\n{"features": [1, 2]}', JSON_LINES, "instances of different widths"),
        (b"\x0a\x23\xd7\xce", RECORDIO, "record 0 at byte 0: truncated header"),
        (b"1,2,3", RECORDIO, "record 0 at byte 0: "),
    ],
)
def test_a_bad_body_is_refused(body: bytes, media_type: str, problem: str) -> None:
    with pytest.raises(PayloadError) as caught:
        payloads.decode(body, media_type)
    assert str(caught.value).startswith(problem)


SCORES = numpy.array([0.1, 0.75], dtype=numpy.float32)
LABELS = numpy.array([0, 1], dtype=numpy.float32)


def test_a_float32_is_written_with_all_its_digits() -> None:
    body = payloads.encode(SCORES, None, JSON)
    assert body == b'{"predictions": [{"score": 0.10000000149011612}, {"score": 0.75}]}'


def test_a_classifier_s_answers() -> None:
    assert json.loads(payloads.encode(SCORES, LABELS, JSON)) == {
        "predictions": [
            {"score": 0.10000000149011612, "predicted_label": 0.0},
            {"score": 0.75, "predicted_label": 1.0},
        ]
    }
    assert payloads.encode(SCORES[1:], LABELS[1:], JSON_LINES) == (
        b'{"score": 0.75, "predicted_label": 1.0}\n'
    )
    scores, labels = decode_predictions(payloads.encode(SCORES, LABELS, RECORDIO))
    assert scores.tolist() == SCORES.tolist()
    assert labels is not None
    assert labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("application/jsonlines", JSON_LINES),
        ("application/jsonlines; verbose=true", JSON_LINES),
        ("Application/X-Recordio-Protobuf", RECORDIO),
        ("text/csv, application/jsonlines;q=0.5, */*", JSON_LINES),
    ],
)
def test_the_response_type_follows_accept(accept: str | None, expected: str) -> None:
    assert payloads.response_type(accept, JSON) == expected


def test_other_types_are_refused() -> None:
    with pytest.raises(MediaTypeError, match="accept 'text/csv' isn't supported, only application"):
        payloads.response_type("text/csv", JSON)
    with pytest.raises(MediaTypeError, match="content type 'text/csv' isn't supported"):
        payloads.request_type("text/csv")
    with pytest.raises(MediaTypeError, match="content type None isn't supported"):
        payloads.request_type(None)
    assert payloads.request_type("application/json; charset=utf-8") == JSON
