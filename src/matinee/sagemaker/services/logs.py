"""CloudWatch Logs: what jobs and endpoints write, while they run and afterwards.

The groups are SageMaker's own; every host of a job and every instance of an endpoint has one stream
in its group. A token says how many events stand before it, so it means the same however much is
logged later. Nobody can write here: logs are made by jobs and endpoints alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import InvalidParameterException, ResourceNotFoundException
from matinee.sagemaker.monitoring import log_groups
from matinee.sagemaker.monitoring.log_groups import Stream
from matinee.sagemaker.monitoring.log_index import ALWAYS, Event, Log
from matinee.sagemaker.registry import sequences

MAX_GROUPS = 50
MAX_STREAMS = 50
MAX_EVENTS = 10_000
# CloudWatch counts 26 bytes of overhead for each event.
MAX_BYTES, EVENT_OVERHEAD_BYTES = 1 << 20, 26

_GROUP_ARN = re.compile(r"arn:aws:logs:[^:]*:[^:]*:log-group:([^:]+)(?::\*)?")
_TOKEN = re.compile(r"([fb])/(\d{1,18})")


def describe_log_groups(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List the log groups by name.

    Raises
    ------
    InvalidParameterException
        Parameters exclude each other, or the token is none of this operation.
    """
    if "logGroupNamePrefix" in request and "logGroupNamePattern" in request:
        raise InvalidParameterException(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
        )
    prefix, part = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
    names = [
        name
        for name in log_groups.names(context)
        if name.startswith(prefix) and part in name and _is_class(request)
    ]
    if "logGroupIdentifiers" in request:
        wanted = {_group_name(item) for item in request["logGroupIdentifiers"]}
        names = [name for name in names if name in wanted]
    shown, rest = sequences.names_after(
        names, request.get("nextToken"), request.get("limit", MAX_GROUPS)
    )
    return {"logGroups": [_group(context, name) for name in shown], **rest}


def _is_class(request: Mapping[str, Any]) -> bool:
    return str(request.get("logGroupClass", "STANDARD")) == "STANDARD"


def _group(context: Context, name: str) -> dict[str, Any]:
    arn = f"arn:aws:logs:{context.region}:{context.account_id}:log-group:{name}"
    described = {
        "logGroupName": name,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "logGroupClass": "STANDARD",
    }
    created = log_groups.created(context, name)
    return described if created is None else {**described, "creationTime": created}


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
    group = requested_group(context, request)
    prefix = request.get("logStreamNamePrefix", "")
    by_time = request.get("orderBy") == "LastEventTime"
    if by_time and prefix:
        raise InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
    descending = request.get("descending", False)
    streams = log_groups.streams(context, group, prefix)
    if by_time:
        last = {stream.name: _open(context, stream).last for stream in streams}
        streams.sort(key=lambda stream: (last[stream.name], stream.name), reverse=descending)
    else:
        streams.sort(key=lambda stream: stream.name, reverse=descending)
    named = {stream.name: stream for stream in streams}
    shown, rest = sequences.names_after(
        list(named), request.get("nextToken"), request.get("limit", MAX_STREAMS)
    )
    return {"logStreams": [_described(context, group, named[name]) for name in shown], **rest}


def _described(context: Context, group: str, stream: Stream) -> dict[str, Any]:
    log = _open(context, stream)
    described = {
        "logStreamName": stream.name,
        "creationTime": log.first if stream.created is None else stream.created,
        "arn": f"arn:aws:logs:{context.region}:{context.account_id}:log-group:{group}"
        f":log-stream:{stream.name}",
        "storedBytes": 0,  # as CloudWatch says of every stream
    }
    if log.count:
        described |= {
            "firstEventTimestamp": log.first,
            "lastEventTimestamp": log.last,
            "lastIngestionTime": log.last,
        }
    return described


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
    group = requested_group(context, request)
    stream = log_groups.find(context, group, request["logStreamName"])
    if stream is None:
        raise ResourceNotFoundException("The specified log stream does not exist.")
    log = _open(context, stream)
    direction, position = _start(request, log.count)
    times = range(request.get("startTime", 0), request.get("endTime", ALWAYS.stop))
    forward = direction == "f"
    events = log.forward(position, times) if forward else log.backward(position, times)
    chosen = fitting(islice(events, request.get("limit", MAX_EVENTS)))
    if not forward:
        chosen.reverse()
    first, after = (chosen[0].position, chosen[-1].position + 1) if chosen else (position, position)
    return {
        "events": [
            {"timestamp": event.time, "message": event.text, "ingestionTime": event.time}
            for event in chosen
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


def fitting(events: Iterable[Event]) -> list[Event]:
    """Return the first of these events that fit one answer."""
    chosen: list[Event] = []
    size = 0
    for event in events:
        size += len(event.text.encode()) + EVENT_OVERHEAD_BYTES
        # One event alone is given whatever its size; a reader could never get past it otherwise.
        if chosen and size > MAX_BYTES:
            break
        chosen.append(event)
    return chosen


def requested_group(context: Context, request: Mapping[str, Any]) -> str:
    """Return the name of the group that a request is about.

    Raises
    ------
    ResourceNotFoundException
        There is no such group.
    InvalidParameterException
        The group is given twice or not at all.
    """
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise InvalidParameterException(
            "You must include either logGroupIdentifier or logGroupName, but not both."
        )
    if identifier is not None:
        name = _group_name(identifier)
    if not log_groups.exists(context, str(name)):
        raise ResourceNotFoundException("The specified log group does not exist.")
    return str(name)


def _group_name(identifier: str) -> str:
    arn = _GROUP_ARN.fullmatch(identifier)
    return identifier if arn is None else arn[1]


def _open(context: Context, stream: Stream) -> Log:
    return context.log_index.open(stream.folder)


OPERATIONS: Mapping[str, Operation] = {
    "DescribeLogGroups": describe_log_groups,
    "DescribeLogStreams": describe_log_streams,
    "GetLogEvents": get_log_events,
}
