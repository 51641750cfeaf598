"""CloudWatch's metric math, the basic part: arithmetic of series, and functions of one of them.

``+ - * / ^``, parentheses, numbers, ids of other queries; ABS, CEIL, FLOOR, LOG, LOG10 and SQRT of
a series or a number; AVG, MAX, MIN, STDDEV and SUM, which make a number of a series. Everything
else (SEARCH, FILL, METRICS ..) is refused by name. An operation on two series has the periods that
both have.
"""

from __future__ import annotations

import math
import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from matinee.sagemaker.errors import NotImplementedByMatinee, ValidationException

# By where a period begins: seconds since 1970.
Series: TypeAlias = Mapping[float, float]
Value: TypeAlias = Series | float

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z][A-Za-z0-9_]*)"
    r"|(?P<sign>[-+*/^(),]))"
)
_MAX_DEPTH = 100

_EACH: Mapping[str, Callable[[float], float]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "LOG": math.log,
    "LOG10": math.log10,
    "SQRT": math.sqrt,
}
_ALL: Mapping[str, Callable[[Sequence[float]], float]] = {
    "AVG": statistics.fmean,
    "MAX": max,
    "MIN": min,
    "STDDEV": statistics.pstdev,
    "SUM": math.fsum,
}
_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}


def names(expression: str) -> set[str]:
    """Return the ids of the queries that an expression uses."""
    return {match["name"] for match in _TOKEN.finditer(expression) if match["name"] is not None} - {
        *_EACH,
        *_ALL,
    }


def evaluate(expression: str, known: Mapping[str, Series]) -> Series:
    """Return the series an expression makes.

    Parameters
    ----------
    expression
        In metric math.
    known
        The other queries' series by id.

    Raises
    ------
    ValidationException
        The expression cannot be read, or makes a number.
    NotImplementedByMatinee
        It uses a function that is not here.
    """
    value = _Evaluation(expression, known).whole()
    if not isinstance(value, Mapping):
        raise ValidationException(
            f"Error in expression {expression!r}: the result must be a time series, not a number"
        )
    return value


class _Evaluation:
    """Reads and computes an expression in one go."""

    def __init__(self, expression: str, known: Mapping[str, Series]) -> None:
        self._expression = expression
        self._known = known
        self._depth = 0
        self._tokens: list[tuple[str, str]] = []
        position, text = 0, expression.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise self._invalid(f"unexpected {text[position:].strip()[:1]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def whole(self) -> Value:
        value = self._sum()
        if self._tokens:
            raise self._invalid(f"unexpected {self._tokens[0][1]!r}")
        return value

    def _sum(self) -> Value:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._invalid("it is nested too deeply")
        value = self._product()
        while sign := self._take("+", "-"):
            value = _combined(_OPERATORS[sign], value, self._product())
        self._depth -= 1
        return value

    def _product(self) -> Value:
        value = self._signed()
        while sign := self._take("*", "/"):
            value = _combined(_OPERATORS[sign], value, self._signed())
        return value

    def _signed(self) -> Value:
        is_negative = False
        while sign := self._take("-", "+"):
            is_negative ^= sign == "-"
        value = self._power()
        return _combined(_OPERATORS["*"], -1.0, value) if is_negative else value

    def _power(self) -> Value:
        value = self._atom()
        if self._take("^"):
            return _combined(_OPERATORS["^"], value, self._signed())
        return value

    def _atom(self) -> Value:
        if not self._tokens:
            raise self._invalid("it ends too early")
        kind, text = self._tokens.pop(0)
        if kind == "number":
            return float(text)
        if text == "(":
            value = self._sum()
            self._require(")")
            return value
        if kind == "sign":
            raise self._invalid(f"unexpected {text!r}")
        if self._tokens and self._tokens[0] == ("sign", "("):
            return self._function(text)
        if text not in self._known:
            raise self._invalid(f"no query has the id {text!r}")
        return self._known[text]

    def _function(self, name: str) -> Value:
        if name not in _EACH and name not in _ALL:
            raise NotImplementedByMatinee(f"the metric math function {name}")
        self._require("(")
        value = self._sum()
        self._require(")")
        if name in _EACH:
            return _combined(lambda one, _: _EACH[name](one), value, 0.0)
        if not isinstance(value, Mapping):
            raise self._invalid(f"{name} takes a time series, not a number")
        # Of nothing there is no average; with nothing beside it no period is left anyway.
        found = list(value.values())
        return _number(lambda *_: _ALL[name](found), 0.0, 0.0) if found else math.nan

    def _take(self, *signs: str) -> str:
        if self._tokens and self._tokens[0][0] == "sign" and self._tokens[0][1] in signs:
            return self._tokens.pop(0)[1]
        return ""

    def _require(self, sign: str) -> None:
        if not self._take(sign):
            raise self._invalid(f"{sign!r} is missing")

    def _invalid(self, reason: str) -> ValidationException:
        return ValidationException(f"Error in expression {self._expression!r}: {reason}")


def _combined(function: Callable[[float, float], float], one: Value, other: Value) -> Value:
    if isinstance(one, Mapping):
        pairs = (
            {at: (value, other[at]) for at, value in one.items() if at in other}
            if isinstance(other, Mapping)
            else {at: (value, other) for at, value in one.items()}
        )
    elif isinstance(other, Mapping):
        pairs = {at: (one, value) for at, value in other.items()}
    else:
        return _number(function, one, other)
    found = {at: _number(function, *pair) for at, pair in pairs.items()}
    # Where there is no result, such as of a division by 0, there is no data point.
    return {at: value for at, value in found.items() if math.isfinite(value)}


def _number(function: Callable[[float, float], float], one: float, other: float) -> float:
    try:
        value = function(one, other)
    except (ArithmeticError, ValueError):
        return math.nan
    return math.nan if isinstance(value, complex) else float(value)
