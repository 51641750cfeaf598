"""Lineage's associations, and questions about all that hangs together by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceNotFound, ValidationException
from matinee.sagemaker.registry import lineage, lineage_graph, sequences
from matinee.sagemaker.registry.entities import MEMBERSHIP
from matinee.sagemaker.registry.experiments import EXPERIMENT
from matinee.sagemaker.registry.lineage_graph import ASSOCIATION, Entity
from matinee.sagemaker.registry.sequences import stamp

DEFAULT_DEPTH = 10
_SUMMARIES = "AssociationSummaries"


def add_association(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Say that one entity led to another.

    Raises
    ------
    ResourceNotFound
        One of them does not exist.
    """
    lineage.catch_up(context)
    with MEMBERSHIP:
        source = _entity(context, request["SourceArn"])
        destination = _entity(context, request["DestinationArn"])
        type_ = request.get("AssociationType")
        edge = lineage_graph.edge(context, source.arn, destination.arn, type_, context.clock())
        lineage_graph.add(context, edge)
    return {"SourceArn": source.arn, "DestinationArn": destination.arn}


def delete_association(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget that one entity led to another.

    Raises
    ------
    ResourceNotFound
        Nothing says so.
    """
    lineage.catch_up(context)
    source, destination = request["SourceArn"].lower(), request["DestinationArn"].lower()
    if not lineage_graph.remove(context, source, destination):
        raise ResourceNotFound(f"Association from '{source}' to '{destination}' does not exist.")
    return {"SourceArn": source, "DestinationArn": destination}


def list_associations(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List associations, the newest first unless asked otherwise.

    Raises
    ------
    ResourceNotFound
        An ARN to filter by is of nothing.
    """
    lineage.catch_up(context)
    request = {"SortOrder": "Descending", **request}
    rows = [row for row in _rows(context, request) if _is_wanted(row, request)]
    sort_by = request.get("SortBy", "CreationTime")

    def key(row: Mapping[str, Any]) -> sequences.Key:
        value = row[sort_by]
        ends = row["SourceArn"], row["DestinationArn"]
        return (stamp(value) if sort_by == "CreationTime" else value, *ends)

    return sequences.page(rows, request, member=_SUMMARIES, key=key, show=dict)


def _rows(context: Context, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    edges: Iterable[dict[str, Any]]
    if "SourceArn" in request:
        edges = lineage_graph.edges_from(context, _entity(context, request["SourceArn"]).arn)
    elif "DestinationArn" in request:
        edges = lineage_graph.edges_to(context, _entity(context, request["DestinationArn"]).arn)
    else:
        edges = (found.document for found in context.store.find(ASSOCIATION))
    for edge in edges:
        source = lineage_graph.find(context, edge["SourceArn"])
        destination = lineage_graph.find(context, edge["DestinationArn"])
        # The job of a component may have been deleted.
        if source is not None and destination is not None:
            yield {
                **edge,
                "SourceType": source.type,
                "DestinationType": destination.type,
                **({"SourceName": source.name} if source.name else {}),
                **({"DestinationName": destination.name} if destination.name else {}),
                "CreatedBy": {},
            }


def _is_wanted(row: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    same = ("SourceType", "DestinationType", "AssociationType")
    destination = request.get("DestinationArn", row["DestinationArn"])
    return (
        destination.lower() == row["DestinationArn"]
        and all(request[name] == row.get(name) for name in same if name in request)
        and _is_between(
            row["CreationTime"], request.get("CreatedAfter"), request.get("CreatedBefore")
        )
    )


def _is_between(moment: Any, after: Any, before: Any) -> bool:
    return (after is None or moment > after) and (before is None or moment < before)


def _entity(context: Context, arn: str) -> Entity:
    entity = lineage_graph.find(context, arn)
    if entity is None:
        raise ResourceNotFound(f"Resource '{arn}' does not exist.")
    return entity


def query_lineage(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return what an entity came from, and what came of it.

    Raises
    ------
    ResourceNotFound
        It does not exist.
    ValidationException
        No entity is given.
    """
    lineage.catch_up(context)
    starts = request.get("StartArns", [])
    if not starts:
        raise ValidationException("not implemented by matinee: QueryLineage without StartArns")
    direction = request.get("Direction", "Both")
    depth = request.get("MaxDepth", DEFAULT_DEPTH)
    entities: dict[str, Entity] = {}
    edges: dict[tuple[str, str], dict[str, Any]] = {}
    for start in starts:
        entity = _entity(context, start)
        entities[entity.arn] = entity
        if direction != "Descendants":
            _walk(context, entity, depth, entities, edges, up=True)
        if direction != "Ascendants":
            _walk(context, entity, depth, entities, edges, up=False)
    for start in starts:
        # What is asked is the start's surroundings, not the start.
        entities.pop(start.lower(), None)
    filters = request.get("Filters", {})
    kept = [
        entity
        for entity in entities.values()
        # AWS knows no vertex that is an experiment.
        if entity.kind != EXPERIMENT.name and _passes(entity, filters)
    ]
    answer = sequences.page(
        kept,
        {"MaxResults": 50, **request},
        member="Vertices",
        key=lambda entity: (entity.arn,),
        show=lambda entity: {
            "Arn": entity.arn,
            "Type": entity.type,
            "LineageType": entity.kind,
        },
    )
    if request.get("IncludeEdges", True):
        answer["Edges"] = [
            {name: edge[name] for name in _EDGE_MEMBERS if name in edge} for edge in edges.values()
        ]
    return answer


_EDGE_MEMBERS = ("SourceArn", "DestinationArn", "AssociationType")


def _walk(
    context: Context,
    start: Entity,
    depth: int,
    entities: dict[str, Entity],
    edges: dict[tuple[str, str], dict[str, Any]],
    *,
    up: bool,
) -> None:
    """Add what is reached against the edges (up) or along them, breadth first."""
    seen, border = {start.arn}, [start.arn]
    for _ in range(depth):
        following = []
        for arn in border:
            found = (
                lineage_graph.edges_to(context, arn)
                if up
                else lineage_graph.edges_from(context, arn)
            )
            for edge in found:
                other = edge["SourceArn" if up else "DestinationArn"]
                entity = entities.get(other) or lineage_graph.find(context, other)
                if entity is None:
                    continue
                edges[edge["SourceArn"], edge["DestinationArn"]] = edge
                entities[other] = entity
                if other not in seen:
                    seen.add(other)
                    following.append(other)
        border = following


def _passes(entity: Entity, filters: Mapping[str, Any]) -> bool:
    properties = filters.get("Properties", {})
    return (
        entity.type in filters.get("Types", [entity.type])
        and entity.kind in filters.get("LineageTypes", [entity.kind])
        and _is_between(entity.created, filters.get("CreatedAfter"), filters.get("CreatedBefore"))
        and _is_between(
            entity.modified, filters.get("ModifiedAfter"), filters.get("ModifiedBefore")
        )
        and (
            not properties
            or any(entity.properties.get(name) == value for name, value in properties.items())
        )
    )


OPERATIONS: Mapping[str, Operation] = {
    "AddAssociation": add_association,
    "DeleteAssociation": delete_association,
    "ListAssociations": list_associations,
    "QueryLineage": query_lineage,
}
