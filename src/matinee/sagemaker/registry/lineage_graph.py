"""The graph of lineage: artifacts, actions, contexts, experiments and trial components, and edges.

An edge (association) goes from what was there first to what came of it. There is at most one edge
from one entity to another; it is found by either end.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.registry import components
from matinee.sagemaker.registry.components import COMPONENT
from matinee.sagemaker.registry.entities import Kind, by_prefix
from matinee.sagemaker.registry.experiments import EXPERIMENT
from matinee.sagemaker.store import Resource

ARTIFACT = Kind("Artifact", "artifact", "ArtifactName", "ArtifactArn")
ACTION = Kind("Action", "action", "ActionName", "ActionArn")
CONTEXT = Kind("Context", "context", "ContextName", "ContextArn")
ASSOCIATION = "Association"


@dataclass(frozen=True, slots=True)
class Entity:
    """One vertex.

    Attributes
    ----------
    arn, name
        As described.
    kind
        ``Artifact``, ``Action``, ``Context``, ``TrialComponent`` or ``Experiment``.
    type
        What it stands for: ``DataSet``, ``Model``, ``SageMakerTrainingJob`` ..
    created, modified
        Aware datetimes.
    properties
        What is known of it.
    """

    arn: str
    name: str
    kind: str
    type: str
    created: datetime
    modified: datetime
    properties: Mapping[str, str]


def find(context: Context, arn: str) -> Entity | None:
    """Return the vertex with an ARN, or None."""
    if (component := components.find_by_arn(context, arn)) is not None:
        return _component(component)
    found = context.store.by_arn(arn.lower())
    if found is None or found.kind not in {ARTIFACT.name, ACTION.name, CONTEXT.name, "Experiment"}:
        return None
    document = found.document
    name = document.get(f"{found.kind}Name", "")
    type_ = document.get(f"{found.kind}Type", EXPERIMENT.name)
    properties = document.get("Properties", {})
    return Entity(found.arn, name, found.kind, type_, found.created, found.modified, properties)


def _component(component: components.Component) -> Entity:
    document = component.document
    type_ = document.get("Source", {}).get("SourceType", COMPONENT.name)
    modified = document["LastModifiedTime"]
    parameters = {
        name: str(value.get("StringValue", value.get("NumberValue", "")))
        for name, value in document.get("Parameters", {}).items()
    }
    created = component.created
    return Entity(
        component.arn, component.name, COMPONENT.name, type_, created, modified, parameters
    )


def edge(
    context: Context, source: str, destination: str, type_: str | None, created: datetime
) -> Resource:
    """Return an edge, ready for the store.

    Parameters
    ----------
    context
        The server's surroundings.
    source, destination
        ARNs.
    type_
        ``ContributedTo``, ``Produced`` ..; None: it has none.
    created
        When it came to be.
    """
    name = _edge_name(source, destination)
    document = {
        "SourceArn": source,
        "DestinationArn": destination,
        **({} if type_ is None else {"AssociationType": type_}),
        "CreationTime": created,
    }
    arn = context.arn(f"association/{name}")
    return Resource(ASSOCIATION, name, arn, "", created, created, document, {}, destination)


def _edge_name(source: str, destination: str) -> str:
    # The source comes first: edges are found by that; by their destination as its children.
    return f"{_digest(source)}/{_digest(destination)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def add(context: Context, association: Resource) -> None:
    """Keep an edge; one that is there already gets the new type."""
    context.store.insert_missing([association])

    def change(known: Resource) -> Resource:
        return dataclasses.replace(known, document={**known.document, **association.document})

    known = context.store.get(ASSOCIATION, association.name)
    if known is not None and known.document != association.document:
        context.store.update(ASSOCIATION, association.name, change)


def remove(context: Context, source: str, destination: str) -> bool:
    """Forget an edge; return whether there was one."""
    return context.store.delete(ASSOCIATION, _edge_name(source, destination))


def edges_from(context: Context, arn: str) -> Iterator[dict[str, Any]]:
    """Yield the edges that begin at an entity."""
    for association in by_prefix(context, ASSOCIATION, f"{_digest(arn)}/"):
        yield association.document


def edges_to(context: Context, arn: str) -> Iterator[dict[str, Any]]:
    """Yield the edges that end at an entity."""
    for association in context.store.find(ASSOCIATION, parent=arn):
        yield association.document
