"""What can go wrong with the local stack.

StackError
├── NotAHomeError         the folder given as home holds something else
├── BusyError             another command is starting or stopping the same stack, for too long
├── PortTakenError        a remembered port belongs to somebody else's process
├── NoFreePortsError      no free block of ports was found
├── ServiceFailedError    a service ended, or was not ready within its time limit
├── ProgramMissingError   a program that the stack starts is not installed
└── StillRunningError     a process survived SIGKILL
"""

from __future__ import annotations

from pathlib import Path


class StackError(RuntimeError):
    """The root of the tree: a sentence that a user can act on."""


class NotAHomeError(StackError):
    """The folder given as home is in use for something else."""


class BusyError(StackError):
    """Another command holds the stack's lock for longer than starting or stopping takes."""


class PortTakenError(StackError):
    """A remembered port is held by a process that is not ours."""

    def __init__(self, service: str, port: int, pid: int | None, ports_file: Path) -> None:
        holder = f"process {pid}" if pid is not None else "a process of another user"
        super().__init__(
            f"{service} needs port {port}, which {holder} is listening on. Stop that process, or"
            f" run `matinee down`, remove {ports_file} and run `matinee up` again: it will choose"
            " other ports."
        )
        self.service = service
        self.port = port
        self.pid = pid


class NoFreePortsError(StackError):
    """No block of free loopback ports was found."""


class ServiceFailedError(StackError):
    """A service ended by itself, or was not ready in time; carries the end of its log."""

    def __init__(self, service: str, reason: str, log: Path, last_lines: list[str]) -> None:
        shown = "\n".join(f"  {line}" for line in last_lines) or "  (its log is empty)"
        super().__init__(f"{service} {reason}. The end of {log}:\n{shown}")
        self.service = service
        self.reason = reason
        self.log = log
        self.last_lines = last_lines


class ProgramMissingError(StackError):
    """A program that the stack starts is not installed."""


class StillRunningError(StackError):
    """A process of the stack survived SIGKILL."""
