"""CloudWatch Logs: what training and transform jobs write, while they run and afterwards.

The groups are SageMaker's own and every job has one stream in its group. A token says how many
events stand before it, so it means the same however much is logged later. Nobody can write here:
logs are made by jobs alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from matinee.sagemaker import log_events
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import InvalidParameterException, ResourceNotFoundException
from matinee.sagemaker.jobs import job_folder, log_streams
from matinee.sagemaker.store import Resource

GROUPS: Mapping[str, str] = {
    "/aws/sagemaker/TrainingJobs": "TrainingJob",
    "/aws/sagemaker/TransformJobs": "TransformJob",
}

MAX_STREAMS = 50
MAX_EVENTS = 10_000
# CloudWatch counts 26 bytes of overhead for each event.
MAX_BYTES, EVENT_OVERHEAD_BYTES = 1 << 20, 26

_GROUP_ARN = re.compile(r"arn:aws:logs:[^:]*:[^:]*:log-group:([^:]+)")
_TOKEN = re.compile(r"([fb])/(\d{1,18})")

Event = tuple[int, str]


def describe_log_streams(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the streams of a group, by name or by last event.

    Raises
    ------
    ResourceNotFoundException
        There is no such group.
    InvalidParameterException
        The group is given twice or not at all, a prefix comes with the order of the last event,
        or the token is none of this query.
    """
    group = _group(request)
    prefix = request.get("logStreamNamePrefix", "")
    by_time = request.get("orderBy") == "LastEventTime"
    if by_time and prefix:
        raise InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
    streams = [
        _Stream(context, group, job, name, host)
        for job in context.store.find(GROUPS[group])
        for name, host in log_streams(job).items()
        if name.startswith(prefix)
    ]
    order: Callable[[_Stream], Any] = (
        (lambda stream: (stream.last_time, stream.name))
        if by_time
        else (lambda stream: stream.name)
    )
    streams.sort(key=order, reverse=request.get("descending", False))
    # The name of the last stream given is the token: streams may be added between two pages.
    names = [stream.name for stream in streams]
    start = 0
    if "nextToken" in request:
        if request["nextToken"] not in names:
            raise InvalidParameterException("The specified nextToken is invalid.")
        start = names.index(request["nextToken"]) + 1
    stop = start + request.get("limit", MAX_STREAMS)
    answer: dict[str, Any] = {"logStreams": [stream.describe() for stream in streams[start:stop]]}
    if stop < len(streams):
        answer["nextToken"] = names[stop - 1]
    return answer


def get_log_events(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return events of one stream in the order they were written.

    Without a token the page is at the stream's end, or at its beginning with ``startFromHead``.
    At either end of the stream the token answered is the token sent.

    Raises
    ------
    ResourceNotFoundException
        There is no such group or stream.
    InvalidParameterException
        The group is given twice or not at all, or the token is not one of this service.
    """
    group = _group(request)
    name = request["logStreamName"]
    job = context.store.get(GROUPS[group], name.partition("/")[0])
    if job is None or name not in log_streams(job):
        raise ResourceNotFoundException("The specified log stream does not exist.")
    events = _Stream(context, group, job, name, log_streams(job)[name]).events
    direction, position = _start(request, len(events))
    forward = direction == "f"
    indexes = range(position, len(events)) if forward else range(position - 1, -1, -1)
    chosen = _fitting(events, indexes, request)
    if not forward:
        chosen.reverse()
    first, after = (chosen[0], chosen[-1] + 1) if chosen else (position, position)
    return {
        "events": [
            {"timestamp": time, "message": text, "ingestionTime": time}
            for time, text in (events[index] for index in chosen)
        ],
        "nextForwardToken": f"f/{after:018d}",
        "nextBackwardToken": f"b/{first:018d}",
    }


def _start(request: dict[str, Any], count: int) -> tuple[str, int]:
    if "nextToken" not in request:
        return ("f", 0) if request.get("startFromHead", False) else ("b", count)
    token = _TOKEN.fullmatch(request["nextToken"])
    if token is None or int(token[2]) > count:
        raise InvalidParameterException("The specified nextToken is invalid.")
    return token[1], int(token[2])


def _fitting(events: list[Event], indexes: range, request: dict[str, Any]) -> list[int]:
    """Return the first of these indexes that are in the time range and fit one answer."""
    earliest, end = request.get("startTime", 0), request.get("endTime")
    limit = request.get("limit", MAX_EVENTS)
    chosen: list[int] = []
    size = 0
    for index in indexes:
        time, text = events[index]
        if time < earliest or (end is not None and time >= end):
            continue
        size += len(text.encode()) + EVENT_OVERHEAD_BYTES
        # One event alone is given whatever its size; a reader could never get past it otherwise.
        if len(chosen) == limit or (chosen and size > MAX_BYTES):
            break
        chosen.append(index)
    return chosen


def _group(request: dict[str, Any]) -> str:
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise InvalidParameterException(
            "You must include either logGroupIdentifier or logGroupName, but not both."
        )
    if identifier is not None:
        arn = _GROUP_ARN.fullmatch(identifier)
        name = identifier if arn is None else arn[1]
    if name not in GROUPS:
        raise ResourceNotFoundException("The specified log group does not exist.")
    return str(name)


class _Stream:
    """The log stream of one host of a job."""

    def __init__(self, context: Context, group: str, job: Resource, name: str, host: str) -> None:
        self._context = context
        self._group = group
        self._job = job
        self._host = host
        self.name = name

    @property
    def events(self) -> list[Event]:
        return log_events.read(job_folder(self._context, self._job) / self._host)

    @property
    def last_time(self) -> int:
        events = self.events
        return events[-1][0] if events else 0

    def describe(self) -> dict[str, Any]:
        context = self._context
        described = {
            "logStreamName": self.name,
            "creationTime": int(self._job.created.timestamp() * 1000),
            "arn": f"arn:aws:logs:{context.region}:{context.account_id}:log-group:{self._group}"
            f":log-stream:{self.name}",
            "storedBytes": 0,
        }
        if events := self.events:
            described |= {
                "firstEventTimestamp": events[0][0],
                "lastEventTimestamp": events[-1][0],
                "lastIngestionTime": events[-1][0],
            }
        return described


OPERATIONS: Mapping[str, Operation] = {
    "DescribeLogStreams": describe_log_streams,
    "GetLogEvents": get_log_events,
}
