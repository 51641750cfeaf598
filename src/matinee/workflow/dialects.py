"""Where SQL engines spell the same thing differently: DuckDB, Spark SQL and Athena.

`definition` writes every other word alike for all of them. What a dialect gives is text to put into
a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one engine spells what the definition needs; each takes and returns SQL expressions.

    Attributes
    ----------
    name : str
        As the run parameter `engine` and sqlglot name it.
    text : str
        The type of text of any length.
    md5 : callable
        A text's MD5 as 32 lowercase hexadecimal digits.
    matches : callable
        Whether a text holds a match of a regular expression (without backslashes).
    days : callable
        Days from 1970-01-01 to a date.
    row : callable
        Values as one, ordered by the first, then by the second, and so on.
    fields : callable
        A text cut at every tab, as an array.
    field : callable
        The element of such an array at a position from 1.
    size : callable
        How many elements an array has.
    literal : callable
        Any text of Python's, quoted.
    """

    name: str
    text: str
    md5: Callable[[str], str]
    matches: Callable[[str, str], str]
    days: Callable[[str], str]
    row: Callable[[Sequence[str]], str]
    fields: Callable[[str], str]
    field: Callable[[str, int], str]
    size: Callable[[str], str]
    literal: Callable[[str], str]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _spark_literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _trino_days(date: str) -> str:
    return f"date_diff('day', date '1970-01-01', {date})"


DUCKDB = Dialect(
    name="duckdb",
    text="varchar",
    md5=lambda value: f"md5({value})",
    matches=lambda value, pattern: f"regexp_matches({value}, '{pattern}')",
    days=_trino_days,
    row=lambda values: f"row({', '.join(values)})",
    fields=lambda value: f"string_split({value}, chr(9))",
    field=lambda array, position: f"{array}[{position}]",
    size=lambda array: f"len({array})",
    literal=_literal,
)
SPARK = Dialect(
    name="spark",
    text="string",
    md5=lambda value: f"md5({value})",
    matches=lambda value, pattern: f"{value} rlike '{pattern}'",
    days=lambda date: f"datediff({date}, date '1970-01-01')",
    row=lambda values: f"struct({', '.join(values)})",
    fields=lambda value: f"split({value}, chr(9), -1)",
    field=lambda array, position: f"get({array}, {position - 1})",
    size=lambda array: f"size({array})",
    literal=_spark_literal,
)
ATHENA = Dialect(
    name="athena",
    text="varchar",
    md5=lambda value: f"lower(to_hex(md5(to_utf8({value}))))",
    matches=lambda value, pattern: f"regexp_like({value}, '{pattern}')",
    days=_trino_days,
    row=lambda values: f"row({', '.join(values)})",
    fields=lambda value: f"split({value}, chr(9))",
    field=lambda array, position: f"element_at({array}, {position})",
    size=lambda array: f"cardinality({array})",
    literal=_literal,
)
