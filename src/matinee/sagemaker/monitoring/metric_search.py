"""Searches the logs of jobs for metrics: what a log has grown by, once, in a process of its own.

Called as often as anybody likes, also while a job runs: what was found is kept in memory for the
jobs asked for last, and found again for others. An expression that takes too long costs its job
that metric, never the server, and the job's log says so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matinee.sagemaker.monitoring import log_events, metric_worker

log = logging.getLogger(__name__)

# Processor time for one metric in one batch of lines.
SECONDS_PER_BATCH = 2.0
_BATCH_BYTES = 1024**2
# For the answer to one batch: the metrics a job may have, all of them slow, on a busy machine.
_PATIENCE_SECONDS = 600.0
_KEPT_JOBS = 1024
_KEPT_POINTS = 1_000_000

Definitions = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one metric: when its line was written, in milliseconds since 1970."""

    name: str
    timestamp_ms: int
    value: float


class MetricsError(Exception):
    """The process that searches for metrics does not answer."""


@dataclass(slots=True)
class _Known:
    """What is known of one job.

    Attributes
    ----------
    positions
        How far each of its logs was searched.
    points
        What was found, in the order of time.
    dropped
        Metrics that are no longer searched for.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    positions: dict[Path, int] = field(default_factory=dict)
    points: list[MetricPoint] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)


class MetricSearch:
    """The metrics of the jobs asked for last; safe to use from many threads."""

    def __init__(self, seconds_per_batch: float = SECONDS_PER_BATCH) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Path, _Known] = OrderedDict()
        self._seconds = seconds_per_batch
        self._worker = _Worker()

    def points(self, folders: Sequence[Path], definitions: Definitions) -> list[MetricPoint]:
        """Return every value the logs of a job hold, in the order of time.

        Parameters
        ----------
        folders
            Of the job's hosts; the same at every call.
        definitions
            Name and regular expression of each metric; the same at every call.

        Raises
        ------
        MetricsError
            The logs could not be searched.
        """
        if not folders or not definitions:
            return []
        known = self._known(folders[0])
        with known.lock:
            before = len(known.points)
            for folder in folders:
                self._search(folder, known, definitions)
            if len(folders) > 1 and len(known.points) > before:
                known.points.sort(key=lambda point: point.timestamp_ms)
            return list(known.points)

    def _known(self, job: Path) -> _Known:
        with self._lock:
            known = self._jobs.setdefault(job, _Known())
            self._jobs.move_to_end(job)
            points = sum(len(other.points) for other in self._jobs.values())
            while len(self._jobs) > 1 and (points > _KEPT_POINTS or len(self._jobs) > _KEPT_JOBS):
                points -= len(self._jobs.popitem(last=False)[1].points)
        return known

    def _search(self, folder: Path, known: _Known, definitions: Definitions) -> None:
        while True:
            position = known.positions.get(folder, 0)
            events, after = log_events.read_on(folder, position, _BATCH_BYTES)
            if not events:
                return
            wanted = [item for item in definitions if item[0] not in known.dropped]
            lines = [text for _, text in events]
            found, slow = self._worker.search(wanted, lines, self._seconds)
            known.points += [
                MetricPoint(wanted[number][0], events[line][0], value)
                for number, line, value in found
            ]
            known.positions[folder] = after
            for name, expression in (wanted[number] for number in slow):
                known.dropped.add(name)
                self._say(
                    folder,
                    events[-1][0],
                    f"matinee: metric {name!r} is dropped: its regular expression {expression!r} "
                    f"took over {self._seconds:g} seconds on {len(lines)} log lines",
                )

    def _say(self, folder: Path, milliseconds: int, text: str) -> None:
        log.warning("%s: %s", folder, text)
        try:
            log_events.append(folder, milliseconds, text)
        except OSError as error:
            log.warning("%s: the job's log does not say so: %s", folder, error)


class _Worker:
    """The process that searches; started when it is needed, and anew when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[[subprocess.Popen[bytes]], _Worker] | None = None

    def search(
        self, definitions: Definitions, lines: Sequence[str], seconds: float
    ) -> tuple[list[tuple[int, int, float]], list[int]]:
        """Do as `metric_worker.search` does.

        Raises
        ------
        MetricsError
            It does not answer; the next call starts another one.
        """
        if not definitions:
            return [], []
        batch = {"definitions": definitions, "lines": lines, "seconds": seconds}
        with self._lock:
            try:
                answer = self._ask(json.dumps(batch).encode() + b"\n")
            except (OSError, ValueError, EOFError) as error:
                if self._end is not None:
                    self._end()
                self._process = None
                raise MetricsError(f"the search for metrics broke off: {error}") from error
        return [(number, line, value) for number, line, value in answer["found"]], answer["slow"]

    def _ask(self, batch: bytes) -> dict[str, Any]:
        process = self._process
        if process is None:
            process = self._process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", metric_worker.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._end = weakref.finalize(self, _end, process)
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        process.stdin.write(batch)
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(_PATIENCE_SECONDS):
                raise TimeoutError(f"no answer within {_PATIENCE_SECONDS:g} seconds")
        line = process.stdout.readline()
        if not line:
            raise EOFError(f"it ended with code {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    # What it did not read is of no use.
    with contextlib.suppress(BrokenPipeError), process:
        process.kill()
