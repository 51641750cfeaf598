"""Which log groups there are, and which streams each has.

A group for each kind of job that has logs, with a stream for each host, and one for each endpoint
that is or has been, with a stream for each container of each instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matinee.sagemaker.context import Context
from matinee.sagemaker.endpoints import hosting_instances
from matinee.sagemaker.endpoints.hosting_instances import GROUP_PREFIX
from matinee.sagemaker.jobs import job_folder, log_streams
from matinee.sagemaker.store import Query, Resource

_JOBS: Mapping[str, str] = {
    "/aws/sagemaker/ProcessingJobs": "ProcessingJob",
    "/aws/sagemaker/TrainingJobs": "TrainingJob",
    "/aws/sagemaker/TransformJobs": "TransformJob",
}
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Stream:
    """The log of one process.

    Attributes
    ----------
    name
        In its group.
    folder
        Where the log is.
    created
        Milliseconds since 1970; None: with its first event.
    """

    name: str
    folder: Path
    created: int | None


def names(context: Context) -> list[str]:
    """Return the names of all groups, sorted."""
    return sorted([*_JOBS, *hosting_instances.log_groups(context)])


def exists(context: Context, group: str) -> bool:
    """Return whether there is such a group."""
    return group in _JOBS or group in hosting_instances.log_groups(context)


def created(context: Context, group: str) -> int | None:
    """Return when the first job of a group was created, in milliseconds since 1970."""
    kind = _JOBS.get(group)
    first = [] if kind is None else context.store.page(Query(kind=kind), 1)
    return _milliseconds(first[0]) if first else None


def streams(context: Context, group: str, prefix: str = "") -> list[Stream]:
    """Return the streams of a group whose names begin so."""
    if group not in _JOBS:
        found = _of_endpoint(context, group)
    elif "/" in prefix:
        found = _of_job(context, group, prefix.partition("/")[0])
    else:
        query = Query(kind=_JOBS[group], name_contains=prefix)
        jobs = context.store.page(query, _ALL)
        found = [stream for job in jobs for stream in _of(context, job)]
    return [stream for stream in found if stream.name.startswith(prefix)]


def find(context: Context, group: str, name: str) -> Stream | None:
    """Return the stream of this name."""
    is_jobs = group in _JOBS
    found = (
        _of_job(context, group, name.partition("/")[0]) if is_jobs else _of_endpoint(context, group)
    )
    return next((stream for stream in found if stream.name == name), None)


def _of_job(context: Context, group: str, job_name: str) -> list[Stream]:
    job = context.store.get(_JOBS[group], job_name)
    return [] if job is None else _of(context, job)


def _of(context: Context, job: Resource) -> list[Stream]:
    folder = job_folder(context, job)
    return [
        Stream(name, folder / host, _milliseconds(job)) for name, host in log_streams(job).items()
    ]


def _of_endpoint(context: Context, group: str) -> list[Stream]:
    found = hosting_instances.log_streams(context, group.removeprefix(GROUP_PREFIX))
    return [Stream(name, folder, None) for name, folder in found.items()]


def _milliseconds(job: Resource) -> int:
    return int(job.created.timestamp() * 1000)
