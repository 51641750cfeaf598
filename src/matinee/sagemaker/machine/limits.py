"""How much of this machine a job's process may use: memory, processor time, files, processes.

The limits of an algorithm stand in ``algorithms.json``. Memory and processes count over the process
and all it has started, and are looked at several times a second, so a process may go over for a
moment; the others are the kernel's own limits, for each process by itself. A process that a limit
ends leaves a last line in its log that names the limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

_SHARE_OF_MEMORY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a process may use; None: no limit.

    Attributes
    ----------
    memory_mb
        Memory of the process and of all it has started, in MiB.
    cpu_seconds
        Processor time of one process.
    open_files
        Files one process may have open.
    file_size_mb
        Size of one file it writes, in MiB.
    processes
        Processes and threads, its own and of all it has started.
    """

    memory_mb: int | None = None
    cpu_seconds: int | None = None
    open_files: int | None = None
    file_size_mb: int | None = None
    processes: int | None = None

    def given(self) -> dict[str, int]:
        """Return the limits there are, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    def changed(self, changes: Any) -> Limits:
        """Return these limits with those of a JSON object in their place.

        Raises
        ------
        ValueError
            It is no object of limits.
        """
        names = [field.name for field in dataclasses.fields(self)]
        if not isinstance(changes, Mapping) or not set(changes) <= set(names):
            raise ValueError(f"must be an object with some of {', '.join(names)}")
        for name, value in changes.items():
            is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if value is not None and not is_count:
                raise ValueError(f"{name} must be a whole number over 0, or null: {value!r}")
        return dataclasses.replace(self, **changes)


NONE = Limits()


def generous() -> Limits:
    """Return limits that only a process out of hand goes over, on this machine."""
    memory = int(_SHARE_OF_MEMORY * psutil.virtual_memory().total) // 1024**2
    return Limits(memory_mb=memory, open_files=65_536, processes=4096)
