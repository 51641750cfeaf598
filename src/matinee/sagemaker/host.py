"""The process beside an algorithm's process: ``python -m matinee.sagemaker.host JOB_FOLDER``.

It starts the command of ``launch.json`` in a session of its own, writes what it prints to
``log.jsonl``, ends it at its time limit or on SIGTERM (SIGKILL after a grace) and leaves
``exit.json``. It needs no server, so a job outlives the server that started it. It imports only
the standard library, runs once a folder and refuses a second time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

LAUNCH, PROCESS, EXIT, LOG, LOCK = (
    "launch.json",
    "process.json",
    "exit.json",
    "log.jsonl",
    "host.lock",
)
# CloudWatch Logs takes no larger event; a longer line goes on in the next.
LINE_LIMIT_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024
_DRAIN_SECONDS = 5.0


def started_at(pid: int) -> int | None:
    """Return when a process was created, in clock ticks after boot; None if it has ended.

    With the pid this names a process for good, also where the wall clock is set meanwhile.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the name, field 2, stands in parentheses and may hold anything.
    fields = stat[stat.rindex(b")") + 2 :].split()
    state, start_time = fields[0], fields[19]
    return None if state in b"ZX" else int(start_time)


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one step: readers see the old one, or none, or all of it."""
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class _Log:
    """Appends a pipe's lines to the log as they come, each with its time."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, lines: list[bytes]) -> None:
        now = time.time_ns() // 1_000_000
        events = [[now, line.decode(errors="replace")] for line in lines]
        data = "".join(json.dumps(event) + "\n" for event in events).encode()
        while data:
            data = data[os.write(self._file, data) :]

    def copy(self, source: int) -> None:
        rest = b""
        while chunk := os.read(source, _CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            while len(rest) >= LINE_LIMIT_BYTES:
                lines.append(rest[:LINE_LIMIT_BYTES])
                rest = rest[LINE_LIMIT_BYTES:]
            if lines:
                self._try(lines)
        if rest:
            self._try([rest])

    def _try(self, lines: list[bytes]) -> None:
        # An algorithm whose output nobody takes would stand still for ever.
        try:
            self.write(lines)
        except OSError as error:
            print(f"{len(lines)} log lines are lost: {error}", file=sys.stderr, flush=True)


def run(folder: Path) -> None:
    """Run the command of a job folder to its end."""
    # Before anything else, so that a stop that comes early is not lost.
    events: queue.SimpleQueue[str] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: events.put("stopped"))
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another host runs {folder}")
    if (folder / PROCESS).exists():
        sys.exit(f"{folder} was run before")
    launch = json.loads((folder / LAUNCH).read_text())
    log = _Log(folder / LOG)
    identity = {"host": _identity(os.getpid())}
    try:
        process = subprocess.Popen(  # noqa: S603 - the registered command of the job's image
            launch["command"],
            cwd=launch["directory"],
            env=launch["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        log.write([f"cannot start {launch['command']}: {error}".encode()])
        write_whole(folder / PROCESS, identity)
        _end(folder, 127, "exited")
        return
    write_whole(folder / PROCESS, {**identity, "algorithm": _identity(process.pid)})
    # The server waits for this end of file: now the process can be found and stopped.
    _close_standard_output()
    code, cause = _watch(process, log, events, launch)
    _end(folder, code, cause)


def _identity(pid: int) -> dict[str, int | None]:
    return {"pid": pid, "started_at": started_at(pid)}


def _close_standard_output() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _end(folder: Path, code: int, cause: str) -> None:
    write_whole(folder / EXIT, {"code": code, "cause": cause})


def _watch(
    process: subprocess.Popen[bytes],
    log: _Log,
    events: queue.SimpleQueue[str],
    launch: dict[str, Any],
) -> tuple[int, str]:
    if process.stdout is None:
        raise ValueError("the algorithm's output is not a pipe")
    # A signal that the kernel gives to another thread would not wake this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    writer = threading.Thread(target=log.copy, args=(process.stdout.fileno(),), daemon=True)
    writer.start()
    threading.Thread(target=_await_exit, args=(process.pid, events), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        cause = events.get(timeout=launch["limit_seconds"])
    except queue.Empty:
        cause = "timed out"
    if cause != "exited":
        os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + launch["grace_seconds"]
        with contextlib.suppress(queue.Empty):
            # Another stop during the grace changes nothing.
            while events.get(timeout=max(0.0, deadline - time.monotonic())) != "exited":
                pass
    # A container ends with its first process, so what that one left behind ends too. It is not
    # yet reaped, hence its group's number cannot belong to others.
    kill_group(process.pid)
    code = process.wait()
    writer.join(_DRAIN_SECONDS)
    return (code if code >= 0 else 128 - code), cause


def _await_exit(pid: int, events: queue.SimpleQueue[str]) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    events.put("exited")


def kill_group(group: int) -> None:
    """End every process of a process group at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
