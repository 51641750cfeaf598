"""Files of secrets: only their owner may have access to them, or they are not read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path


class PrivateFileError(Exception):
    """The file is missing, others may access it, or it does not hold what it should."""


def read_strings(path: Path, what: str, names: Iterable[str]) -> dict[str, str]:
    """Read a JSON object of non-empty strings.

    Parameters
    ----------
    path
        Of a file of mode 600.
    what
        What the file is called when it cannot be read.
    names
        The strings that it must have.

    Raises
    ------
    PrivateFileError
    """
    try:
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except OSError as error:
        raise PrivateFileError(f"cannot read the {what} file: {error}") from error
    if mode & 0o077:
        raise PrivateFileError(
            f"{path} has mode {mode:o}: only its owner may access it (chmod 600)"
        )
    wanted = list(names)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise PrivateFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or any(
        not isinstance(found.get(name), str) or not found[name] for name in wanted
    ):
        words = f"string{'s' if len(wanted) > 1 else ''} {' and '.join(wanted)}"
        raise PrivateFileError(f"{path} must be an object with the {words}")
    return {name: found[name] for name in wanted}
