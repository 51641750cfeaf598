"""The Ray cluster of a server: ``cluster.json`` of the state folder, read when the server starts.

It is an object, of which only the first two members must be there::

    {"ray": "10.0.0.1:6379",          the cluster's head
     "token_file": "/home/me/token",  of mode 600: the cluster's token
     "cpus": 1,                       of the cluster, for each instance of a job
     "wait_seconds": 3600}            how long a job waits for room before it fails

Anything else in it keeps the server from starting. Without the file jobs run on this machine.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

FILE_NAME = "cluster.json"
_ADDRESS = re.compile(r"[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")


class ClusterError(Exception):
    """The cluster cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster to run jobs on.

    Attributes
    ----------
    address
        ``host:port`` of its head.
    token_file
        The file with its token.
    cpus
        Of its CPUs, those of one instance.
    patience
        How long a job may wait for room.
    """

    address: str
    token_file: Path
    cpus: float
    patience: timedelta


def read(folder: Path) -> Cluster | None:
    """Return the cluster that ``folder / "cluster.json"`` names; None if it is not there.

    Raises
    ------
    ClusterError
        The file has another form.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ClusterError(f"{path} is not JSON: {error}") from error
    try:
        return _cluster(found)
    except ValueError as error:
        raise ClusterError(f"{path} {error}") from error


def _cluster(found: Any) -> Cluster:
    if not isinstance(found, dict):
        raise ValueError(f"must hold an object, not {found!r}")
    if unknown := sorted(found.keys() - {"ray", "token_file", "cpus", "wait_seconds"}):
        raise ValueError(f"must not have {', '.join(unknown)}")
    address, token_file = found.get("ray"), found.get("token_file")
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise ValueError(f'must have "ray": "HOST:PORT", not {address!r}')
    if not isinstance(token_file, str) or not Path(token_file).is_absolute():
        raise ValueError(
            f'must have "token_file", the path of a file with the token, not {token_file!r}: a '
            "cluster is used with its token only"
        )
    return Cluster(
        address,
        Path(token_file),
        _positive(found, "cpus", 1),
        timedelta(seconds=_positive(found, "wait_seconds", 3600)),
    )


def _positive(found: dict[str, Any], name: str, default: float) -> float:
    value = found.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError(f'must have a positive number as "{name}", not {value!r}')
    return float(value)
