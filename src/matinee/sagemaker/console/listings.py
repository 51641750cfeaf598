"""Lists of resources: a page at a time, narrowed down by status and by part of the name.

A page costs two questions of the database whatever it holds: one for its rows and one more, one for
how many there are of each status, which its index alone answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker import listing
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.kinds import LISTED, TRAINING, Column, Kind
from matinee.sagemaker.context import Context
from matinee.sagemaker.store import Resource

PAGE_SIZE = 50


def rows(
    context: Context,
    kind: str,
    asked: Mapping[str, str],
    *,
    parent: str | None = None,
    sort_by: str = "CreationTime",
) -> tuple[list[Resource], str | None]:
    """Return one page of resources, the last first, and the token of the next page.

    Parameters
    ----------
    context
        The server's surroundings.
    kind
        In the store.
    asked
        ``name``, ``status`` and ``after``, as the page's address has them.
    parent
        ARN of what they belong to.
    sort_by
        SageMaker's word.

    Raises
    ------
    ValidationException
        The token is none of this list.
    """
    request: dict[str, Any] = {
        "SortBy": sort_by,
        "SortOrder": "Descending",
        "MaxResults": PAGE_SIZE,
    }
    for member, field in (
        ("NameContains", "name"),
        ("StatusEquals", "status"),
        ("NextToken", "after"),
    ):
        if asked.get(field):
            request[member] = asked[field]
    answer = listing.page(
        context.store,
        request,
        kind,
        summary_key="Rows",
        summarise=lambda resource: {"resource": resource},
        parent=parent,
    )
    return [row["resource"] for row in answer["Rows"]], answer.get("NextToken")


def routes(context: Context, frame: Frame) -> list[Route]:
    """Return the routes of all lists."""
    return [Route(f"/{kind.path}", _page(context, frame, kind)) for kind in LISTED]


def _page(context: Context, frame: Frame, kind: Kind) -> Any:
    def show(request: Request) -> Response:
        asked = request.query_params
        found, token = rows(context, kind.name, asked)
        counts = context.store.counts(kind.name)
        return frame.render(
            request,
            "listing.html",
            title=kind.title,
            kind=kind,
            rows=[(resource, _cells(kind.columns, resource)) for resource in found],
            counts=sorted(counts.items()),
            total=sum(counts.values()),
            asked={field: asked.get(field, "") for field in ("name", "status")},
            is_first="after" not in asked,
            first=_address(asked, after=""),
            following=None if token is None else _address(asked, after=token),
            can_compare=kind is TRAINING,
        )

    return show


def _cells(columns: Iterable[Column], resource: Resource) -> list[tuple[str, bool]]:
    return [(column.value(resource), column.is_number) for column in columns]


def _address(asked: Mapping[str, str], *, after: str) -> str:
    """Return the address of another page of the list that was asked for."""
    values = {"name": asked.get("name"), "status": asked.get("status"), "after": after}
    return "?" + urlencode({name: value for name, value in values.items() if value})
