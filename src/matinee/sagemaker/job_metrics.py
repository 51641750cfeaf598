"""Metrics as SageMaker takes them: numbers that regular expressions find in a job's log lines.

A line that does not match, or whose first group is not a finite number, is no point.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one metric: when its line was written, in milliseconds since 1970."""

    name: str
    timestamp_ms: int
    value: float


def points(
    events: Iterable[tuple[int, str]], definitions: Sequence[Mapping[str, str]]
) -> list[MetricPoint]:
    """Return every value the log lines hold, in the order of the lines.

    Parameters
    ----------
    events
        Milliseconds since 1970 and text of each line.
    definitions
        ``{"Name": .., "Regex": ..}``, as in AlgorithmSpecification's MetricDefinitions.

    Raises
    ------
    re.error
        A regular expression cannot be read.
    """
    patterns = [(item["Name"], re.compile(item["Regex"])) for item in definitions]
    found = []
    for milliseconds, line in events:
        for name, pattern in patterns:
            match = pattern.search(line)
            value = _number(match) if match else None
            if value is not None:
                found.append(MetricPoint(name, milliseconds, value))
    return found


def last(points: Iterable[MetricPoint]) -> list[MetricPoint]:
    """Return the last point of each metric, in the order the metrics first appeared."""
    return list({point.name: point for point in points}.values())


def _number(match: re.Match[str]) -> float | None:
    text = match[1] if match.re.groups else match[0]
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
