"""Lineage's artifacts, actions and contexts: create, describe, list, update, delete.

Actions and contexts are named; an artifact is known by the id it gets, and names may repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import ResourceNotFound, ValidationException
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.registry import lineage, lineage_graph
from matinee.sagemaker.registry.entities import (
    MEMBERSHIP,
    Kind,
    check_tags,
    created_between,
    without,
)
from matinee.sagemaker.registry.lineage_graph import ACTION, ARTIFACT, CONTEXT
from matinee.sagemaker.store import Resource

MAX_PROPERTIES = 30


def create(kind: Kind, context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep an action or a context.

    Raises
    ------
    ValidationException
        The name is taken.
    """
    document = {**without(request, ["Tags"]), "CreatedBy": {}, "LastModifiedBy": {}}
    parent = lineage.of_source(request["Source"]["SourceUri"])
    created = kind.create(context, request, document=document, parent=parent)
    return {kind.arn_member: created.arn}


def create_artifact(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep an artifact.

    Raises
    ------
    ValidationException
        A tag's key is reserved or there twice.
    """
    check_tags(request.get("Tags", ()))
    name, now = context.new_id(), context.clock()
    arn = ARTIFACT.arn(context, name)
    document = {
        **without(request, ["Tags"]),
        "ArtifactArn": arn,
        "CreationTime": now,
        "CreatedBy": {},
        "LastModifiedTime": now,
        "LastModifiedBy": {},
    }
    parent = lineage.of_source(request["Source"]["SourceUri"])
    artifact = Resource(ARTIFACT.name, name, arn, "", now, now, document, {}, parent)
    context.store.insert(artifact, request.get("Tags", ()))
    return {"ArtifactArn": arn}


def describe(kind: Kind, member: str, context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe an artifact, action or context.

    Raises
    ------
    ResourceNotFound
        There is no such thing.
    """
    lineage.catch_up(context)
    return kind.get(context, request[member]).document


def list_all(
    kind: Kind, summary_key: str, context: Context, request: dict[str, Any]
) -> dict[str, Any]:
    """List artifacts, actions or contexts, the newest first unless asked otherwise."""
    lineage.catch_up(context)
    type_member = f"{kind.name}Type"
    uri, type_ = request.get("SourceUri"), request.get(type_member)
    return page(
        context.store,
        {"SortOrder": "Descending", **created_between(request)},
        kind.name,
        summary_key=summary_key,
        summarise=lambda found: members(
            found,
            kind.arn_member,
            kind.name_member,
            "Source",
            type_member,
            *(("Status",) if kind is ACTION else ()),
            "CreationTime",
            "LastModifiedTime",
        ),
        parent=None if uri is None else lineage.of_source(uri),
        wanted=lambda found: type_ in {None, found.document[type_member]},
    )


def update(kind: Kind, member: str, context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change an artifact, action or context; Properties take the place of all there were.

    Raises
    ------
    ResourceNotFound
        There is no such thing.
    ValidationException
        It would have too many properties.
    """
    changes = without(request, [member, "PropertiesToRemove"])

    def change(document: dict[str, Any]) -> dict[str, Any]:
        changed = {**document, **changes}
        removed = request.get("PropertiesToRemove", ())
        changed["Properties"] = without(changed.get("Properties", {}), removed)
        if (count := len(changed["Properties"])) > MAX_PROPERTIES:
            raise ValidationException(
                f"{request[member]!r} would have {count} properties; the limit is {MAX_PROPERTIES}"
            )
        return changed

    return {kind.arn_member: kind.change(context, request[member], change).arn}


def delete(kind: Kind, member: str, context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget an artifact, action or context without associations.

    Raises
    ------
    ResourceNotFound
        There is no such thing.
    ValidationException
        It has associations.
    """
    lineage.catch_up(context)
    with MEMBERSHIP:
        found = kind.get(context, request[member])
        _delete(kind, context, found)
    return {kind.arn_member: found.arn}


def delete_artifact(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget an artifact, by its ARN or its source.

    Raises
    ------
    ResourceNotFound
        There is no such artifact.
    ValidationException
        It has associations, or neither or both of ARN and source are given, or several artifacts
        have the source.
    """
    if ("ArtifactArn" in request) == ("Source" in request):
        raise ValidationException("Specify either ArtifactArn or Source, not both.")
    if "ArtifactArn" in request:
        return delete(ARTIFACT, "ArtifactArn", context, request)
    lineage.catch_up(context)
    source = request["Source"]
    uri = source["SourceUri"]
    found = [
        artifact
        for artifact in context.store.find(ARTIFACT.name, parent=lineage.of_source(uri))
        if source.get("SourceTypes") in {None, artifact.document["Source"].get("SourceTypes")}
    ]
    if not found:
        raise ResourceNotFound(f"Artifact with source {uri!r} does not exist.")
    if len(found) > 1:
        raise ValidationException(
            f"{len(found)} artifacts have the source {uri!r}; give the ArtifactArn of one"
        )
    return delete(ARTIFACT, "ArtifactArn", context, {"ArtifactArn": found[0].arn})


def _delete(kind: Kind, context: Context, found: Resource) -> None:
    edges = (
        *lineage_graph.edges_from(context, found.arn),
        *lineage_graph.edges_to(context, found.arn),
    )
    if edges:
        raise ValidationException(
            f"{kind.name} '{found.arn}' is linked to {len(edges)} associations and cannot be "
            "deleted; delete them first."
        )
    context.store.delete(kind.name, found.name)


OPERATIONS: Mapping[str, Operation] = {
    "CreateArtifact": create_artifact,
    "DescribeArtifact": partial(describe, ARTIFACT, "ArtifactArn"),
    "ListArtifacts": partial(list_all, ARTIFACT, "ArtifactSummaries"),
    "UpdateArtifact": partial(update, ARTIFACT, "ArtifactArn"),
    "DeleteArtifact": delete_artifact,
    "CreateAction": partial(create, ACTION),
    "DescribeAction": partial(describe, ACTION, "ActionName"),
    "ListActions": partial(list_all, ACTION, "ActionSummaries"),
    "UpdateAction": partial(update, ACTION, "ActionName"),
    "DeleteAction": partial(delete, ACTION, "ActionName"),
    "CreateContext": partial(create, CONTEXT),
    "DescribeContext": partial(describe, CONTEXT, "ContextName"),
    "ListContexts": partial(list_all, CONTEXT, "ContextSummaries"),
    "UpdateContext": partial(update, CONTEXT, "ContextName"),
    "DeleteContext": partial(delete, CONTEXT, "ContextName"),
}
