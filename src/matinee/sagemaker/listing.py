"""Filter, sort and page the answer of a List operation.

One place for the parameters all of SageMaker's lists share. A page continues after the last item
seen, so items that appear or vanish between two calls neither repeat nor hide others. A NextToken
of another server, another query or another hand is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from matinee.sagemaker import page_tokens
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.store import Query, Resource, Store

_MOST_RESULTS = 1000
DEFAULT_MAX_RESULTS = 10

# SageMaker's words for what a list is sorted by, and the store's.
_ORDERS: Mapping[str, str] = {
    "Name": "name",
    "CreationTime": "created",
    "LastModifiedTime": "modified",
    "Status": "status",
}
_TIMES: Mapping[str, str] = {
    "CreationTimeAfter": "created_after",
    "CreationTimeBefore": "created_before",
    "LastModifiedTimeAfter": "modified_after",
    "LastModifiedTimeBefore": "modified_before",
}


def page(
    store: Store,
    request: Mapping[str, Any],
    kind: str,
    *,
    summary_key: str,
    summarise: Callable[[Resource], dict[str, Any]],
    parent: str | None = None,
    wanted: Callable[[Resource], bool] = lambda _: True,
) -> dict[str, Any]:
    """Answer one page of a List operation.

    Honours ``NameContains``, ``StatusEquals``, ``CreationTimeAfter``, ``CreationTimeBefore``,
    ``LastModifiedTimeAfter``, ``LastModifiedTimeBefore``, ``SortBy`` (Name, CreationTime,
    LastModifiedTime, Status), ``SortOrder``, ``MaxResults`` and ``NextToken``. Without ``SortBy``
    and ``SortOrder`` the oldest comes first; an operation with another default puts it into the
    request.

    Parameters
    ----------
    store
        Where the resources are.
    request
        The parsed request.
    kind
        The kind of resource that is listed.
    summary_key
        The member of the answer that holds the summaries, e.g. ``TrainingJobSummaries``.
    summarise
        Makes a summary of a resource.
    parent
        Only what belongs to this ARN.
    wanted
        Leaves resources out by what the store cannot ask for.

    Returns
    -------
    dict
        The answer; ``NextToken`` only when there is more.

    Raises
    ------
    ValidationException
        The token is not one of this query, the order is unknown, or MaxResults has no sense.
    """
    sort_by = request.get("SortBy", "CreationTime")
    order = _ORDERS.get(sort_by)
    if order is None:
        raise ValidationException(f"SortBy {sort_by!r} is not one of {', '.join(_ORDERS)}")
    fingerprint = page_tokens.fingerprint(request, {"NextToken", "MaxResults"}, summary_key, parent)
    after = None
    if "NextToken" in request:
        after = _read_token(request["NextToken"], fingerprint, order)
    query = Query(
        kind=kind,
        parent=parent,
        status=request.get("StatusEquals"),
        name_contains=request.get("NameContains", ""),
        order=order,
        descending=request.get("SortOrder", "Ascending") == "Descending",
        after=after,
        **{name: request[member] for member, name in _TIMES.items() if member in request},
    )
    size = request.get("MaxResults", DEFAULT_MAX_RESULTS)
    # Not every operation's model says what it may be.
    if not 1 <= size <= _MOST_RESULTS:
        raise ValidationException(f"MaxResults {size} is not from 1 to {_MOST_RESULTS}")
    kept = _first(store, query, size + 1, wanted)
    answer: dict[str, Any] = {summary_key: [summarise(resource) for resource in kept[:size]]}
    if len(kept) > size:
        value, name = _key(kept[size - 1], order)
        text = value.isoformat() if isinstance(value, datetime) else value
        answer["NextToken"] = page_tokens.write(fingerprint, text, name)
    return answer


def _first(
    store: Store, query: Query, count: int, wanted: Callable[[Resource], bool]
) -> list[Resource]:
    """Return the first so many wanted resources of a query."""
    kept: list[Resource] = []
    while True:
        found = store.page(query, count)
        kept += filter(wanted, found)
        if len(kept) >= count or len(found) < count:
            return kept[:count]
        query = dataclasses.replace(query, after=_key(found[-1], query.order))


def _key(resource: Resource, order: str) -> tuple[str | datetime, str]:
    return getattr(resource, order), resource.name


def members(resource: Resource, *names: str) -> dict[str, Any]:
    """Return those of the named members that a resource's description has: most of a summary."""
    return {name: resource.document[name] for name in names if name in resource.document}


def _read_token(token: str, fingerprint: str, order: str) -> tuple[str | datetime, str]:
    try:
        value, name = page_tokens.read(token, fingerprint)
        return datetime.fromisoformat(value) if order in {"created", "modified"} else value, name
    except (ValueError, TypeError) as error:
        raise ValidationException(f"NextToken {token!r} {error}") from error
