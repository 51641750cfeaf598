"""What the named things of the registry, of experiments and of lineage have in common.

A name is unique within its kind whatever its case, because ARNs are written in lower case; a thing
is found by its name or by its ARN. Creating and deleting what belongs to something else take turns
(``MEMBERSHIP``), so that nothing is left without the thing it belongs to.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ResourceNotFound, ServiceError, ValidationException
from matinee.sagemaker.store import Query, Resource, ResourceExists

# One server has one state folder, so taking turns within the process is enough.
MEMBERSHIP = threading.RLock()
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of named thing.

    Attributes
    ----------
    name
        In the store, and in AWS's sentences: ``Experiment``.
    path
        In ARNs: ``experiment``.
    name_member, arn_member
        In requests and descriptions: ``ExperimentName``, ``ExperimentArn``.
    missing
        The error AWS gives for one that is not there.
    changes
        Whether it can be changed, and says when it last was.
    quote
        What AWS puts around the ARN in its sentences about this kind.
    """

    name: str
    path: str
    name_member: str
    arn_member: str
    missing: type[ServiceError] = ResourceNotFound
    changes: bool = True
    quote: str = "'"

    def arn(self, context: Context, name: str) -> str:
        """Return the ARN of a thing; an ARN is taken as it is."""
        if name.startswith("arn:"):
            return name.lower()
        return context.arn(f"{self.path}/{name}")

    def find(self, context: Context, name: str) -> Resource | None:
        """Return a thing by its name or ARN, in any case."""
        found = context.store.by_arn(self.arn(context, name))
        return found if found is not None and found.kind == self.name else None

    def get(self, context: Context, name: str) -> Resource:
        """Return a thing by its name or ARN, in any case.

        Raises
        ------
        ServiceError
            It does not exist; the class is the kind's.
        """
        found = self.find(context, name)
        if found is None:
            raise self.not_found(context, name)
        return found

    def not_found(self, context: Context, name: str) -> ServiceError:
        """Return the error that says there is no such thing."""
        arn = f"{self.quote}{self.arn(context, name)}{self.quote}"
        return self.missing(f"{self.name} {arn} does not exist.")

    def create(
        self,
        context: Context,
        request: Mapping[str, Any],
        *,
        document: Mapping[str, Any],
        parent: str = "",
        taken: str = "",
    ) -> Resource:
        """Keep a new thing with the request's tags.

        Parameters
        ----------
        context
            The server's surroundings.
        request
            Its name and tags.
        document
            Its description, but for ARN and times.
        parent
            ARN of what it belongs to.
        taken
            What to say when the name is taken; by default AWS's words for experiments.

        Raises
        ------
        ValidationException
            The name is taken, or a tag's key is reserved or there twice.
        """
        check_tags(request.get("Tags", ()))
        name: str = request[self.name_member]
        arn, now = self.arn(context, name), context.clock()
        times = {"CreationTime": now, **({"LastModifiedTime": now} if self.changes else {})}
        described = {**document, self.arn_member: arn, **times}
        resource = Resource(self.name, name, arn, "", now, now, described, {}, parent)
        try:
            context.store.insert(resource, request.get("Tags", ()))
        except ResourceExists as error:
            raise ValidationException(
                taken
                or f"{self.name} names must be unique within an AWS account and region. "
                f"{self.name} with name ({name}) already exists."
            ) from error
        return resource

    def change(
        self, context: Context, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> Resource:
        """Replace a thing's description by what ``change`` makes of it.

        Raises
        ------
        ServiceError
            There is no such thing, or ``change`` refuses.
        """
        now = context.clock()

        def changed(resource: Resource) -> Resource:
            document = {**change(dict(resource.document)), "LastModifiedTime": now}
            return dataclasses.replace(resource, modified=now, document=document)

        try:
            return context.store.update(self.name, self.get(context, name).name, changed)
        except KeyError as error:
            raise self.not_found(context, name) from error


def by_prefix(context: Context, kind: str, prefix: str) -> Iterator[Resource]:
    """Yield the resources of a kind whose names begin so, by name."""
    query = Query(kind=kind, order="name", after=(prefix, ""))
    while found := context.store.page(query, _PAGE):
        for resource in found:
            if not resource.name.startswith(prefix):
                return
            yield resource
        query = dataclasses.replace(query, after=(found[-1].name, found[-1].name))


def check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    """Refuse tags nobody could set on AWS.

    Raises
    ------
    ValidationException
        A key begins with ``aws:``, or is there twice.
    """
    keys = [tag["Key"] for tag in tags]
    for key in keys:
        if key.lower().startswith("aws:"):
            raise ValidationException(
                f"Tag key {key!r}: keys that begin with 'aws:' are reserved for AWS's own use"
            )
        if keys.count(key) > 1:
            raise ValidationException(f"Duplicate tag key {key!r}: the keys of tags are unique")


def without(mapping: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return a mapping without some of its keys, e.g. a request without its tags."""
    left_out = set(keys)
    return {key: value for key, value in mapping.items() if key not in left_out}


def created_between(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with ``CreatedAfter`` and ``CreatedBefore`` in the words of other lists."""
    words = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
    return {words.get(name, name): value for name, value in request.items()}
