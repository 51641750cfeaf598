"""CloudWatch Logs: search the streams of a group together, in the order of time.

A page ends when it is full or enough was looked through; then it has a token, also when nothing was
found, as AWS says of this operation.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker import page_tokens
from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import InvalidParameterException, ResourceNotFoundException
from matinee.sagemaker.monitoring import log_groups
from matinee.sagemaker.monitoring.filter_patterns import compile_pattern
from matinee.sagemaker.monitoring.log_groups import Stream
from matinee.sagemaker.monitoring.log_index import ALWAYS, Event
from matinee.sagemaker.services.logs import (
    EVENT_OVERHEAD_BYTES,
    MAX_BYTES,
    MAX_EVENTS,
    requested_group,
)

# How many events one call looks at.
MAX_SEARCHED = 200_000

# What may change from page to page.
_NOT_ASKED = {"nextToken", "limit", "startFromHead", "interleaved"}

# An event's place among those of all streams.
Place = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class _Query:
    """What is searched for.

    Attributes
    ----------
    streams
        Where.
    times
        Events of which times.
    is_wanted
        Decides about a line.
    limit
        How many events a page has at most.
    """

    streams: list[Stream]
    times: range
    is_wanted: Callable[[str], bool]
    limit: int


def filter_log_events(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Return the events of a group's streams that a pattern wants, in the order of time.

    Raises
    ------
    ResourceNotFoundException
        There is no such group or stream.
    InvalidParameterException
        Parameters exclude each other, the pattern cannot be read, or the token is none of this
        query.
    NotImplementedByMatinee
        The pattern is of a kind that is not here.
    """
    if "logStreamNames" in request and "logStreamNamePrefix" in request:
        raise InvalidParameterException(
            "logStreamNamePrefix and logStreamNames are mutually exclusive parameters."
        )
    group = requested_group(context, request)
    query = _Query(
        _streams(context, group, request),
        range(request.get("startTime", 0), request.get("endTime", ALWAYS.stop - 1) + 1),
        compile_pattern(request.get("filterPattern", "")),
        request.get("limit", MAX_EVENTS),
    )
    fingerprint = page_tokens.fingerprint(request, _NOT_ASKED)
    forward, place = request.get("startFromHead", True), None
    if "nextToken" in request:
        forward, place = _read_token(request["nextToken"], fingerprint)
    found, more = _page(query, _merged(context, query, place, forward=forward))
    answer: dict[str, Any] = {
        "events": [_described(stream, event) for stream, event in found],
        "searchedLogStreams": [],  # as CloudWatch says since it is no longer supported
    }
    if more is not None:
        answer["nextToken"] = page_tokens.write(fingerprint, forward, *more)
    return answer


def _streams(context: Context, group: str, request: Mapping[str, Any]) -> list[Stream]:
    if "logStreamNames" not in request:
        return log_groups.streams(context, group, request.get("logStreamNamePrefix", ""))
    streams = []
    for name in dict.fromkeys(request["logStreamNames"]):
        stream = log_groups.find(context, group, name)
        if stream is None:
            raise ResourceNotFoundException("The specified log stream does not exist.")
        streams.append(stream)
    return streams


def _merged(
    context: Context, query: _Query, place: Place | None, *, forward: bool
) -> Iterator[tuple[Place, Stream, Event]]:
    """Yield the events of all streams in order, those after a place only."""

    def one(stream: Stream) -> Iterator[tuple[Place, Stream, Event]]:
        log = context.log_index.open(stream.folder)
        if forward:
            events = log.from_order(0 if place is None else place[0], query.times)
        else:
            events = log.until_order(ALWAYS.stop if place is None else place[0], query.times)
        for event in events:
            here = (event.order, stream.name, event.position)
            if place is None or (here > place if forward else here < place):
                yield here, stream, event

    return heapq.merge(
        *(one(stream) for stream in query.streams), key=lambda item: item[0], reverse=not forward
    )


def _page(
    query: _Query, events: Iterator[tuple[Place, Stream, Event]]
) -> tuple[list[tuple[Stream, Event]], Place | None]:
    """Return the events of one page, and the place to go on after if there may be more."""
    found: list[tuple[Stream, Event]] = []
    size, last = 0, None
    for searched, (place, stream, event) in enumerate(events):
        if len(found) == query.limit or searched == MAX_SEARCHED:
            return found, last
        if query.is_wanted(event.text):
            size += len(event.text.encode()) + EVENT_OVERHEAD_BYTES
            if found and size > MAX_BYTES:
                return found, last
            found.append((stream, event))
        last = place
    return found, None


def _described(stream: Stream, event: Event) -> dict[str, Any]:
    text = f"{stream.name} {event.position}"
    # Digits that no other event has, later times later, as CloudWatch's ids are.
    identifier = int(hashlib.sha256(text.encode()).hexdigest()[:32], 16)
    return {
        "logStreamName": stream.name,
        "timestamp": event.time,
        "message": event.text,
        "ingestionTime": event.time,
        "eventId": f"{event.time:017d}{identifier:039d}",
    }


def _read_token(token: str, fingerprint: str) -> tuple[bool, Place]:
    try:
        forward, order, stream, position = page_tokens.read(token, fingerprint)
        return bool(forward), (int(order), str(stream), int(position))
    except (ValueError, TypeError) as error:
        raise InvalidParameterException("The specified nextToken is invalid.") from error


OPERATIONS: Mapping[str, Operation] = {"FilterLogEvents": filter_log_events}
