"""CloudWatch Logs' filter patterns: which log lines a reader wants.

Terms, exact phrases in quotes, ``?`` for any of several, ``-`` for none of them, and conditions on
lines that are JSON objects, as the user guide's "Filter pattern syntax" says. Regular expressions
(``%..%``) and patterns for space-delimited lines (``[..]``) are refused.
"""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from matinee.sagemaker.errors import InvalidParameterException, NotImplementedByMatinee

Filter = Callable[[str], bool]
_Condition = Callable[[Any], bool]

_TERM = re.compile(r'\s*(?P<sign>[?-]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|(?P<word>[^\s"]+))')
_TOKEN = re.compile(
    r'\s*(?:(?P<selector>\$(?:\.[A-Za-z0-9_-]+|\[\d+\]|\["[^"\]]*"\])+)'
    r'|(?P<symbol>&&|\|\||!=|<=|>=|=|<|>|\(|\))|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()&|=<>!]+))'
)
_STEP = re.compile(r'\.([A-Za-z0-9_-]+)|\[(\d+)\]|\["([^"\]]*)"\]')
_ORDERINGS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = object()
_MAX_DEPTH = 50


def compile_pattern(pattern: str) -> Filter:
    """Return what decides whether a line is wanted.

    Raises
    ------
    InvalidParameterException
        The pattern cannot be read.
    NotImplementedByMatinee
        It is of a kind that is not here.
    """
    text = pattern.strip()
    if not text:
        return lambda _: True
    if text.startswith("{") and text.endswith("}"):
        return _json_filter(text[1:-1], pattern)
    if text.startswith("["):
        raise NotImplementedByMatinee("filter patterns for space-delimited log events")
    if text.startswith("%"):
        raise NotImplementedByMatinee("regular expressions in filter patterns")
    return _term_filter(text, pattern)


def _term_filter(text: str, pattern: str) -> Filter:
    wanted: dict[str, list[str]] = {"": [], "?": [], "-": []}
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise _invalid(pattern)
        phrase = found["phrase"]
        term = found["word"] if phrase is None else re.sub(r"\\(.)", r"\1", phrase)
        wanted[found["sign"]].append(term)
        position = found.end()
    every, some, none = wanted[""], wanted["?"], wanted["-"]
    if every:
        some = []  # as CloudWatch does: beside terms that must be there, these say nothing

    def is_wanted(line: str) -> bool:
        return (
            all(term in line for term in every)
            and (not some or any(term in line for term in some))
            and not any(term in line for term in none)
        )

    return is_wanted


def _json_filter(text: str, pattern: str) -> Filter:
    condition = _Parser(text, pattern).whole()

    def is_wanted(line: str) -> bool:
        if not line.lstrip().startswith("{"):
            return False
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return condition(document)

    return is_wanted


class _Parser:
    """Reads the conditions on a JSON line: comparisons, ``&&``, ``||`` and parentheses."""

    def __init__(self, text: str, pattern: str) -> None:
        self._pattern = pattern
        self._tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise _invalid(pattern)
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()
        self._depth = 0

    def whole(self) -> _Condition:
        condition = self._any()
        if self._tokens:
            raise _invalid(self._pattern)
        return condition

    def _any(self) -> _Condition:
        parts = [self._all()]
        while self._take("||"):
            parts.append(self._all())
        return lambda document: any(part(document) for part in parts)

    def _all(self) -> _Condition:
        parts = [self._one()]
        while self._take("&&"):
            parts.append(self._one())
        return lambda document: all(part(document) for part in parts)

    def _one(self) -> _Condition:
        if not self._take("("):
            return self._comparison()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _invalid(self._pattern)
        condition = self._any()
        if not self._take(")"):
            raise _invalid(self._pattern)
        return condition

    def _comparison(self) -> _Condition:
        select = _selector(self._next("selector"))
        kind, sign = self._pop()
        if kind == "word":
            return self._state(select, sign.upper())
        kind, value = self._pop()
        if sign in {"=", "!="} and kind in {"word", "text"}:
            equal = _equality(value, is_word=kind == "word")
            if sign == "=":
                return lambda document: equal(select(document))
            # A field that is not there is different from nothing.
            return lambda document: (found := select(document)) is not _MISSING and not equal(found)
        if sign in _ORDERINGS and kind == "word":
            number = self._number(value)
            return lambda document: (
                _is_number(found := select(document)) and _ORDERINGS[sign](found, number)
            )
        raise _invalid(self._pattern)

    def _state(self, select: Callable[[Any], Any], word: str) -> _Condition:
        _, following = self._pop()
        states: Mapping[tuple[str, str], _Condition] = {
            ("IS", "TRUE"): lambda document: select(document) is True,
            ("IS", "FALSE"): lambda document: select(document) is False,
            ("IS", "NULL"): lambda document: select(document) is None,
            ("NOT", "EXISTS"): lambda document: select(document) is _MISSING,
        }
        if (word, following.upper()) not in states:
            raise _invalid(self._pattern)
        return states[word, following.upper()]

    def _number(self, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise _invalid(self._pattern) from error

    def _take(self, symbol: str) -> bool:
        if self._tokens and self._tokens[0] == ("symbol", symbol):
            del self._tokens[0]
            return True
        return False

    def _pop(self) -> tuple[str, str]:
        if not self._tokens:
            raise _invalid(self._pattern)
        return self._tokens.pop(0)

    def _next(self, wanted: str) -> str:
        kind, token = self._pop()
        if kind != wanted:
            raise _invalid(self._pattern)
        return token


def _selector(text: str) -> Callable[[Any], Any]:
    steps: list[str | int] = [
        int(index) if index else name or quoted for name, index, quoted in _STEP.findall(text)
    ]

    def select(document: Any) -> Any:
        for step in steps:
            if isinstance(step, str):
                if not isinstance(document, dict) or step not in document:
                    return _MISSING
            elif not isinstance(document, list) or step >= len(document):
                return _MISSING
            document = document[step]
        return document

    return select


def _equality(value: str, *, is_word: bool) -> _Condition:
    text = value if is_word else re.sub(r"\\(.)", r"\1", value)
    try:
        number: float | None = float(text) if is_word else None
    except ValueError:
        number = None

    def equal(found: Any) -> bool:
        if _is_number(found):
            return number is not None and bool(found == number)
        if not isinstance(found, str):
            return False
        # Only the star is a wildcard.
        return fnmatch.fnmatchcase(found, re.sub(r"[?\[]", "[\\g<0>]", text))

    return equal


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _invalid(pattern: str) -> InvalidParameterException:
    return InvalidParameterException(f"Invalid filter pattern: {pattern!r}")
