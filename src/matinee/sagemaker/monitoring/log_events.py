"""The log of one of a job's hosts: a JSON line ``[milliseconds since 1970, "text"]`` for each line.

The file only grows while its job runs, and is read at the same time: a last line that is not yet
whole is left out. A damaged line elsewhere is an error, not silence.
"""

from __future__ import annotations

import json
import os
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
    return read_on(folder, 0, None)[0]


def read_on(folder: Path, position: int, limit: int | None) -> tuple[list[tuple[int, str]], int]:
    """Return what was logged after a position, and the position after that.

    Parameters
    ----------
    folder
        The host's folder.
    position
        Where to begin: 0, or what an earlier call answered.
    limit
        About how many bytes to read at most; one whole line is read whatever its size. None: all.

    Raises
    ------
    ValueError
        A line is not of the form above.
    """
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read() if limit is None else file.read(limit) + file.readline()
    except FileNotFoundError:
        return [], position
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            milliseconds, text = json.loads(line)
            events.append((int(milliseconds), str(text)))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number} after byte {position}: not a log event: {error}"
            ) from error
    return events, position + len(whole)


def append(folder: Path, milliseconds: int, text: str) -> None:
    """Add an event of the server's own to a host's log, also while the host writes it.

    Raises
    ------
    OSError
        The log cannot be written.
    """
    line = json.dumps([milliseconds, text]).encode() + b"\n"
    file = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, line)
    finally:
        os.close(file)
