"""Filter, sort and page the answer of a List operation.

One place for the parameters all of SageMaker's lists share. A page continues after the last item
seen, so items that appear or vanish between two calls neither repeat nor hide others. A NextToken
of another server, another query or another hand is refused.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.store import Query, Resource, Store

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
        The token is not one of this query, or the order is unknown.
    """
    sort_by = request.get("SortBy", "CreationTime")
    order = _ORDERS.get(sort_by)
    if order is None:
        raise ValidationException(f"SortBy {sort_by!r} is not one of {', '.join(_ORDERS)}")
    fingerprint = _fingerprint(request, summary_key, parent)
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
    kept = _first(store, query, size + 1, wanted)
    answer: dict[str, Any] = {summary_key: [summarise(resource) for resource in kept[:size]]}
    if len(kept) > size:
        answer["NextToken"] = _write_token(_key(kept[size - 1], order), fingerprint)
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


def _fingerprint(request: Mapping[str, Any], summary_key: str, parent: str | None) -> str:
    asked = {k: str(v) for k, v in request.items() if k not in {"NextToken", "MaxResults"}}
    text = json.dumps([summary_key, parent, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_token(last: tuple[str | datetime, str], fingerprint: str) -> str:
    value, name = last
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([fingerprint, text, name]).encode()).decode()


def _read_token(token: str, fingerprint: str, order: str) -> tuple[str | datetime, str]:
    try:
        written_for, value, name = json.loads(base64.urlsafe_b64decode(token.encode()))
        after = datetime.fromisoformat(value) if order in {"created", "modified"} else value
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValidationException(f"NextToken {token!r} is not a token of this service") from error
    if written_for != fingerprint or not (isinstance(value, str) and isinstance(name, str)):
        raise ValidationException(f"NextToken {token!r} belongs to another query")
    return after, name
