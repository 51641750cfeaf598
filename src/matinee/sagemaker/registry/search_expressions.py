"""The conditions and the order of SageMaker's Search, over plain documents.

A property is named by its path (``InputDataConfig.DataSource.S3DataSource.S3Uri``); a list on the
way means each of its items. ``Tags.<key>``, ``Metrics.<name>``, ``HyperParameters.<name>`` and
``Parameters.<name>`` name entries whose names may hold dots. Structure: API_Filter, API_Search in
the API reference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from matinee.sagemaker.errors import ValidationException

MAX_CONDITIONS = 50
MAX_DEPTH = 50

Document = Mapping[str, Any]

_MISSING_VALUE = frozenset({"Exists", "NotExists"})
_HYPERPARAMETERS = "hyperparameters."


def check(expression: Document) -> None:
    """Refuse an expression that has no condition, too many, too deep ones, or one without a value.

    Raises
    ------
    ValidationException
    """
    level: list[Document] = [expression]
    for _ in range(MAX_DEPTH):
        level = [sub for one in level for sub in one.get("SubExpressions", ())]
    if level:
        raise ValidationException(
            f"SearchExpression is nested too deeply; the limit is {MAX_DEPTH} levels"
        )
    filters = list(_filters(expression))
    if not filters:
        raise ValidationException(
            "SearchExpression must have at least one of Filters, NestedFilters and SubExpressions"
        )
    if len(filters) > MAX_CONDITIONS:
        raise ValidationException(
            f"SearchExpression has {len(filters)} conditions; the limit is {MAX_CONDITIONS}"
        )
    for item in filters:
        if "Value" not in item and item.get("Operator", "Equals") not in _MISSING_VALUE:
            raise ValidationException(f"The filter on {item['Name']!r} must have a Value")


def names(expression: Document) -> Iterator[str]:
    """Yield the properties an expression asks for."""
    for item in _filters(expression):
        yield item["Name"]


def _filters(expression: Document) -> Iterator[Document]:
    yield from expression.get("Filters", ())
    for nested in expression.get("NestedFilters", ()):
        yield from nested["Filters"]
    for sub in expression.get("SubExpressions", ()):
        yield from _filters(sub)


def matches(document: Document, expression: Document) -> bool:
    """Return whether a document satisfies a checked expression."""
    conditions = itertools.chain(
        (holds(document, item) for item in expression.get("Filters", ())),
        (_holds_nested(document, item) for item in expression.get("NestedFilters", ())),
        (matches(document, item) for item in expression.get("SubExpressions", ())),
    )
    return (any if expression.get("Operator") == "Or" else all)(conditions)


def _holds_nested(document: Document, nested: Document) -> bool:
    """Return whether one item of a list satisfies all filters."""
    name = nested["NestedPropertyName"]
    filters = [
        {**item, "Name": item["Name"].removeprefix(f"{name}.")} for item in nested["Filters"]
    ]
    return any(
        all(holds(item, condition) for condition in filters)
        for item in values(document, name)
        if isinstance(item, Mapping)
    )


def holds(document: Document, condition: Document) -> bool:
    """Return whether a document satisfies one filter."""
    name, operator = condition["Name"], condition.get("Operator", "Equals")
    found = list(values(document, name))
    if operator == "Exists":
        return bool(found)
    if operator == "NotExists":
        return not found
    wanted = condition["Value"]
    as_parameter = name.lower().startswith(_HYPERPARAMETERS)
    if operator == "NotEquals":
        return not any(_compares(value, "Equals", wanted, as_parameter) for value in found)
    return any(_compares(value, operator, wanted, as_parameter) for value in found)


def _compares(value: Any, operator: str, wanted: str, as_parameter: bool) -> bool:
    if operator == "In":
        return any(
            _compares(value, "Equals", item.strip(), as_parameter) for item in wanted.split(",")
        )
    if operator == "Contains":
        return wanted in _text(value)
    pair = _pair(value, wanted, as_parameter)
    return pair is not None and _COMPARISONS[operator](*pair)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda value, wanted: value == wanted,
    "GreaterThan": lambda value, wanted: value > wanted,
    "GreaterThanOrEqualTo": lambda value, wanted: value >= wanted,
    "LessThan": lambda value, wanted: value < wanted,
    "LessThanOrEqualTo": lambda value, wanted: value <= wanted,
}


def _pair(value: Any, wanted: str, as_parameter: bool) -> tuple[Any, Any] | None:
    """Return both as values of one type; None when the wanted one is not of the other's type."""
    if isinstance(value, datetime):
        moment = _moment(wanted)
        return None if moment is None else (value, moment)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return _text(value), wanted.lower() if isinstance(value, bool) else wanted
    number = _number(wanted)
    if isinstance(value, str):
        parameter = _number(value) if as_parameter else None
        if parameter is None or number is None:
            return value, wanted
        # A whole number compares with the whole part of a hyperparameter.
        whole = wanted.strip().lstrip("+-").isdigit()
        return (float(int(parameter)) if whole else parameter), number
    return None if number is None else (float(value), number)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def values(document: Any, path: str) -> Iterator[Any]:
    """Yield what is at a path; nothing if there is nothing."""
    if not path:
        yield from _unwrapped(document)
    elif isinstance(document, Sequence) and not isinstance(document, str):
        for item in document:
            yield from _of_item(item, path)
    elif isinstance(document, Mapping):
        # The longest name first: an entry's name may hold dots.
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            key = _key(document, ".".join(parts[:length]))
            if key is not None:
                yield from values(document[key], ".".join(parts[length:]))
                return


def _key(document: Document, name: str) -> str | None:
    if name in document:
        return name
    return next((key for key in document if key.lower() == name.lower()), None)


# Lists that are named entries: what names an entry, and what is its value.
_ENTRIES = (("Key", "Value"), ("MetricName", "Value"), ("MetricName", "Last"))


def _of_item(item: Any, path: str) -> Iterator[Any]:
    if isinstance(item, Mapping):
        for naming, value in _ENTRIES:
            name = item.get(naming)
            if name is None or value not in item:
                continue
            if path == name:
                yield item[value]
                return
            if path.startswith(f"{name}."):
                yield from values(item, path.removeprefix(f"{name}."))
                return
    yield from values(item, path)


def _unwrapped(value: Any) -> Iterator[Any]:
    """Yield a list's items, and a parameter's number or text, instead of what holds it."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _unwrapped(item)
    elif isinstance(value, Mapping) and value.keys() <= {"NumberValue", "StringValue"} and value:
        yield from value.values()
    elif value is not None:
        yield value


def sort_key(document: Document, path: str) -> tuple[float, float, str]:
    """Return what a document sorts by: those without the property, then numbers, then text."""
    value = next(values(document, path), None)
    if value is None:
        return 0.0, 0.0, ""
    if isinstance(value, datetime):
        return 1.0, value.timestamp(), ""
    if isinstance(value, int | float):
        return 1.0, float(value), ""
    return 2.0, 0.0, _text(value)
