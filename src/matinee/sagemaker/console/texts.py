"""How pages write values: times, durations, numbers, counts, documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any


def moment(value: datetime | None) -> str:
    """Write a time to the second, in UTC; nothing for none."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(milliseconds: int) -> str:
    """Write the time of day of an event, in milliseconds since 1970, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def duration(seconds: float | None) -> str:
    """Write a length of time in its two largest units; nothing for none."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def number(value: float | None) -> str:
    """Write a number with six significant digits; nothing for none."""
    return "" if value is None else f"{value:.6g}"


def count(value: int) -> str:
    """Write a whole number, its thousands apart."""
    return f"{value:,}"


def document(value: Any) -> str:
    """Write a JSON value as text for a person, times as ISO 8601."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_text)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


FILTERS: Mapping[str, Callable[..., str]] = {
    "moment": moment,
    "clock": clock,
    "duration": duration,
    "number": number,
    "count": count,
    "document": document,
}
