"""Requests filtered, answers joined."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.sagemaker.transform_jobs.data_processing import (
    Format,
    InputError,
    OutputError,
    Processing,
    format_of,
)
from matinee.sagemaker.transform_jobs.json_paths import JsonPath


def processing(
    chosen: Format, input_filter: str = "$", output_filter: str = "$", **changes: Any
) -> Processing:
    return Processing(
        input_filter=JsonPath(input_filter),
        output_filter=JsonPath(output_filter),
        **{
            "is_joined": False,
            "input_format": chosen,
            "output_format": chosen,
            "is_split": True,
            **changes,
        },
    )


def inference() -> tuple[str, str]:
    return "id", "now"


def test_media_types_have_formats() -> None:
    assert format_of("text/csv; charset=utf-8") is Format.CSV
    assert format_of("Application/JSONLines") is Format.JSON_LINES
    assert format_of("application/x-recordio-protobuf") is None


@pytest.mark.parametrize(
    ("chosen", "path", "body", "sent"),
    [
        (Format.CSV, "$[1:]", b"id,1,2\nid,3,4\n", b"1,2\n3,4\n"),
        (Format.CSV, "$[1:]", b"id,1,2", b"1,2"),
        (Format.CSV, "$[1]", b"a,b\r\n\r\nc,d", b"b\nd"),
        (Format.CSV, "$[0,2]", b'"a ""x"", y",b,"c"\n', b'"a ""x"", y","c"\n'),
        (Format.CSV, "$[2]", b'"a",b,\n', b"\n"),
        (Format.JSON_LINES, "$.x", b'{"x":[1,2]}\n{"x":"\xc3\xa4"}\n', b'[1,2]\n"\xc3\xa4"\n'),
        (Format.JSON, "$['a','b']", b'{"a":1,"b":2,"c":3}', b'{"a":1,"b":2}'),
    ],
)
def test_requests_are_filtered(chosen: Format, path: str, body: bytes, sent: bytes) -> None:
    assert processing(chosen, path).request(memoryview(body)) == sent


def test_a_request_without_filter_is_passed_on() -> None:
    body = memoryview(b"\xff")
    assert processing(Format.CSV).request(body) is body


def test_a_whole_json_document_is_one_record() -> None:
    whole = processing(Format.JSON, "$.instances[0]", is_split=False)
    assert whole.request(b'{\n"instances": [1, 2]\n}\n') == b"1\n"


@pytest.mark.parametrize(
    ("chosen", "body", "answer", "joined"),
    [
        (Format.CSV, b"1,2,3\n4,5,6\n", b"1\n0\n", b"1,2,3,1\n4,5,6,0\n"),
        (Format.CSV, b"1,2", b"0.5,y", b"1,2,0.5,y"),
        (Format.JSON, b'{"key":1}', b'{"label":1}', b'{"key":1,"SageMakerOutput":{"label":1}}'),
        (
            Format.JSON_LINES,
            b'{"a":1,"SageMakerOutput":0}\n[7]\n',
            b'{"s":0.5}\n{"s":1e3}\n',
            b'{"a":1,"SageMakerOutput":{"s":0.5}}\n'
            b'{"SageMakerInput":[7],"SageMakerOutput":{"s":1000.0}}\n',
        ),
        (
            Format.JSON,
            b'{"a":1}\n{"a":2}\n',
            b"3\n4\n",
            b'{"a":1,"SageMakerOutput":3}\n{"a":2,"SageMakerOutput":4}\n',
        ),
    ],
)
def test_answers_are_joined(chosen: Format, body: bytes, answer: bytes, joined: bytes) -> None:
    assert processing(chosen, is_joined=True).answer(body, answer, None, inference) == joined


def test_joined_answers_are_filtered() -> None:
    rows = processing(Format.CSV, "$[1:]", "$[0,-1]", is_joined=True)
    assert rows.answer(b"id,2,3\n", b"0.5\n", None, inference) == b"id,0.5\n"
    lines = processing(Format.JSON_LINES, "$.x", "$['id','SageMakerOutput']", is_joined=True)
    assert lines.answer(b'{"id":1,"x":2}', b"3", None, inference) == b'{"id":1,"SageMakerOutput":3}'


def test_answers_may_have_a_format_of_their_own() -> None:
    only = processing(Format.CSV, output_filter="$.class", output_format=None)
    assert only.answer(b"1,2", b'{"class":[0]}', "application/json", inference) == b"[0]"
    with pytest.raises(OutputError, match="answered with content type 'text/html'"):
        only.answer(b"1,2", b"?", "text/html", inference)


def test_answers_get_identifiers() -> None:
    rows = processing(Format.CSV, is_identified=True)
    assert rows.answer(b"1\n", b"0\n1\n", None, inference) == b"0,id,now\n1,id,now\n"
    lines = processing(Format.JSON_LINES, is_identified=True)
    assert lines.answer(b"1\n", b'{"s":0}\n', None, inference) == (
        b'{"s":0,"SageMakerInferenceId":"id","SageMakerInferenceTime":"now"}\n'
    )
    with pytest.raises(OutputError, match="to a JSON object only"):
        lines.answer(b"1\n", b"0\n", None, inference)


@pytest.mark.parametrize(
    ("chosen", "path", "body", "said"),
    [
        (Format.CSV, "$[3]", b"a,b", r"InputFilter \$\[3\] finds nothing: index 3 of 2"),
        (Format.CSV, "$[0]", b'"a,b', "as CSV: the quotes of column 0 do not match"),
        (Format.CSV, "$[0]", b'a,"b"c', "the quotes of column 1 do not match"),
        (Format.CSV, "$[0]", b"\xff", "Failed to parse the input as CSV"),
        (Format.JSON_LINES, "$.x", b'{"y":1}', "no attribute 'x'"),
        (Format.JSON_LINES, "$.x", b"{", "Failed to parse the input as JSON_LINES"),
        (Format.JSON_LINES, "$.x", b"[" * 100_000, "nested too deeply"),
    ],
)
def test_requests_that_cannot_be_filtered(
    chosen: Format, path: str, body: bytes, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        processing(chosen, path).request(body)


@pytest.mark.parametrize(
    ("chosen", "path", "answer", "said"),
    [
        (Format.CSV, "$[4]", b"0\n1\n", r"OutputFilter \$\[4\] finds nothing: index 4 of 3"),
        (Format.CSV, "$", b"0\n", "mismatched line count between the input and the output: 2 and"),
        (Format.CSV, "$", b"\xff", "Failed to parse output from the algorithm as CSV"),
        (Format.JSON, "$", b"<html>", "Failed to parse output from the algorithm as JSON"),
    ],
)
def test_answers_that_cannot_be_joined(chosen: Format, path: str, answer: bytes, said: str) -> None:
    body = b"1,2\n3,4\n" if chosen is Format.CSV else b"1\n2\n"
    with pytest.raises(OutputError, match=said):
        processing(chosen, "$", path, is_joined=True).answer(body, answer, None, inference)
