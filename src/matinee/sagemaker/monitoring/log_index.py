"""Where the events of large logs lie, so that a page is read without all that comes before it.

An index grows with its file and is made anew when it was forgotten. A position is the number of
events before one; it means the same however much is logged later. Times are never taken to go back
within a log: an event with an earlier time than its predecessor counts as one of that time.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from matinee.sagemaker.monitoring.log_events import FILE_NAME

_BLOCK = 256
_CHUNK_BYTES = 1 << 20
_KEPT_LOGS = 512
# Every time an event may have, in milliseconds.
ALWAYS = range(1 << 62)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a log.

    Attributes
    ----------
    position
        How many come before it.
    time
        Milliseconds since 1970.
    text
        The line.
    order
        The latest time until here; never less than that of the event before.
    """

    position: int
    time: int
    text: str
    order: int


@dataclass(slots=True)
class _Block:
    """So many lines of a log.

    Attributes
    ----------
    offset
        Where it begins, in bytes.
    before
        The latest time before it.
    earliest, latest
        Of its events.
    """

    offset: int
    before: int
    earliest: int
    latest: int

    def has(self, times: range) -> bool:
        """Return whether an event of these times may be among them."""
        return self.latest >= times.start and self.earliest < times.stop


@dataclass(slots=True)
class _Known:
    """What is known of one log."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: list[_Block] = field(default_factory=list)
    count: int = 0
    end: int = 0
    first: int = 0
    last: int = 0


class LogIndex:
    """The logs that were asked for last; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: OrderedDict[Path, _Known] = OrderedDict()

    def open(self, folder: Path) -> Log:
        """Return the log in a host's folder as it stands now.

        Raises
        ------
        ValueError
            A line is not a log event.
        """
        path = folder / FILE_NAME
        with self._lock:
            known = self._logs.setdefault(path, _Known())
            self._logs.move_to_end(path)
            while len(self._logs) > _KEPT_LOGS:
                self._logs.popitem(last=False)
        with known.lock:
            _grow(path, known)
            return Log(path, tuple(known.blocks), known.count, known.first, known.last)


@dataclass(frozen=True, slots=True)
class Log:
    """A log as it stood when it was opened.

    Attributes
    ----------
    count
        How many events it has.
    first, last
        Times of the first and of the last one; 0 without any.
    """

    _path: Path
    _blocks: tuple[_Block, ...]
    count: int
    first: int
    last: int

    def forward(self, position: int, times: range) -> Iterator[Event]:
        """Yield the events of some times, from a position on."""
        for number in range(position // _BLOCK, len(self._blocks)):
            if self._blocks[number].has(times):
                for event in self._read(number):
                    if event.position >= position and event.time in times:
                        yield event

    def backward(self, position: int, times: range) -> Iterator[Event]:
        """Yield the events of some times, those before a position, the last first."""
        for number in range(min((position - 1) // _BLOCK, len(self._blocks) - 1), -1, -1):
            if self._blocks[number].has(times):
                for event in reversed(self._read(number)):
                    if event.position < position and event.time in times:
                        yield event

    def from_order(self, order: int, times: range) -> Iterator[Event]:
        """Yield the events of some times, from an order on."""
        for number, block in enumerate(self._blocks):
            if max(block.before, block.latest) >= order and block.has(times):
                for event in self._read(number):
                    if event.order >= order and event.time in times:
                        yield event

    def until_order(self, order: int, times: range) -> Iterator[Event]:
        """Yield the events of some times, those until an order, the last first."""
        for number in range(len(self._blocks) - 1, -1, -1):
            if self._blocks[number].before <= order and self._blocks[number].has(times):
                for event in reversed(self._read(number)):
                    if event.order <= order and event.time in times:
                        yield event

    def _read(self, number: int) -> list[Event]:
        block = self._blocks[number]
        begin = number * _BLOCK
        order = block.before
        events = []
        with self._path.open("rb") as file:
            file.seek(block.offset)
            for position in range(begin, min(begin + _BLOCK, self.count)):
                time, text = json.loads(file.readline())
                order = max(order, time)
                events.append(Event(position, time, text, order))
        return events


def _grow(path: Path, known: _Known) -> None:
    """Take in the whole lines that a log has grown by."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(known.end)
        while data := file.read(_CHUNK_BYTES) + file.readline():
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.splitlines(keepends=True):
                _add(path, known, line)
            if len(whole) < len(data):
                return  # the last line is not yet written to its end


def _add(path: Path, known: _Known, line: bytes) -> None:
    # The time stands first; the text need not be looked at.
    head, comma, _ = line.partition(b",")
    if not (comma and head.startswith(b"[") and head[1:].strip().isdigit()):
        raise ValueError(f"{path}, byte {known.end}: not a log event: {line[:80]!r}")
    time = int(head[1:])
    if known.count % _BLOCK == 0:
        before = max(known.blocks[-1].before, known.blocks[-1].latest) if known.blocks else 0
        known.blocks.append(_Block(known.end, before, time, time))
    block = known.blocks[-1]
    block.earliest, block.latest = min(block.earliest, time), max(block.latest, time)
    if not known.count:
        known.first = time
    known.last = time
    known.count += 1
    known.end += len(line)
