"""Check a parsed request against the service's model, and say everything that is wrong at once.

Rules and values come from the model (required members, lengths, ranges, patterns, enumerations);
the sentences are the ones AWS uses. Values of sensitive members are never repeated. Members the
model does not know never arrive here: parsing leaves them out, as AWS does.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.model import Shape


def describe_violations(violations: list[str]) -> str:
    """Return AWS's one sentence for a number of violations."""
    noun = "error" if len(violations) == 1 else "errors"
    return f"{len(violations)} validation {noun} detected: {'; '.join(violations)}"


def violations(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """Yield what is wrong with a value, each with the path of the member.

    Parameters
    ----------
    value
        A parsed value of the shape's type.
    shape
        botocore's shape.
    path
        Where the value stands, as AWS writes it: ``inputDataConfig.1.member.channelName``.
    """
    if path:
        for rule in _rules(shape):
            if not rule.holds(value):
                yield _violation(value, shape, path, rule.text)
    if shape.type_name == "structure":
        yield from _structure_violations(value, shape, path)
    elif shape.type_name == "list":
        yield from _list_violations(value, shape, path)
    elif shape.type_name == "map":
        yield from _map_violations(value, shape, path)


def _structure_violations(value: dict[str, Any], shape: Shape, path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if name not in value:
            yield (
                f"Value null at '{prefix}{_lower_first(name)}' failed to satisfy constraint: "
                "Member must not be null"
            )
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield _violation(
            value, shape, path, f"exactly one of {', '.join(shape.members)} must be set"
        )
    for name, item in value.items():
        yield from violations(item, shape.members[name], f"{prefix}{_lower_first(name)}")


def _list_violations(value: list[Any], shape: Shape, path: str) -> Iterator[str]:
    if shape.member.type_name in {"structure", "list", "map"}:
        for number, item in enumerate(value, 1):
            yield from violations(item, shape.member, f"{path}.{number}.member")
    else:
        rules = _rules(shape.member)
        if not all(rule.holds(item) for item in value for rule in rules):
            yield _violation(value, shape, path, f"Member must satisfy constraint: {_all(rules)}")


def _map_violations(value: dict[str, Any], shape: Shape, path: str) -> Iterator[str]:
    for part, items in (("key", value.keys()), ("value", value.values())):
        part_shape = getattr(shape, part)
        if part_shape.type_name == "structure":
            for key in value:
                yield from violations(value[key], part_shape, f"{path}.{key}.member")
            continue
        rules = _rules(part_shape)
        if not all(rule.holds(item) for item in items for rule in rules):
            yield _violation(
                value, shape, path, f"Map {part} must satisfy constraint: {_all(rules)}"
            )


def _violation(value: Any, shape: Shape, path: str, rule: str) -> str:
    shown = "Value" if _sensitive(shape) else f"Value '{_shown(value)}'"
    return f"{shown} at '{path}' failed to satisfy constraint: {rule}"


def _sensitive(shape: Shape) -> bool:
    parts = [getattr(shape, part, None) for part in ("member", "key", "value")]
    return any(
        part is not None and bool(part.metadata.get("sensitive")) for part in [shape, *parts]
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={_shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]


@dataclass(frozen=True, slots=True)
class _Rule:
    text: str
    holds: Callable[[Any], bool]


def _all(rules: list[_Rule]) -> str:
    return f"[{', '.join(rule.text for rule in rules)}]"


def _rules(shape: Shape) -> list[_Rule]:
    kind = shape.type_name
    rules = []
    if kind in {"string", "blob", "list", "map"}:
        rules += _bounds(shape, "have length", len)
    elif kind in {"integer", "long", "float", "double"}:
        rules += _bounds(shape, "have value", lambda value: value)
    if kind == "string":
        if (pattern := shape.metadata.get("pattern")) is not None:
            rules.append(
                _Rule(
                    f"Member must satisfy regular expression pattern: {pattern}",
                    lambda value: compile_pattern(pattern).fullmatch(value) is not None,
                )
            )
        if shape.enum:
            rules.append(
                _Rule(
                    f"Member must satisfy enum value set: [{', '.join(shape.enum)}]",
                    lambda value: value in shape.enum,
                )
            )
    return rules


def _bounds(shape: Shape, verb: str, measure: Callable[[Any], float]) -> list[_Rule]:
    rules = []
    highest, lowest = shape.metadata.get("max"), shape.metadata.get("min")
    if highest is not None:
        text = f"Member must {verb} less than or equal to {highest}"
        rules.append(_Rule(text, lambda value: measure(value) <= highest))
    if lowest is not None:
        text = f"Member must {verb} greater than or equal to {lowest}"
        rules.append(_Rule(text, lambda value: measure(value) >= lowest))
    return rules


@functools.cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compile a pattern of the models, which are written for Java.

    Java's ``\w``, ``\d`` and ``\s`` are ASCII. What Python has not or writes otherwise is spelt
    out: ``\p{L}``, pairs of surrogates, ``\z``, a quantifier after ``$``, a ``-`` after a class.
    """
    for java, python in _JAVA:
        pattern = pattern.replace(java, python)
    pattern = re.sub(r"\$\{\d+,\d+\}", "$", pattern)
    # An escape, \p{..} with or without brackets around it, or anything else.
    parts = re.findall(r"\\p\{\w+\}|\\.|.", pattern, re.DOTALL)
    inside, spelt = False, []
    for part in parts:
        if part.startswith(r"\p"):
            ranges = _category_ranges(part[3:-1])
            spelt.append(ranges if inside else f"[{ranges}]")
        else:
            inside = part == "[" or (inside and part != "]")
            spelt.append(part)
    return re.compile("".join(spelt), re.ASCII)


_JAVA = (
    (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010ffff"),
    (r"\z", r"\Z"),
    (r"[\w-_]", r"[\w\-_]"),
)
_ASCII_CATEGORIES = {"Alnum": "a-zA-Z0-9", "ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e"}


@functools.cache
def _category_ranges(category: str) -> str:
    if category in _ASCII_CATEGORIES:
        return _ASCII_CATEGORIES[category]
    ranges: list[list[int]] = []
    # Planes 4 to 13 are empty, 15 and 16 private: leaving them out saves the first caller a second.
    for code in itertools.chain(range(0x40000), range(0xE0000, 0xF0000)):
        if unicodedata.category(chr(code)).startswith(category):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
