"""The process that searches log lines for metrics, run as a module of its own.

A caller's regular expression may take for ever on a line, and would hold up the whole server while
it does; here it is interrupted after some seconds of processor time. For each batch one line of
JSON comes in, ``{"definitions": [[name, regex], ..], "lines": [text, ..], "seconds": s}``, and one
goes out, ``{"found": [[definition, line, value], ..], "slow": [definition, ..]}``, by their numbers
in those lists. It imports only the standard library and ends with its standard input.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Sequence

# CloudWatch takes no value beyond; sums and squares of what it takes stay finite.
LARGEST = 2.0**360


class _TooSlowError(Exception):
    """A definition has used up its time."""


def search(
    definitions: Sequence[tuple[str, str]], lines: Sequence[str], seconds: float
) -> tuple[list[tuple[int, int, float]], list[int]]:
    """Return every value the lines hold, in the order of the lines, and who was too slow for that.

    Parameters
    ----------
    definitions
        Name and regular expression of each metric.
    lines
        Texts of log events.
    seconds
        Processor time that each definition may use for all of the lines.

    Raises
    ------
    re.error
        A regular expression cannot be read.
    """
    found: list[tuple[int, int, float]] = []
    slow = []
    for number, (_, expression) in enumerate(definitions):
        try:
            values = _values(re.compile(expression), lines, seconds)
        except _TooSlowError:
            slow.append(number)
        else:
            found += [(number, line, value) for line, value in values]
    return sorted(found, key=lambda item: (item[1], item[0])), slow


def _values(
    pattern: re.Pattern[str], lines: Sequence[str], seconds: float
) -> list[tuple[int, float]]:
    values = []
    # A search looks for signals from time to time, so this ends one that goes on and on.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        for number, line in enumerate(lines):
            match = pattern.search(line)
            value = _number(match) if match else None
            if value is not None:
                values.append((number, value))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return values


def _number(match: re.Match[str]) -> float | None:
    text = match[1] if match.re.groups else match[0]
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if abs(value) <= LARGEST else None


def _stop(*_: object) -> None:
    raise _TooSlowError


def main() -> None:
    """Answer batches until there are no more."""
    signal.signal(signal.SIGPROF, _stop)
    for line in sys.stdin.buffer:
        batch = json.loads(line)
        found, slow = search(batch["definitions"], batch["lines"], batch["seconds"])
        print(json.dumps({"found": found, "slow": slow}), flush=True)


if __name__ == "__main__":
    main()
