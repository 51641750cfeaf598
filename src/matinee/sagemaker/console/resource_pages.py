"""The page of one resource: where it stands, what is known of it, its logs, what it came from.

What can change while somebody looks stands in parts of their own, which the browser asks for again
until the resource has come to rest. Without scripts the page is as it was when it was asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matinee.sagemaker.console import facts, kinds, logs, tag_links
from matinee.sagemaker.console.comparison import curves_href
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.kinds import ENDPOINT, JOBS, MODEL, TRAINING, TUNING, Kind
from matinee.sagemaker.console.tag_links import TagLink
from matinee.sagemaker.context import Context
from matinee.sagemaker.endpoints.hosting_instances import GROUP_PREFIX
from matinee.sagemaker.monitoring.log_groups import Stream
from matinee.sagemaker.services import endpoints
from matinee.sagemaker.services import jobs as job_operations
from matinee.sagemaker.states import KINDS, state_of
from matinee.sagemaker.store import Resource

TAIL_LINES = 20
_RESTING_ENDPOINTS = {"InService", "Failed"}


class ResourcePages:
    """The pages of jobs, models and endpoints, but for what only one kind has.

    Parameters
    ----------
    context
        The server's surroundings.
    frame
        Renders them.
    links
        Where tags lead.
    """

    def __init__(self, context: Context, frame: Frame, links: Sequence[TagLink]) -> None:
        self._context = context
        self._frame = frame
        self._links = links

    @property
    def routes(self) -> list[Route]:
        """Where they are."""
        # Tuning jobs and endpoints have pages of their own kind.
        alike = [kind for kind in JOBS if kind is not TUNING]
        logged = [*alike, ENDPOINT]

        def at(kind: Kind, more: str = "") -> str:
            return f"/{kind.path}/{{name}}{more}"

        return [
            *(Route(at(kind), self._page(kind)) for kind in (*alike, MODEL)),
            *(Route(at(kind, "/live"), self._live(kind)) for kind in logged),
            *(Route(at(kind, "/logs"), self._logs(kind)) for kind in logged),
            *(Route(at(kind, "/stop"), self._stop(kind), methods=["POST"]) for kind in JOBS),
        ]

    def find(self, kind: Kind, request: Request) -> Resource:
        """Return the resource that a request's path names.

        Raises
        ------
        HTTPException
            There is none.
        """
        name = request.path_params["name"]
        found = self._context.store.get(kind.name, name)
        if found is None:
            raise HTTPException(404, f"There is no {kind.one.lower()} {name!r}")
        return found

    def parts(self, kind: Kind, resource: Resource) -> dict[str, Any]:
        """Return what the changing parts of a page show."""
        described = resource
        if kind is ENDPOINT:
            document = endpoints.describe_endpoint(self._context, {"EndpointName": resource.name})
            described = dataclasses.replace(resource, document=document)
        tail = None
        found = self._streams(kind, resource)
        if found:
            tail = logs.page(self._context, found[0], limit=TAIL_LINES)
        return {
            "kind": kind,
            "resource": resource,
            "charts": _charts(kind, resource),
            "took": _took(self._context, kind, resource),
            "failure": resource.document.get("FailureReason", ""),
            "transitions": resource.document.get("SecondaryStatusTransitions", []),
            "metrics": resource.document.get("FinalMetricDataList", []),
            "sections": facts.of(described),
            "tail": tail,
            "stream_count": len(found),
            "is_live": not is_at_rest(kind, resource),
        }

    def head(self, resource: Resource) -> dict[str, Any]:
        """Return what a page shows of a resource's surroundings: tags, and where they lead."""
        tags = self._context.store.tags(resource.arn)
        parent = self._context.store.by_arn(resource.parent) if resource.parent else None
        return {
            "tags": tags,
            "tag_links": tag_links.found(self._links, tags),
            "parent": None if parent is None else (parent, kinds.page_of(parent)),
            "document": resource.document,
        }

    def _page(self, kind: Kind) -> Any:
        def show(request: Request) -> Response:
            resource = self.find(kind, request)
            return self._frame.render(
                request,
                "resource.html",
                title=resource.name,
                **self.parts(kind, resource),
                **self.head(resource),
            )

        return show

    def _live(self, kind: Kind) -> Any:
        def show(request: Request) -> Response:
            parts = self.parts(kind, self.find(kind, request))
            return self._frame.fragment("parts.html", is_live=parts.pop("is_live"), **parts)

        return show

    def _streams(self, kind: Kind, resource: Resource) -> list[Stream]:
        if kind is ENDPOINT:
            return logs.streams(self._context, GROUP_PREFIX + resource.name, "")
        if not kind.log_group:
            return []
        return logs.streams(self._context, kind.log_group, resource.name)

    def _logs(self, kind: Kind) -> Any:
        def show(request: Request) -> Response:
            resource = self.find(kind, request)
            found = {stream.name: stream for stream in self._streams(kind, resource)}
            asked = request.query_params
            name = asked.get("stream") or next(iter(found), None)
            if name is not None and name not in found:
                raise HTTPException(404, f"There is no log {name!r}")
            text, before = asked.get("search", ""), _position(asked)
            lines = None
            if name is not None and text:
                lines = logs.search(self._context, found[name], text, before=before)
            elif name is not None:
                lines = logs.page(self._context, found[name], before=before)
            return self._frame.render(
                request,
                "logs.html",
                title=f"Log of {resource.name}",
                kind=kind,
                resource=resource,
                streams=list(found),
                stream=name,
                search=text,
                lines=lines,
                is_end=before is None,
            )

        return show

    def _stop(self, kind: Kind) -> Any:
        def stop(request: Request) -> Response:
            name = request.path_params["name"]
            job_operations.stop(self._context, KINDS[kind.name], {f"{kind.name}Name": name})
            return RedirectResponse(kind.href(name), 303)

        return stop


def _charts(kind: Kind, resource: Resource) -> str:
    """Return where the figures of a resource are; empty if it has none."""
    if kind is TUNING:
        return kind.href(resource.name, "trials")
    return curves_href(resource) if kind is TRAINING else ""


def is_at_rest(kind: Kind, resource: Resource) -> bool:
    """Return whether a resource is not about to change by itself."""
    if kind is ENDPOINT:
        return resource.status in _RESTING_ENDPOINTS
    return kind is MODEL or state_of(resource).is_terminal


def _took(context: Context, kind: Kind, resource: Resource) -> float | None:
    """Return how long a job took, or has been running."""
    if kind not in JOBS:
        return None
    seconds = kinds.seconds(resource)
    if seconds is None and not state_of(resource).is_terminal:
        seconds = (context.clock() - resource.created).total_seconds()
    return seconds


def _position(asked: Mapping[str, str]) -> int | None:
    text = asked.get("before", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HTTPException(400, f"before={text!r} is no line of a log")
    return int(text) if text else None
