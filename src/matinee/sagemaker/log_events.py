"""The log of one of a job's hosts: a JSON line ``[milliseconds since 1970, "text"]`` for each line.

The file only grows while its job runs, and is read at the same time: a last line that is not yet
whole is left out. A damaged line elsewhere is an error, not silence.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE_NAME = "log.jsonl"


def read(folder: Path) -> list[tuple[int, str]]:
    """Return time and text of what a job has logged, in the order it did.

    Parameters
    ----------
    folder
        The host's folder; without a log file in it nothing has been logged yet.

    Raises
    ------
    ValueError
        A line is not of the form above.
    """
    path = folder / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    events = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            milliseconds, text = json.loads(line)
            events.append((int(milliseconds), str(text)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a log event: {error}") from error
    return events
