"""Whatever an event's words hold, it is one line."""

from __future__ import annotations

import logging

import pytest

from matinee.sagemaker.server_log import Formatter, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain ü 日本", "plain ü 日本"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[2Jgone\0\x7f\x9b", "\\x1b[2Jgone\\x00\\x7f\\x9b"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
    ],
)
def test_control_characters_are_escaped(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_traceback_cannot_be_taken_for_events() -> None:
    record = logging.LogRecord("name", logging.ERROR, "", 0, "it %s", ("broke\nbadly",), None)
    try:
        raise ValueError("one\n2026-11-23T12:00:00Z INFO forged")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    first, *rest = Formatter().format(record).split("\n")
    assert first.endswith("Z ERROR name: it broke\\nbadly")
    assert all(line.startswith("  ") for line in rest)
    assert "  2026-11-23T12:00:00Z INFO forged" in rest
