"""The lines of a log: the last ones, those before, those that hold a text.

A page reads the blocks that it shows and no more; a search goes back from the end, over a limited
number of lines, and says how far it got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matinee.sagemaker.context import Context
from matinee.sagemaker.monitoring import log_groups
from matinee.sagemaker.monitoring.log_groups import Stream
from matinee.sagemaker.monitoring.log_index import ALWAYS, Event

PAGE_LINES = 200
_SEARCHED_LINES = 200_000
_EVER = range(ALWAYS.stop)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a log.

    Attributes
    ----------
    events
        In the order they were written.
    count
        How many the log has.
    before
        Where the lines before these end; None: there are none.
    is_cut
        Whether a search ended before the log's beginning because it had read its share.
    """

    events: Sequence[Event]
    count: int
    before: int | None
    is_cut: bool = False


def streams(context: Context, group: str, name: str) -> list[Stream]:
    """Return the logs of a job or an endpoint, by name.

    Parameters
    ----------
    context
        The server's surroundings.
    group
        The job's log group, or the endpoint's own.
    name
        Of the job; empty for an endpoint.
    """
    found = log_groups.streams(context, group, f"{name}/" if name else "")
    return sorted(found, key=lambda stream: stream.name)


def page(
    context: Context, stream: Stream, *, before: int | None = None, limit: int = PAGE_LINES
) -> Lines:
    """Return the lines before a position; without one the last lines."""
    log = context.log_index.open(stream.folder)
    end = log.count if before is None else min(before, log.count)
    events = list(log.forward(max(0, end - limit), _EVER))[: end - max(0, end - limit)]
    return Lines(events, log.count, events[0].position if events and end > limit else None)


def search(context: Context, stream: Stream, text: str, *, before: int | None = None) -> Lines:
    """Return the last lines before a position that hold a text, in any case."""
    log = context.log_index.open(stream.folder)
    end = log.count if before is None else min(before, log.count)
    wanted = text.casefold()
    found: list[Event] = []
    for event in log.backward(end, _EVER):
        if wanted in event.text.casefold():
            found.append(event)
            if len(found) == PAGE_LINES:
                return Lines(found[::-1], log.count, event.position)
        if end - event.position == _SEARCHED_LINES:
            return Lines(found[::-1], log.count, event.position, is_cut=True)
    return Lines(found[::-1], log.count, None)
