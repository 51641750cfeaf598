"""Arithmetic of series."""

from __future__ import annotations

import math

import pytest

from matinee.sagemaker.errors import NotImplementedByMatinee, ValidationException
from matinee.sagemaker.monitoring.metric_math import evaluate, names

A = {0.0: 1.0, 60.0: 2.0, 120.0: 4.0}
B = {60.0: 10.0, 120.0: 0.0}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a", A),
        ("a + b", {60.0: 12.0, 120.0: 4.0}),
        ("a - 1", {0.0: 0.0, 60.0: 1.0, 120.0: 3.0}),
        ("2 * a", {0.0: 2.0, 60.0: 4.0, 120.0: 8.0}),
        ("a / b", {60.0: 0.2}),
        ("a ^ 2", {0.0: 1.0, 60.0: 4.0, 120.0: 16.0}),
        ("-a ^ 2", {0.0: -1.0, 60.0: -4.0, 120.0: -16.0}),
        ("2 ^ 3 ^ 0 * a", {0.0: 2.0, 60.0: 4.0, 120.0: 8.0}),
        ("(a + 1) * 2 - 1.5e0", {0.0: 2.5, 60.0: 4.5, 120.0: 8.5}),
        ("a - -+-a", {0.0: 0.0, 60.0: 0.0, 120.0: 0.0}),
        ("a / MAX(a)", {0.0: 0.25, 60.0: 0.5, 120.0: 1.0}),
        ("a * 0 + SUM(a)", {0.0: 7.0, 60.0: 7.0, 120.0: 7.0}),
        ("b + AVG(b) + MIN(b) + STDDEV(b)", {60.0: 20.0, 120.0: 10.0}),
        ("LOG(b)", {60.0: math.log(10)}),
        ("SQRT(a - 2)", {60.0: 0.0, 120.0: math.sqrt(2)}),
        ("ABS(0 - FLOOR(a / 3)) + CEIL(LOG10(1))", {0.0: 0.0, 60.0: 0.0, 120.0: 1.0}),
        ("a - AVG(none)", {}),
        ("(0 - a) ^ 0.5", {}),
        ("10 ^ 400 * a", {}),
        ("a + SUM(a / 4 * 1.7 * 10 ^ 308)", {}),
    ],
)
def test_values(expression: str, expected: dict[float, float]) -> None:
    assert evaluate(expression, {"a": A, "b": B, "none": {}}) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "it ends too early"),
        ("a +", "it ends too early"),
        ("a b", "unexpected 'b'"),
        ("a & a", "unexpected '&'"),
        ("* a", "unexpected '\\*'"),
        ("(a", "'\\)' is missing"),
        ("ABS a", "no query has the id 'ABS'"),
        ("c", "no query has the id 'c'"),
        ("AVG(1)", "AVG takes a time series"),
        ("AVG(a)", "must be a time series, not a number"),
        ("(" * 200 + "a" + ")" * 200, "nested too deeply"),
    ],
)
def test_what_cannot_be_read(expression: str, words: str) -> None:
    with pytest.raises(ValidationException, match=words):
        evaluate(expression, {"a": A})


@pytest.mark.parametrize("expression", ["FILL(a, 0)", "SEARCH(a)", "METRICS()"])
def test_other_functions_are_refused(expression: str) -> None:
    with pytest.raises(NotImplementedByMatinee, match=expression.partition("(")[0]):
        evaluate(expression, {"a": A})


def test_the_ids_it_uses() -> None:
    assert names("a + 2e3 * SUM(b_1) / a") == {"a", "b_1"}
