"""Filter, sort and page the answer of a List operation.

One place for the parameters all of SageMaker's lists share. A page continues after the last item
seen, so items that appear or vanish between two calls neither repeat nor hide others. A NextToken
of another server, another query or another hand is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.store import Resource

DEFAULT_MAX_RESULTS = 10

_ORDERS: Mapping[str, Callable[[Resource], str]] = {
    "Name": lambda resource: resource.name,
    "CreationTime": lambda resource: _stamp(resource.created),
    "Status": lambda resource: resource.status,
}


def page(
    request: Mapping[str, Any],
    resources: Sequence[Resource],
    *,
    summary_key: str,
    summarise: Callable[[Resource], dict[str, Any]],
) -> dict[str, Any]:
    """Answer one page of a List operation.

    Honours ``NameContains``, ``StatusEquals``, ``CreationTimeAfter``, ``CreationTimeBefore``,
    ``LastModifiedTimeAfter``, ``LastModifiedTimeBefore``, ``SortBy`` (Name, CreationTime, Status),
    ``SortOrder``, ``MaxResults`` and ``NextToken``. Without ``SortBy`` and ``SortOrder`` the oldest
    comes first; an operation with another default puts it into the request.

    Parameters
    ----------
    request
        The parsed request.
    resources
        All resources the operation may list.
    summary_key
        The member of the answer that holds the summaries, e.g. ``TrainingJobSummaries``.
    summarise
        Makes a summary of a resource.

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
    descending = request.get("SortOrder", "Ascending") == "Descending"
    query = _fingerprint(request, summary_key)

    def key(resource: Resource) -> tuple[str, str]:
        return order(resource), resource.name

    kept = [resource for resource in resources if _wanted(request, resource)]
    kept.sort(key=key, reverse=descending)
    if "NextToken" in request:
        last = _read_token(request["NextToken"], query)
        kept = [item for item in kept if (key(item) < last if descending else key(item) > last)]
    size = request.get("MaxResults", DEFAULT_MAX_RESULTS)
    answer: dict[str, Any] = {summary_key: [summarise(resource) for resource in kept[:size]]}
    if len(kept) > size:
        answer["NextToken"] = _write_token(key(kept[size - 1]), query)
    return answer


def members(resource: Resource, *names: str) -> dict[str, Any]:
    """Return those of the named members that a resource's description has: most of a summary."""
    return {name: resource.document[name] for name in names if name in resource.document}


def _wanted(request: Mapping[str, Any], resource: Resource) -> bool:
    created, modified = resource.created, resource.modified
    return (
        request.get("NameContains", "") in resource.name
        and request.get("StatusEquals", resource.status) == resource.status
        and ("CreationTimeAfter" not in request or created > request["CreationTimeAfter"])
        and ("CreationTimeBefore" not in request or created < request["CreationTimeBefore"])
        and ("LastModifiedTimeAfter" not in request or modified > request["LastModifiedTimeAfter"])
        and (
            "LastModifiedTimeBefore" not in request or modified < request["LastModifiedTimeBefore"]
        )
    )


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _fingerprint(request: Mapping[str, Any], summary_key: str) -> str:
    asked = {k: str(v) for k, v in request.items() if k not in {"NextToken", "MaxResults"}}
    text = json.dumps([summary_key, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_token(last: tuple[str, str], query: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([query, *last]).encode()).decode()


def _read_token(token: str, query: str) -> tuple[str, str]:
    try:
        written_for, value, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValidationException(f"NextToken {token!r} is not a token of this service") from error
    if written_for != query or not (isinstance(value, str) and isinstance(name, str)):
        raise ValidationException(f"NextToken {token!r} belongs to another query")
    return value, name
