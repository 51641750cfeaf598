"""Which lines a filter pattern wants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matinee.sagemaker.errors import InvalidParameterException, NotImplementedByMatinee
from matinee.sagemaker.monitoring.filter_patterns import compile_pattern

LINES = ["ERROR 401 in a", "ERROR 402 in b", "WARN 401", 'say "hi"']


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("", LINES),
        ("  ", LINES),
        ("ERROR", LINES[:2]),
        ("error", []),
        ("ERROR 401", LINES[:1]),
        ('"ERROR 401"', LINES[:1]),
        ('"401 ERROR"', []),
        ("401 ERROR", LINES[:1]),
        ("?402 ?WARN", LINES[1:3]),
        ("ERROR ?WARN", LINES[:2]),
        ("-ERROR", LINES[2:]),
        ('ERROR -"in b"', LINES[:1]),
        (r'"\"hi\""', LINES[3:]),
        ("[ERROR", None),
    ],
)
def test_terms(pattern: str, wanted: list[str] | None) -> None:
    if wanted is None:
        with pytest.raises(NotImplementedByMatinee, match="space-delimited"):
            compile_pattern(pattern)
        return
    is_wanted = compile_pattern(pattern)
    assert [line for line in LINES if is_wanted(line)] == wanted


DOCUMENT = {
    "event": "Update",
    "size": 12,
    "ok": True,
    "bad": False,
    "none": None,
    "user": {"name": "Ann [1]", "a b": 1},
    "list": [{"a": "x"}, 2],
    "text": "12",
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('$.event = "Update"', True),
        ("$.event = Update", True),
        ("$.event = Up*", True),
        ('$.event = "*date"', True),
        ("$.event = update", False),
        ("$.event = U?date", False),
        ("$.event != Create", True),
        ("$.nothing != Create", False),
        ("$.size = 12", True),
        ("$.size = 12.0", True),
        ('$.size = "12"', False),
        ("$.text = 12", True),
        ("$.size > 11", True),
        ("$.size >= 12", True),
        ("$.size < 12", False),
        ("$.size <= 1.2e1", True),
        ("$.event > 1", False),
        ("$.ok > 0", False),
        ("$.ok IS TRUE", True),
        ("$.bad is false", True),
        ("$.none IS NULL", True),
        ("$.nothing IS NULL", False),
        ("$.nothing NOT EXISTS", True),
        ("$.none NOT EXISTS", False),
        ('$.user.name = "Ann [1]"', True),
        ('$.user["a b"] = 1', True),
        ("$.list[0].a = x", True),
        ("$.list[1] = 2", True),
        ("$.list[2] = 2", False),
        ("$.size = 1 || $.ok IS TRUE", True),
        ("$.size = 12 && $.ok IS FALSE", False),
        ("$.size = 1 || $.size = 12 && $.ok IS TRUE", True),
        ("($.size = 12 || $.size = 1) && $.ok IS FALSE", False),
    ],
)
def test_json(condition: str, expected: bool) -> None:
    assert compile_pattern(f"{{ {condition} }}")(json.dumps(DOCUMENT)) is expected


@pytest.mark.parametrize("line", ["", "text", "[1]", "{", '{"a": '])
def test_a_line_that_is_no_object_is_not_wanted(line: str) -> None:
    assert compile_pattern("{ $.a NOT EXISTS }")(line) is False


@pytest.mark.parametrize(
    "pattern",
    [
        '"open',
        "{ }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = = 1 }",
        "{ a = 1 }",
        "{ $.a > x }",
        '{ $.a > "1" }',
        "{ $.a IS MAYBE }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a = 1 && }",
        "{ $.a = 1 $.b = 2 }",
        "{ " + "(" * 60 + "$.a = 1" + ")" * 60 + " }",
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidParameterException, match="Invalid filter pattern"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "words"), [("%a+%", "regular expressions"), ("[a, b]", "space-delimited")]
)
def test_what_is_not_here(pattern: Any, words: str) -> None:
    with pytest.raises(NotImplementedByMatinee, match=words):
        compile_pattern(pattern)
