"""What something came from and what came of it, read off the graph of lineage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console import kinds
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.context import Context
from matinee.sagemaker.registry import components, lineage, lineage_graph
from matinee.sagemaker.registry.job_components import SOURCES
from matinee.sagemaker.registry.lineage_graph import ACTION, ARTIFACT, CONTEXT
from matinee.sagemaker.services import associations
from matinee.sagemaker.store import Resource

_MOST = 50


@dataclass(frozen=True, slots=True)
class Vertex:
    """One thing in the graph: what it is, what it is called, its page in the console."""

    type: str
    name: str
    href: str | None


def routes(context: Context, frame: Frame) -> list[Route]:
    """Return the route: ``/lineage?arn=..``."""

    def show(request: Request) -> Response:
        arn = request.query_params.get("arn", "")
        resource = context.store.by_arn(arn.lower())
        if resource is None:
            raise HTTPException(404, f"There is nothing with the ARN {arn!r}")
        lineage.catch_up(context)
        starts = list(_starts(context, resource))
        return frame.render(
            request,
            "lineage.html",
            title=f"Lineage of {resource.name}",
            resource=resource,
            page=kinds.page_of(resource),
            ascendants=_edges(context, starts, "Ascendants"),
            descendants=_edges(context, starts, "Descendants"),
        )

    return [Route("/lineage", show)]


def _starts(context: Context, resource: Resource) -> Iterator[str]:
    """Yield the ARNs that stand for a resource in the graph."""
    if any(source.kind == resource.kind for source in SOURCES):
        yield components.arn_of(context, resource)
        return
    for kind in (ARTIFACT, ACTION, CONTEXT):
        for found in context.store.find(kind.name, parent=lineage.of_source(resource.arn)):
            yield found.arn


def _edges(context: Context, starts: list[str], direction: str) -> list[tuple[Vertex, str, Vertex]]:
    if not starts:
        return []
    answer = associations.query_lineage(
        context, {"StartArns": starts, "Direction": direction, "MaxResults": _MOST}
    )
    edges: list[dict[str, Any]] = answer["Edges"][:_MOST]
    return [
        (
            _vertex(context, edge["SourceArn"]),
            edge.get("AssociationType", ""),
            _vertex(context, edge["DestinationArn"]),
        )
        for edge in edges
    ]


def _vertex(context: Context, arn: str) -> Vertex:
    component = components.find_by_arn(context, arn)
    if component is not None:
        job = component.stored
        href = kinds.page_of(job)
        type_ = component.document.get("Source", {}).get("SourceType", "TrialComponent")
        return Vertex(type_, job.name, href)
    entity = lineage_graph.find(context, arn)
    if entity is None:
        return Vertex("", arn, None)
    found = context.store.by_arn(arn)
    uri = "" if found is None else found.document.get("Source", {}).get("SourceUri", "")
    source = context.store.by_arn(uri.lower()) if uri.startswith("arn:") else None
    href = None if source is None else kinds.page_of(source)
    return Vertex(entity.type, uri or entity.name or arn, href)
