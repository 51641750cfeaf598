"""Page a list that no single query of the store can give: merged, computed, or sorted by a value.

Every row has a key, which nothing else in the list has and which sorts; a page continues after the
last key seen, so rows that appear or vanish between two calls neither repeat nor hide others. A
NextToken of another list, another query or another hand is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import dropwhile, islice
from typing import Any, TypeVar

from matinee.sagemaker import page_tokens
from matinee.sagemaker.errors import InvalidParameterException, ValidationException

DEFAULT_MAX_RESULTS = 10

Row = TypeVar("Row")
Key = tuple[str | float, ...]
Rest = dict[str, str]


def stamp(moment: datetime) -> str:
    """Return a time as text that sorts as the time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def page(
    rows: Iterable[Row],
    request: Mapping[str, Any],
    *,
    member: str,
    key: Callable[[Row], Key],
    show: Callable[[Row], Any],
    is_sorted: bool = False,
) -> dict[str, Any]:
    """Answer one page of a list.

    Honours ``SortOrder`` (Ascending unless the request says otherwise), ``MaxResults`` and
    ``NextToken``.

    Parameters
    ----------
    rows
        All rows; those before the page may be left out when they are sorted.
    request
        The parsed request.
    member
        The member of the answer that holds the rows.
    key
        Of a row; sorts the list.
    show
        What the answer says of a row.
    is_sorted
        Whether the rows come in the order asked for; they are then read no further than needed.

    Raises
    ------
    ValidationException
        The token is not one of this query.
    """
    descending = is_descending(request)
    last = position(request, member)
    ordered = rows if is_sorted else sorted(rows, key=key, reverse=descending)
    if last is not None:
        seen = last

        def is_before(row: Row) -> bool:
            return key(row) >= seen if descending else key(row) <= seen

        ordered = dropwhile(is_before, ordered)
    size = request.get("MaxResults", DEFAULT_MAX_RESULTS)
    chosen = list(islice(ordered, size + 1))
    answer: dict[str, Any] = {member: [show(row) for row in chosen[:size]]}
    if len(chosen) > size:
        query = _fingerprint(request, member)
        answer["NextToken"] = page_tokens.write(query, *key(chosen[size - 1]))
    return answer


def names_after(names: Sequence[str], token: str | None, size: int) -> tuple[Sequence[str], Rest]:
    """Return the names of one page, and its ``nextToken`` if there are more: the last name on it.

    Raises
    ------
    InvalidParameterException
        The token is none of the names.
    """
    start = 0
    if token is not None:
        if token not in names:
            raise InvalidParameterException("The specified nextToken is invalid.")
        start = names.index(token) + 1
    chosen = names[start : start + size]
    return chosen, {"nextToken": chosen[-1]} if start + size < len(names) else {}


def is_descending(request: Mapping[str, Any]) -> bool:
    """Return whether the last row comes first."""
    return bool(request.get("SortOrder", "Ascending") == "Descending")


def position(request: Mapping[str, Any], member: str) -> Key | None:
    """Return the key after which a page begins; None for the first.

    Raises
    ------
    ValidationException
        The token is not one of this query.
    """
    token = request.get("NextToken")
    if token is None:
        return None
    try:
        return tuple(page_tokens.read(token, _fingerprint(request, member)))
    except ValueError as error:
        raise ValidationException(f"NextToken {token!r} {error}") from error


def _fingerprint(request: Mapping[str, Any], member: str) -> str:
    return page_tokens.fingerprint(request, {"NextToken", "MaxResults"}, member)
