"""What values hyperparameters may have: kinds of values, how they are read and how that is said.

A table of rules, name -> rule, is checked by ``check`` as a whole: values arrive as the strings of
``hyperparameters.json``, or as the JSON values that the strings would spell, and leave typed.
Missing and unknown names and values that break their rule are told all at once, not one by one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

_LARGEST_INTEGER = 2**31 - 1  # keys are 32-bit inside the training loop
_LARGEST_FLOAT = 3.4028234663852886e38  # all arithmetic is float32
_INTEGER = re.compile(r"[1-9][0-9]*", re.ASCII)
_SEED = re.compile(r"[0-9]{1,39}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of value: how it is read (None when it is not one) and how the rule is said."""

    read: Callable[[object], Any]
    text: str


def _read_positive_integer(value: object) -> int | None:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value) or len(value) > len(str(_LARGEST_INTEGER)):
            return None
        value = int(value)
    # NumPy's integers are such, too.
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    value = int(value)
    return value if 1 <= value <= _LARGEST_INTEGER else None


def _read_seed(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if _SEED.fullmatch(str(value)) else None


def _read_positive_integers(value: object) -> tuple[int, ...] | None:
    if isinstance(value, str):
        bracketed = value.startswith("[") and value.endswith("]")
        value = [part.strip() for part in (value[1:-1] if bracketed else value).split(",")]
    if not isinstance(value, Sequence) or not value:
        return None
    numbers = [_read_positive_integer(part) for part in value]
    return None if None in numbers else tuple(number for number in numbers if number)


def _read_number(value: object) -> float | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    value = float(value)
    # NaN fails the comparison too.
    return value if abs(value) <= _LARGEST_FLOAT else None


def _read_non_negative_number(value: object) -> float | None:
    number = _read_number(value)
    return number if number is not None and number >= 0 else None


def _read_boolean(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def natural_number(most: int) -> Rule:
    """Return the rule of an integer from 0 to ``most``."""

    def read(value: object) -> int | None:
        number = 0 if value in ("0", 0) and value is not False else _read_positive_integer(value)
        return number if number is not None and number <= most else None

    return Rule(read, f"an integer with minimum 0 and maximum {most} or a string of one")


def one_of(*choices: str) -> Rule:
    """Return the rule of a value that is one of some words."""
    return Rule(lambda value: value if value in choices else None, f"one of {list(choices)}")


POSITIVE_INTEGER = Rule(
    _read_positive_integer,
    "a string matching '^([1-9][0-9]*)$' or an integer with minimum 1 and maximum 2147483647",
)
NATURAL_NUMBER = natural_number(_LARGEST_INTEGER)
POSITIVE_INTEGERS = Rule(
    _read_positive_integers, "positive integers separated by commas, such as '943,1682'"
)
SEED = Rule(_read_seed, "a natural number of at most 39 digits")
NUMBER = Rule(_read_number, "a finite float32 number or a string of one")
NON_NEGATIVE_NUMBER = Rule(
    _read_non_negative_number, "a finite float32 number with minimum 0 or a string of one"
)
BOOLEAN = Rule(_read_boolean, "one of ['true', 'false']")
TEXT = Rule(_read_text, "a string")


def check(
    values: Mapping[str, object], rules: Mapping[str, Rule], required: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Read values by a table of rules.

    Returns
    -------
    typed : dict
        The values that keep their rule, by name, in the order of the rules.
    problems : list of str
        A sentence for all missing names, one for all unknown names and one for each bad value.
    """
    problems = _missing(values, required) + _unknown(values, rules)
    typed: dict[str, Any] = {}
    for name, rule in rules.items():
        if name not in values:
            continue
        value = rule.read(values[name])
        if value is None:
            problems.append(f"{values[name]!r} is not valid for {name!r}: expected {rule.text}")
        else:
            typed[name] = value
    return typed, problems


def _missing(values: Mapping[str, object], required: Sequence[str]) -> list[str]:
    names = [name for name in required if name not in values]
    if not names:
        return []
    listed = ", ".join(repr(name) for name in names)
    return [f"No value(s) were specified for {listed} which are required hyperparameter(s)"]


def _unknown(values: Mapping[str, object], rules: Mapping[str, Rule]) -> list[str]:
    names = sorted(str(name) for name in values if name not in rules)
    if not names:
        return []
    listed = ", ".join(repr(name) for name in names)
    verb = "was" if len(names) == 1 else "were"
    return [f"Additional properties are not allowed ({listed} {verb} unexpected)"]
