"""What a job's data was when the job used it, for its lineage: hashes and counts of S3 objects.

One object is known by its ETag, several by a SHA-256 over the list of their keys, sizes and ETags.
Objects whose ETag nobody has asked for (those a manifest names) give no hash, rather than a guess.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

from matinee.sagemaker.data.objects import InputObject, Objects, parse_uri
from matinee.sagemaker.jobs import Job
from matinee.sagemaker.store import Resource

Seen = dict[str, str]


def of_objects(items: Sequence[InputObject]) -> Seen:
    """Return what there is to know of a data source.

    Returns
    -------
    dict
        ``Objects`` and ``Bytes``, and if it is known ``Id`` and its kind ``IdType``, one of AWS's
        kinds of source ids.
    """
    seen = {"Objects": str(len(items))}
    if any(item.size is None or not item.etag for item in items):
        return seen
    seen["Bytes"] = str(sum(item.size or 0 for item in items))
    if len(items) == 1:
        return {**seen, "IdType": "S3ETag", "Id": items[0].etag}
    lines = (f"{item.name}\t{item.size}\t{item.etag}\n" for item in items)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {**seen, "IdType": "Custom", "Id": f"sha256:{digest}"}


def of_object(objects: Objects, uri: str) -> Seen:
    """Return what there is to know of one object in S3.

    Raises
    ------
    ObjectMissingError, ObjectRefusedError, UnreachableError
    """
    bucket, key = parse_uri(uri)
    found = [item for item in objects.find(bucket, key) if item.key == key]
    return of_objects([InputObject(bucket, key, key, item.size, item.etag) for item in found])


def remember(job: Job, direction: str, seen: Mapping[str, Seen]) -> None:
    """Keep what a job's data was, by the names of its channels or outputs.

    Parameters
    ----------
    job
        In its driver's hands.
    direction
        ``inputs`` or ``outputs``.
    seen
        What ``of_objects`` and ``of_object`` returned.
    """

    def change(resource: Resource) -> Resource:
        kept = {**resource.private.get(direction, {}), **seen}
        return dataclasses.replace(resource, private={**resource.private, direction: kept})

    job.context.store.update(job.kind, job.name, change)
