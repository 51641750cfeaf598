"""Trial components: one of each training, processing and transform job, and those users make.

A job's component is not kept but read off the job, so it can say nothing else than the job does;
what users change of it is kept beside it. Listings merge both kinds.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ResourceNotFound, ValidationException
from matinee.sagemaker.registry import job_components, sequences
from matinee.sagemaker.registry.entities import Kind, without
from matinee.sagemaker.registry.job_components import SOURCES, Source
from matinee.sagemaker.registry.sequences import Key, stamp
from matinee.sagemaker.store import Query, Resource, ResourceExists

COMPONENT = Kind(
    "TrialComponent", "experiment-trial-component", "TrialComponentName", "TrialComponentArn"
)
# What users changed of a job's component: one update, the sum of all.
_CHANGE = "TrialComponentChange"
_DELETED = "Deleted"
_MAPS: Mapping[str, int] = {"Parameters": 300, "InputArtifacts": 60, "OutputArtifacts": 60}
_SCALARS = ("DisplayName", "Status", "StartTime", "EndTime")


@dataclass(frozen=True, slots=True)
class Component:
    """A trial component as it stands.

    Attributes
    ----------
    name, arn, document
        As it is described; without its metrics.
    created
        When it was made.
    stored
        What the store keeps: the component, or the job it is read off.
    source
        Which kind of job it is read off; None for one a user made.
    """

    name: str
    arn: str
    created: datetime
    document: dict[str, Any]
    stored: Resource
    source: Source | None


def find(context: Context, name: str) -> Component | None:
    """Return a component by its name or ARN, in any case."""
    stored = COMPONENT.find(context, name)
    if stored is not None:
        return _made(stored)
    last = COMPONENT.arn(context, name).rpartition("/")[2]
    for source in SOURCES:
        if last.endswith(source.suffix):
            job = context.store.by_arn(
                context.arn(f"{source.path}/{last.removesuffix(source.suffix)}")
            )
            return None if job is None else _read_off(context, source, job)
    return None


def find_by_arn(context: Context, arn: str) -> Component | None:
    """Return the component with an ARN; None if there is none, or the ARN is of something else."""
    return find(context, arn) if f":{COMPONENT.path}/" in arn else None


def get(context: Context, name: str) -> Component:
    """Return a component by its name or ARN, in any case.

    Raises
    ------
    ResourceNotFound
        There is no such component.
    """
    component = find(context, name)
    if component is None:
        raise ResourceNotFound(f"TrialComponent '{COMPONENT.arn(context, name)}' does not exist.")
    return component


def of_source(context: Context, arn: str) -> Component | None:
    """Return the component that was made of a job."""
    job = context.store.by_arn(arn.lower())
    for source in SOURCES:
        if job is not None and job.kind == source.kind:
            return _read_off(context, source, job)
    return None


def arn_of(context: Context, job: Resource) -> str:
    """Return the ARN of a job's component."""
    source = next(source for source in SOURCES if source.kind == job.kind)
    return COMPONENT.arn(context, job.name + source.suffix)


def _made(stored: Resource) -> Component:
    document = stored.document
    name = document["TrialComponentName"]
    return Component(name, stored.arn, stored.created, document, stored, None)


def _read_off(context: Context, source: Source, job: Resource) -> Component | None:
    change = context.store.get(_CHANGE, job.name + source.suffix)
    return _with_change(context, source, job, change)


def _with_change(
    context: Context, source: Source, job: Resource, change: Resource | None
) -> Component | None:
    name = job.name + source.suffix
    arn = COMPONENT.arn(context, name)
    if change is not None and change.status == _DELETED:
        return None
    document = {
        "TrialComponentName": name,
        "TrialComponentArn": arn,
        "DisplayName": name,
        **job_components.describe(source, job),
    }
    if change is not None:
        document = {
            **applied(document, change.document),
            "LastModifiedTime": max(change.modified, document["LastModifiedTime"]),
        }
    return Component(name, arn, job.created, document, job, source)


def applied(document: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's description after an update.

    Raises
    ------
    ValidationException
        It would have too many parameters or artifacts.
    """
    changed = {**document, **{name: update[name] for name in _SCALARS if name in update}}
    for name, limit in _MAPS.items():
        kept = without(changed.get(name, {}), update.get(f"{name}ToRemove", ()))
        changed[name] = {**kept, **update.get(name, {})}
        if len(changed[name]) > limit:
            raise ValidationException(
                f"{document['TrialComponentName']!r} would have {len(changed[name])} {name}; "
                f"the limit is {limit}"
            )
    return changed


def update(context: Context, component: Component, request: Mapping[str, Any]) -> None:
    """Change a component.

    Raises
    ------
    ValidationException
        It would have too many parameters or artifacts.
    """
    if component.source is None:
        COMPONENT.change(context, component.arn, lambda document: applied(document, request))
        return
    applied(component.document, request)  # refuses what goes over a limit
    _change(context, component, lambda document: _sum(document, request))


def delete(context: Context, component: Component) -> None:
    """Forget a component; a job of which it was made stays."""
    if component.source is None:
        context.store.delete(COMPONENT.name, component.stored.name)
        return
    _change(context, component, lambda document: document, status=_DELETED)
    tags = [tag["Key"] for tag in context.store.tags(component.arn)]
    context.store.delete_tags(component.arn, tags)


def _change(
    context: Context,
    component: Component,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    status: str = "",
) -> None:
    now = context.clock()
    with suppress(ResourceExists):
        empty = Resource(_CHANGE, component.name, component.arn, "", now, now, {}, {})
        context.store.insert(empty)

    def changed(resource: Resource) -> Resource:
        document = change(resource.document)
        return dataclasses.replace(resource, status=status, modified=now, document=document)

    context.store.update(_CHANGE, component.name, changed)


def _sum(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one update that does what two do one after the other."""
    total = {name: {**first, **then}[name] for name in _SCALARS if name in {**first, **then}}
    for name in _MAPS:
        removal = f"{name}ToRemove"
        removed = [*first.get(removal, ()), *then.get(removal, ())]
        added = {**without(first.get(name, {}), then.get(removal, ())), **then.get(name, {})}
        total[name] = added
        total[removal] = sorted(set(removed) - added.keys())
    return total


def page(
    context: Context, request: Mapping[str, Any], show: Callable[[Component], dict[str, Any]]
) -> dict[str, Any]:
    """Answer one page of all components; a job's component sorts by its job's name.

    Raises
    ------
    ValidationException
        The token is not one of this query.
    """
    member = "TrialComponentSummaries"
    order = "name" if request.get("SortBy") == "Name" else "created"
    descending = sequences.is_descending(request)
    last = sequences.position(request, member)
    streams = [
        _stream(context, source, request, order, descending, last) for source in (None, *SOURCES)
    ]

    def key(component: Component) -> Key:
        return _key(component.stored, order)

    rows = heapq.merge(*streams, key=key, reverse=descending)
    return sequences.page(rows, request, member=member, key=key, show=show, is_sorted=True)


def _key(stored: Resource, order: str) -> Key:
    value = stamp(stored.created) if order == "created" else stored.name
    return value, stored.name, stored.kind


def _stream(
    context: Context,
    source: Source | None,
    request: Mapping[str, Any],
    order: str,
    descending: bool,
    last: Key | None,
) -> Iterator[Component]:
    """Yield components of one kind in order, read from the store as they are asked for."""
    kind = COMPONENT.name if source is None else source.kind
    size = request.get("MaxResults", sequences.DEFAULT_MAX_RESULTS) + 1
    query = Query(
        kind=kind,
        order=order,
        descending=descending,
        created_after=request.get("CreatedAfter"),
        created_before=request.get("CreatedBefore"),
    )
    if last is not None:
        value, name = str(last[0]), str(last[1])
        after = datetime.fromisoformat(value) if order == "created" else value
        query = dataclasses.replace(query, after=(after, name))
        # Another kind may have one of the same name and time: only the kind tells them apart.
        tied = context.store.get(kind, name)
        if tied is not None and _key(tied, order)[:2] == last[:2] and kind != last[2]:
            yield from _shown(context, source, [tied])
    while found := context.store.page(query, size):
        yield from _shown(context, source, found)
        value_of = found[-1].created if order == "created" else found[-1].name
        query = dataclasses.replace(query, after=(value_of, found[-1].name))


def _shown(context: Context, source: Source | None, found: list[Resource]) -> Iterator[Component]:
    for stored in found:
        component = _made(stored) if source is None else _read_off(context, source, stored)
        if component is not None:
            yield component


def everything(context: Context) -> Iterator[Component]:
    """Yield all components, kind by kind."""
    yield from map(_made, context.store.find(COMPONENT.name))
    changes = {change.name: change for change in context.store.find(_CHANGE)}
    for source in SOURCES:
        for job in context.store.find(source.kind):
            change = changes.get(job.name + source.suffix)
            component = _with_change(context, source, job, change)
            if component is not None:
                yield component
