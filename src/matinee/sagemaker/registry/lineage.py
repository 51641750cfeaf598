"""What became of what, by itself: data and image -> job -> model -> package -> endpoint.

Jobs, packages and endpoints are written into the graph when lineage is next asked for, each once
and only when it has ended, so that running them costs nothing and nothing that happened is missed.
What a user deletes of the graph stays deleted. Data sets and models carry the hash their job saw
(``data_hashes.py``); one URI with another content is another artifact.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.registry import components
from matinee.sagemaker.registry.job_components import (
    SOURCES,
    Source,
    channel_uri,
    processing_inputs,
    processing_outputs,
)
from matinee.sagemaker.registry.lineage_graph import ACTION, ARTIFACT, CONTEXT, edge
from matinee.sagemaker.registry.model_registry import GROUP, PACKAGE
from matinee.sagemaker.registry.sequences import stamp
from matinee.sagemaker.store import Query, Resource, ResourceExists

DATA_SET, IMAGE, MODEL = "DataSet", "Image", "Model"
_MARK, _RECORD = "LineageMark", "LineageRecord"
_PAGE = 100
# A change may become visible a little after one with a later time.
_OVERLAP = timedelta(minutes=1)
_ENDED = ("Completed", "Failed", "Stopped")
_TURN = threading.Lock()


def catch_up(context: Context) -> None:
    """Write into the graph what has happened since the last time."""
    with _TURN:
        for kind, read in _READERS.items():
            _catch_up(context, kind, read)


def _catch_up(context: Context, kind: str, read: Reader) -> None:
    mark = context.store.get(_MARK, kind)
    after = None if mark is None else mark.modified - _OVERLAP
    query = Query(kind=kind, order="modified", modified_after=after)
    latest = None
    while found := context.store.page(query, _PAGE):
        # Without a mark nothing was ever shown, so nothing can have been deleted since.
        new = [
            item
            for resource in found
            if (key := _key(resource)) is not None
            and (mark is None or context.store.get(_RECORD, key) is None)
            for item in (*read(context, resource), _record(resource, key))
        ]
        if new:
            context.store.insert_missing(new)
        latest = found[-1].modified
        query = dataclasses.replace(query, after=(latest, found[-1].name))
    if latest is not None:
        _set_mark(context, kind, latest)


def _key(resource: Resource) -> str | None:
    """Return what a thing is remembered by once it is in the graph; None while it goes on."""
    if resource.kind == "Endpoint":
        if not resource.private.get("current"):
            return None
        # Another configuration is another deployment.
        version = resource.document["EndpointConfigName"]
    elif resource.kind == PACKAGE.name or resource.status in _ENDED:
        version = stamp(resource.created)
    else:
        return None
    return f"{resource.kind}/{resource.name}/{version}"


def _record(resource: Resource, key: str) -> Resource:
    now, arn = resource.modified, f"{resource.arn}/lineage/{key}"
    return Resource(_RECORD, key, arn, "", now, now, {}, {})


def _set_mark(context: Context, kind: str, moment: datetime) -> None:
    arn = context.arn(f"lineage-mark/{kind}")
    mark = Resource(_MARK, kind, arn, "", moment, moment, {}, {})
    with suppress(ResourceExists):
        context.store.insert(mark)
        return
    context.store.update(_MARK, kind, lambda _: mark)


def _artifact(
    context: Context,
    type_: str,
    uri: str,
    created: datetime,
    seen: Mapping[str, str] | None = None,
) -> Resource:
    """Return an artifact; the same type, URI and hash always give the same one.

    ``seen`` is what ``data_hashes`` says of the content.
    """
    known = dict(seen or {})
    types = (
        [{"SourceIdType": known.pop("IdType"), "Value": known.pop("Id")}] if "Id" in known else []
    )
    name = hashlib.sha256(f"{type_}\n{uri}\n{types}".encode()).hexdigest()[:32]
    arn = ARTIFACT.arn(context, name)
    document = {
        "ArtifactArn": arn,
        "Source": {"SourceUri": uri, "SourceTypes": types},
        "ArtifactType": type_,
        "Properties": known,
        "CreationTime": created,
        "CreatedBy": {},
        "LastModifiedTime": created,
        "LastModifiedBy": {},
    }
    return Resource(ARTIFACT.name, name, arn, "", created, created, document, {}, of_source(uri))


def of_source(uri: str) -> str:
    """Return the parent of artifacts, actions and contexts of a source: they are found by that."""
    return "source:" + hashlib.sha256(uri.encode()).hexdigest()


def _job(source: Source) -> Reader:
    def read(context: Context, job: Resource) -> Iterator[Resource]:
        component = components.arn_of(context, job)
        seen = job.private.get("inputs", {})
        inputs, outputs = _ENDS[source.kind](context, job)
        for type_, name, uri in inputs:
            if type_ == DATA_SET and name in seen:
                found = _artifact(context, type_, uri, job.created, seen[name])
                # What wrote there, wrote what was read: the URI leads to its content.
                place = _artifact(context, type_, uri, job.created)
                yield place
                if place.arn != found.arn:
                    yield edge(context, place.arn, found.arn, "SameAs", job.created)
            else:
                found = _known(context, type_, uri, job.created)
            yield found
            yield edge(context, found.arn, component, "ContributedTo", job.created)
        if job.status == "Completed":
            for type_, name, uri in outputs:
                hashes = job.private.get("outputs", {}).get(name)
                found = _artifact(context, type_, uri, job.modified, hashes)
                yield found
                yield edge(context, component, found.arn, "Produced", job.modified)

    return read


# Type, name and URI of what goes in, and of what comes out.
Ends = tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]


def _training_ends(_context: Context, job: Resource) -> Ends:
    document = job.document
    inputs = [(IMAGE, "image", document["AlgorithmSpecification"]["TrainingImage"])]
    inputs += [
        (DATA_SET, channel["ChannelName"], uri)
        for channel in document.get("InputDataConfig", ())
        if (uri := channel_uri(channel)) is not None
    ]
    return inputs, [(MODEL, "model", document["ModelArtifacts"]["S3ModelArtifacts"])]


def _processing_ends(_context: Context, job: Resource) -> Ends:
    document = job.document
    inputs = [(IMAGE, "image", document["AppSpecification"]["ImageUri"])]
    inputs += [(DATA_SET, name, uri) for name, uri in processing_inputs(document).items()]
    return inputs, [(DATA_SET, name, uri) for name, uri in processing_outputs(document).items()]


def _transform_ends(context: Context, job: Resource) -> Ends:
    document = job.document
    given = document["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    inputs = [(DATA_SET, "input", given)]
    model = context.store.get("Model", document["ModelName"])
    if model is not None:
        containers = model.document.get("Containers") or [model.document["PrimaryContainer"]]
        inputs += [(type_, "model", uri) for type_, uri in _container_sources(context, containers)]
    return inputs, [(DATA_SET, "output", document["TransformOutput"]["S3OutputPath"])]


_ENDS: Mapping[str, Callable[[Context, Resource], Ends]] = {
    "TrainingJob": _training_ends,
    "ProcessingJob": _processing_ends,
    "TransformJob": _transform_ends,
}


def _container_sources(
    context: Context, containers: list[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Yield type and URI of what containers serve: packages, model data, images."""
    for container in containers:
        if "ModelPackageName" in container:
            yield MODEL, context.arn(container["ModelPackageName"].rpartition(":")[2])
        if "ModelDataUrl" in container:
            yield MODEL, container["ModelDataUrl"]
        if "Image" in container:
            yield IMAGE, container["Image"]


def _known(context: Context, type_: str, uri: str, moment: datetime) -> Resource:
    """Return a model's newest artifact, whatever its hash; else the URI's own."""
    if type_ == MODEL:
        known = context.store.find(ARTIFACT.name, parent=of_source(uri))
        if same := [item for item in known if item.document["ArtifactType"] == MODEL]:
            return same[-1]
    return _artifact(context, type_, uri, moment)


def _package(context: Context, package: Resource) -> Iterator[Resource]:
    created = package.created
    artifact = _artifact(context, MODEL, package.arn, created)
    yield artifact
    containers = package.document.get("InferenceSpecification", {}).get("Containers", [])
    for type_, uri in _container_sources(context, containers):
        source = _known(context, type_, uri, created)
        yield source
        yield edge(context, source.arn, artifact.arn, "ContributedTo", created)
    if package.parent:
        name = package.document["ModelPackageGroupName"]
        group = _named(
            context,
            CONTEXT.name,
            f"{name}-aws-model-package-group",
            "ModelGroup",
            GROUP.arn(context, name),
            created,
        )
        yield group
        yield edge(context, artifact.arn, group.arn, "AssociatedWith", created)


def _endpoint(context: Context, endpoint: Resource) -> Iterator[Resource]:
    created = endpoint.modified
    config = endpoint.document["EndpointConfigName"]
    name = f"{endpoint.name}-aws-endpoint"
    deployed = _named(context, CONTEXT.name, name, "Endpoint", endpoint.arn, endpoint.created)
    yield deployed
    digest = hashlib.sha256(config.encode()).hexdigest()[:8]
    name = f"{endpoint.name}-{digest}-aws-endpoint"
    action = _named(context, ACTION.name, name, "ModelDeployment", endpoint.arn, created)
    yield action
    yield edge(context, action.arn, deployed.arn, "AssociatedWith", created)
    for variant in endpoint.private["current"]["variants"]:
        for type_, uri in _container_sources(context, variant["containers"]):
            source = _known(context, type_, uri, created)
            yield source
            yield edge(context, source.arn, action.arn, "ContributedTo", created)


def _named(
    context: Context, kind: str, name: str, type_: str, uri: str, created: datetime
) -> Resource:
    arn = context.arn(f"{kind}/{name}")
    document = {
        f"{kind}Name": name,
        f"{kind}Arn": arn,
        "Source": {"SourceUri": uri, "SourceType": "ARN"},
        f"{kind}Type": type_,
        "Properties": {},
        **({"Status": "Completed"} if kind == ACTION.name else {}),
        "CreationTime": created,
        "CreatedBy": {},
        "LastModifiedTime": created,
        "LastModifiedBy": {},
    }
    return Resource(kind, name, arn, "", created, created, document, {}, of_source(uri))


Reader = Callable[[Context, Resource], Iterator[Resource]]
# Jobs come first: packages and endpoints are made of what they produced.
_READERS: Mapping[str, Reader] = {
    **{source.kind: _job(source) for source in SOURCES},
    PACKAGE.name: _package,
    "Endpoint": _endpoint,
}
