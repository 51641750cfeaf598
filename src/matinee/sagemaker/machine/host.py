"""The process beside an algorithm's process: ``python -m matinee.sagemaker.machine.host FOLDER``.

It starts the command of ``launch.json`` in a session of its own, writes what it prints to
``log.jsonl``, ends it at its time limit, over a limit of ``limits.py``, or on SIGTERM (SIGKILL
after a grace), and leaves ``exit.json`` and no process behind. It needs no server, so a job
outlives the server that started it; a bound one (on a node of a cluster) ends with its starter, at
once and without an exit. It imports only the standard library and modules that do the same, runs
once a folder and refuses a second time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matinee.sagemaker.machine import isolation, process_tree

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
_AT_END_SECONDS = 60.0
_OTHER_SECONDS, _PAUSE_SECONDS = 10.0, 0.01
_FOLDER_SECONDS = 1.0
# How a container engine tells that the container was killed.
_KILLED_CODE = 128 + signal.SIGKILL
_LIMITS_LOOK_SECONDS = 0.2
# Every look walks all processes of the machine: seldom while less than half of a limit is used.
_FAR_LOOK_SECONDS = 1.0
# Those of limits.py that the kernel keeps, with how many of its units are one of theirs; and the
# signals by which it ends a process that goes over.
_KERNEL_LIMITS = {
    "cpu_seconds": (resource.RLIMIT_CPU, 1),
    "open_files": (resource.RLIMIT_NOFILE, 1),
    "file_size_mb": (resource.RLIMIT_FSIZE, 1024**2),
}
_KERNEL_SIGNALS = {signal.SIGXCPU: "cpu_seconds", signal.SIGXFSZ: "file_size_mb"}


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one step: readers see the old one, or none, or all of it."""
    partial = path.with_suffix(".partial")
    with partial.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_whole(path: Path) -> dict[str, Any] | None:
    """Read what ``write_whole`` has written; None if it is not there."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return content


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
    launch = json.loads((folder / LAUNCH).read_text())
    is_bound: bool = launch.get("is_bound", False)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    # Another bound one has lost its starter, and ends.
    if not _is_locked(lock, seconds=_OTHER_SECONDS if is_bound else 0.0):
        # A server that has died since started that one; this server takes it for its own.
        _await_other(folder)
        return
    if (folder / PROCESS).exists():
        sys.exit(f"{folder} was run before")
    if is_bound and os.fork():
        # Not the starter's child: a cluster may kill those when it ends it, and the algorithm would
        # run on with nobody to end it.
        os._exit(0)
    log = _Log(folder / LOG)
    identity = {"host": _identity(os.getpid())}
    limits: dict[str, int] = launch.get("limits", {})
    try:
        # What the algorithm starts and leaves is this process's, and ends with it.
        isolation.adopt_orphans()
        if launch.get("mounts") or not launch.get("has_network", True):
            _isolate(folder, launch)
        process = subprocess.Popen(  # noqa: S603 - the registered command of the job's image
            launch["command"],
            cwd=launch["directory"],
            env=launch["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Safe: this process has one thread as yet.
            preexec_fn=lambda: _set_kernel_limits(limits),
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.write([f"cannot start {launch['command']}: {error}".encode()])
        write_whole(folder / PROCESS, identity)
        _end(folder, 127, "exited")
        return
    write_whole(folder / PROCESS, {**identity, "algorithm": _identity(process.pid)})
    # The server waits for this end of file: now the process can be found and stopped.
    _close_standard_output()
    code, cause = _watch(process, log, events, folder, launch)
    clean_up(folder)
    # The folder of a lost one is another's, or will be.
    if cause != "lost" and (not is_bound or _is_own(folder)):
        _end(folder, code, cause)


def _is_locked(lock: int, *, seconds: float) -> bool:
    """Return whether this process has the lock, after as many seconds at most."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
        else:
            return True


def _await_other(folder: Path) -> None:
    """Return when the host that has the folder can be found, or has had its time to start."""
    deadline = time.monotonic() + _OTHER_SECONDS
    while not (folder / PROCESS).exists() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    if not (folder / PROCESS).exists():
        sys.exit(f"another host runs {folder}, and has not started its process")


def _isolate(folder: Path, launch: Mapping[str, Any]) -> None:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    mounts = [(Path(source), Path(target)) for source, target in launch["mounts"]]
    isolation.enter(mounts, scratch=scratch, has_network=launch["has_network"])


def _set_kernel_limits(limits: Mapping[str, int]) -> None:
    # A core file would be taken for an output.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, (number, unit) in _KERNEL_LIMITS.items():
        if name in limits:
            _, highest = resource.getrlimit(number)
            wanted = limits[name] * unit
            # Only root could go over what is the highest already.
            least = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
            # The kernel kills at the hard limit, and asks to end at the soft one.
            hard = least + 1 if number == resource.RLIMIT_CPU else least
            resource.setrlimit(number, (least, hard))


def clean_up(folder: Path) -> None:
    """Run what is left to do after a process's end, such as the removal of its container."""
    launch = json.loads((folder / LAUNCH).read_text())
    if not launch.get("at_end"):
        return
    try:
        subprocess.run(  # noqa: S603 - our own words
            launch["at_end"],
            env=launch["environment"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_AT_END_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _Log(folder / LOG).write([f"{launch['at_end']}: {error}".encode()])


def _identity(pid: int) -> dict[str, int | None]:
    return {"pid": pid, "started_at": process_tree.started_at(pid)}


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
    folder: Path,
    launch: dict[str, Any],
) -> tuple[int, str]:
    if process.stdout is None:
        raise ValueError("the algorithm's output is not a pipe")
    # A signal that the kernel gives to another thread would not wake this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    writer = threading.Thread(target=log.copy, args=(process.stdout.fileno(),), daemon=True)
    writer.start()
    threading.Thread(target=_await_exit, args=(process.pid, events), daemon=True).start()
    if launch.get("is_bound"):
        threading.Thread(target=_await_loss, args=(folder, events), daemon=True).start()
    limits: dict[str, int] = launch.get("limits", {})
    over: list[str] = []
    if {"memory_mb", "processes"} & limits.keys():
        arguments = (limits, over, events)
        threading.Thread(target=_await_excess, args=arguments, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        cause = events.get(timeout=launch["limit_seconds"])
    except queue.Empty:
        cause = "timed out"
    ended = {"exited", "over", "lost"}
    if cause not in ended:
        os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + launch["grace_seconds"]
        with contextlib.suppress(queue.Empty):
            # Another stop during the grace changes nothing.
            while (event := events.get(timeout=max(0.0, deadline - time.monotonic()))) not in ended:
                pass
            cause = "lost" if event == "lost" else cause
    # A container ends with its first process, so what that one left behind ends too. It is not
    # yet reaped, hence its group's number cannot belong to others.
    kill_group(process.pid)
    process_tree.kill_descendants(os.getpid())
    code = process.wait()
    writer.join(_DRAIN_SECONDS)
    if over:
        log.write([over[0].encode()])
    elif -code in _KERNEL_SIGNALS:
        name = _KERNEL_SIGNALS[signal.Signals(-code)]
        if name in limits:
            log.write([f"the process was ended: over the limit {name} {limits[name]}".encode()])
    elif cause == "exited" and code == _KILLED_CODE and "when_killed" in launch:
        log.write([launch["when_killed"].encode()])
    # One that was ended for going over ended by itself, as far as the job is concerned.
    return (code if code >= 0 else 128 - code), "exited" if cause == "over" else cause


def _await_exit(pid: int, events: queue.SimpleQueue[str]) -> None:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    events.put("exited")


def _await_loss(folder: Path, events: queue.SimpleQueue[str]) -> None:
    """Wait until the starter is gone, or another attempt has the folder: this one is given up."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLHUP)
    while not poll.poll(1000 * _FOLDER_SECONDS) and _is_own(folder):
        pass
    events.put("lost")


def _is_own(folder: Path) -> bool:
    try:
        owner: dict[str, int | None] = json.loads((folder / PROCESS).read_text())["host"]
    except FileNotFoundError:
        return False
    except OSError as error:
        # Whose it is cannot be seen for the moment.
        print(f"{folder / PROCESS}: {error}", file=sys.stderr, flush=True)
        return True
    return owner == _identity(os.getpid())


def _await_excess(
    limits: Mapping[str, int], over: list[str], events: queue.SimpleQueue[str]
) -> None:
    pause = _LIMITS_LOOK_SECONDS
    while not over:
        time.sleep(pause)
        used = process_tree.usage(os.getpid(), exact_over=limits.get("memory_mb"))
        shares = used._asdict().items()
        near = any(2 * value > limits.get(name, 2 * value) for name, value in shares)
        pause = _LIMITS_LOOK_SECONDS if near else _FAR_LOOK_SECONDS
        for name, value, words in (
            ("memory_mb", used.memory_mb, "MiB of memory"),
            ("processes", used.processes, "processes and threads"),
        ):
            if value > limits.get(name, value):
                over.append(
                    f"the process was ended: it and what it started had {value} {words}, over the "
                    f"limit {name} {limits[name]}"
                )
                break
    events.put("over")


def kill_group(group: int) -> None:
    """End every process of a process group at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
    # Whoever waits for this process's end need not wait for the interpreter's.
    os._exit(0)
