"""Processes that outlive who started them: their log, their end, their death."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee.sagemaker.machine import compute, host, isolation, limits
from matinee.sagemaker.machine.commands import Command
from matinee.sagemaker.machine.compute import ComputeError, Phase, Status
from matinee.sagemaker.machine.limits import Limits
from matinee.sagemaker.machine.process_tree import started_at
from matinee.sagemaker.monitoring import log_events


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    compute.stop(tmp_path)
    ended(tmp_path)


def start(
    folder: Path,
    program: str,
    *,
    limit: float | None = None,
    grace: float = 20.0,
    environment: dict[str, str] | None = None,
    limits: Limits = limits.NONE,
    in_place: bool = False,
    **more: Any,
) -> None:
    compute.start(
        folder,
        Command((sys.executable, "-c", program), limits, in_place=in_place),
        directory=folder,
        environment=environment or {},
        limit_seconds=limit,
        grace_seconds=grace,
        **more,
    )


def ended(folder: Path) -> Status:
    deadline = time.monotonic() + 30
    while (status := compute.wait(folder, 1.0)).phase is Phase.RUNNING:
        assert time.monotonic() < deadline
    return status


def lines(folder: Path) -> list[str]:
    return [text for _, text in log_events.read(folder)]


def wait_for_line(folder: Path, line: str) -> None:
    deadline = time.monotonic() + 30
    while line not in lines(folder):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_runs_where_and_with_what_it_is_told(folder: Path) -> None:
    assert compute.status(folder) == Status(Phase.ABSENT)
    program = "import os; print(os.getcwd(), os.environ['COLOUR'], 'HOME' in os.environ)"
    start(folder, program, environment={"COLOUR": "blue"})
    assert ended(folder) == Status(Phase.EXITED, 0, "exited")
    assert lines(folder) == [f"{folder.resolve()} blue False"]


def test_both_outputs_are_logged_line_by_line_with_their_time(folder: Path) -> None:
    before = time.time_ns() // 1_000_000
    start(
        folder,
        r"import sys; sys.stderr.write('err\n'); sys.stderr.flush();"
        r"sys.stdout.buffer.write(b'\xff\r\n\n' + b'x' * 300000 + b'\nlast'); sys.exit(3)",
    )
    assert ended(folder) == Status(Phase.EXITED, 3, "exited")
    text = lines(folder)
    assert text[:3] == ["err", "\ufffd\r", ""]
    assert "".join(text[3:-1]) == "x" * 300000
    assert max(map(len, text)) <= 2 * 256 * 1024
    assert text[-1] == "last"
    times = [moment for moment, _ in log_events.read(folder)]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time_ns() // 1_000_000


def test_a_signal_is_told_as_a_shell_does(folder: Path) -> None:
    start(folder, "import os; os.kill(os.getpid(), 9)")
    assert ended(folder) == Status(Phase.EXITED, 137, "exited")


def test_a_stop_lets_the_process_end_by_itself(folder: Path) -> None:
    start(
        folder,
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5));"
        "print('ready', flush=True); signal.pause()",
    )
    wait_for_line(folder, "ready")
    compute.stop(folder)
    compute.stop(folder)
    assert ended(folder) == Status(Phase.EXITED, 5, "stopped")
    compute.stop(folder)


@pytest.mark.parametrize("allowed", [limits.NONE, Limits(memory_mb=1024)])
def test_a_stop_reaches_a_host_that_was_suspended(folder: Path, allowed: Limits) -> None:
    start(folder, "import signal; print('ready', flush=True); signal.pause()", limits=allowed)
    wait_for_line(folder, "ready")
    host = json.loads((folder / "process.json").read_text())["host"]["pid"]
    os.kill(host, signal.SIGSTOP)
    compute.stop(folder)
    os.kill(host, signal.SIGCONT)
    assert ended(folder) == Status(Phase.EXITED, 143, "stopped")


def test_a_process_that_will_not_end_is_killed_after_its_grace(folder: Path) -> None:
    start(
        folder,
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True)\nwhile True: signal.pause()",
        grace=0.2,
    )
    wait_for_line(folder, "ready")
    compute.stop(folder)
    assert ended(folder) == Status(Phase.EXITED, 137, "stopped")


def test_a_process_over_its_time_is_stopped(folder: Path) -> None:
    start(folder, "import signal; signal.pause()", limit=0.2)
    assert ended(folder) == Status(Phase.EXITED, 143, "timed out")


def test_a_command_that_cannot_start_says_so(folder: Path) -> None:
    compute.start(
        folder,
        ["/no/such/program"],
        directory=folder,
        environment={},
        limit_seconds=None,
        grace_seconds=1,
    )
    assert ended(folder) == Status(Phase.EXITED, 127, "exited")
    assert "/no/such/program" in lines(folder)[0]


def test_a_folder_has_one_process_ever(folder: Path) -> None:
    start(folder, "print('once')")
    ended(folder)
    with pytest.raises(ComputeError, match="has had a process before"):
        start(folder, "print('twice')")
    assert lines(folder) == ["once"]


def test_the_host_belongs_to_no_terminal_and_no_server(folder: Path) -> None:
    start(folder, "import signal; signal.pause()")
    identity = json.loads((folder / "process.json").read_text())
    host, algorithm = identity["host"]["pid"], identity["algorithm"]["pid"]
    assert os.getsid(host) == host
    assert os.getsid(algorithm) == algorithm


def test_a_host_that_was_killed_is_lost_and_takes_the_algorithm_along(folder: Path) -> None:
    start(folder, "import signal; signal.pause()")
    identity = json.loads((folder / "process.json").read_text())
    os.kill(identity["host"]["pid"], signal.SIGKILL)
    assert ended(folder) == Status(Phase.LOST)
    compute.stop(folder)
    algorithm, deadline = identity["algorithm"], time.monotonic() + 30
    while started_at(algorithm["pid"]) == algorithm["started_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_process_with_the_pid_is_not_taken_for_it(folder: Path) -> None:
    own = {"pid": os.getpid(), "started_at": (started_at(os.getpid()) or 0) - 1}
    (folder / "process.json").write_text(json.dumps({"host": own}))
    assert compute.status(folder) == Status(Phase.LOST)
    compute.stop(folder)


def test_the_host_does_not_hold_what_this_process_has_open(folder: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    start(folder, "import signal; signal.pause()")
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_what_a_process_leaves_behind_ends_with_it_also_in_another_session(folder: Path) -> None:
    start(
        folder,
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'],"
        " start_new_session=True)\n"
        "print(child.pid)",
    )
    assert ended(folder).code == 0
    assert started_at(int(lines(folder)[0])) is None


def test_a_process_over_its_memory_is_ended_and_the_log_says_why(folder: Path) -> None:
    start(
        folder,
        "import signal; x = b'x' * (80 << 20); signal.pause()",
        limits=Limits(memory_mb=64),
    )
    assert ended(folder) == Status(Phase.EXITED, 137, "exited")
    assert "MiB of memory, over the limit memory_mb 64" in lines(folder)[-1]


def test_memory_that_processes_share_counts_once(folder: Path) -> None:
    start(
        folder,
        "import os, signal, sys, time; x = b'x' * (80 << 20)\n"
        "children = [os.fork() for _ in range(2)]\n"
        "time.sleep(0.5) if all(children) else signal.pause()",
        limits=Limits(memory_mb=128),
    )
    assert ended(folder) == Status(Phase.EXITED, 0, "exited")


def test_too_many_processes_are_ended_and_the_log_says_why(folder: Path) -> None:
    start(
        folder,
        "import os, signal\nfor _ in range(6):\n    if os.fork() == 0: signal.pause()\n"
        "signal.pause()",
        limits=Limits(processes=5),
    )
    assert ended(folder) == Status(Phase.EXITED, 137, "exited")
    said = "it and what it started had 7 processes and threads, over the limit processes 5"
    assert said in lines(folder)[-1]


def test_too_much_processor_time_is_ended_and_the_log_says_why(folder: Path) -> None:
    start(folder, "while True: pass", limits=Limits(cpu_seconds=1))
    assert ended(folder) == Status(Phase.EXITED, 128 + signal.SIGXCPU, "exited")
    assert lines(folder) == ["the process was ended: over the limit cpu_seconds 1"]


def test_the_kernel_limits_files(folder: Path) -> None:
    start(
        folder,
        "import resource as r\n"
        "print([r.getrlimit(n)[1] for n in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_CORE)])",
        limits=Limits(open_files=64, file_size_mb=2),
    )
    assert ended(folder).code == 0
    assert lines(folder) == [str([64, 2 << 20, 0])]


needs_namespaces = pytest.mark.skipif(
    not compute.can_isolate(), reason="this machine allows no mount namespaces"
)


@needs_namespaces
def test_a_process_in_place_has_its_folder_at_opt_ml(folder: Path) -> None:
    start(
        folder,
        "import pathlib, socket; pathlib.Path('/opt/ml/here').touch();"
        "print(socket.gethostbyname('algo-2'))",
        in_place=True,
        addresses={"algo-2": "127.9.9.9"},
    )
    assert ended(folder).code == 0, lines(folder)
    assert (folder / "here").exists()
    assert lines(folder) == ["127.9.9.9"]
    assert not Path("/opt/ml/here").exists()


@needs_namespaces
def test_a_path_that_is_not_there_is_added_beside_its_neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = folder / "parent"
    (parent / "neighbour").mkdir(parents=True)
    (parent / "file").write_text("text")
    (parent / "link").symlink_to("file")
    monkeypatch.setattr(isolation, "BASE", parent / "ml")
    start(
        folder,
        f"import pathlib; p = pathlib.Path({str(parent)!r})\n"
        "print(sorted(x.name for x in p.iterdir()), (p / 'link').read_text())\n"
        "(p / 'ml/here').touch()",
        in_place=True,
    )
    assert ended(folder).code == 0, lines(folder)
    assert lines(folder) == ["['file', 'link', 'ml', 'neighbour'] text"]
    assert (folder / "here").exists()
    assert not (parent / "ml").exists()


@needs_namespaces
def test_without_a_network_a_process_can_talk_to_itself_alone(folder: Path) -> None:
    start(
        folder,
        "import socket; server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname())\n"
        "print([name for _, name in socket.if_nameindex()])",
        has_network=False,
    )
    assert ended(folder).code == 0, lines(folder)
    assert lines(folder) == ["['lo']"]


PAUSES = "import signal; print('ready', flush=True); signal.pause()"


def both(folder: Path) -> list[dict[str, int]]:
    """Return the host's and the algorithm's process of a folder."""
    identities: dict[str, dict[str, int]] = json.loads((folder / host.PROCESS).read_text())
    return list(identities.values())


def wait_until_gone(identities: list[dict[str, int]]) -> None:
    deadline = time.monotonic() + 30
    while any(started_at(item["pid"]) == item["started_at"] for item in identities):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_bound_process_ends_with_its_starter_and_leaves_no_exit(folder: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path\n"
        "from matinee.sagemaker.machine import compute\n"
        "folder = Path(sys.argv[1])\n"
        f"compute.start(folder, [sys.executable, '-c', {PAUSES!r}], directory=folder,"
        " environment={}, limit_seconds=None, grace_seconds=60.0, is_bound=True)\n"
        "signal.pause()"
    )
    words = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(words) as starter:  # noqa: S603 - our own words
        wait_for_line(folder, "ready")
        identities = both(folder)
        assert compute.status(folder).phase is Phase.RUNNING
        starter.kill()
    wait_until_gone(identities)
    assert compute.status(folder) == Status(Phase.LOST)


def test_a_bound_process_gives_up_a_folder_that_is_anothers(folder: Path) -> None:
    start(folder, PAUSES, is_bound=True)
    wait_for_line(folder, "ready")
    identities = both(folder)
    another = {"host": {"pid": 1, "started_at": 1}}
    host.write_whole(folder / host.PROCESS, another)
    wait_until_gone(identities)
    assert json.loads((folder / host.PROCESS).read_text()) == another
    assert not (folder / host.EXIT).exists()


def test_a_bound_process_can_be_stopped(folder: Path) -> None:
    start(folder, PAUSES, is_bound=True)
    wait_for_line(folder, "ready")
    compute.stop(folder)
    assert ended(folder) == Status(Phase.EXITED, 143, "stopped")


def test_a_bound_process_waits_for_one_that_is_about_to_end(folder: Path) -> None:
    lock = os.open(folder / host.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.3, os.close, (lock,)).start()
    start(folder, "print('mine')", is_bound=True)
    assert ended(folder) == Status(Phase.EXITED, 0, "exited")
    assert lines(folder) == ["mine"]


def test_a_second_host_leaves_it_to_the_first(folder: Path) -> None:
    # The first one was started by a server that died before its process could be found.
    launch = {"command": [sys.executable, "-c", "print('again')"], "directory": str(folder)}
    (folder / host.LAUNCH).write_text(json.dumps(launch))
    lock = os.open(folder / host.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    words = [sys.executable, "-m", host.__name__, str(folder)]
    second = subprocess.Popen(words)  # noqa: S603 - our own words
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.3)
    identity = {"pid": os.getpid(), "started_at": started_at(os.getpid())}
    (folder / host.PROCESS).write_text(json.dumps({"host": identity}))
    assert second.wait(30) == 0
    assert not (folder / host.LOG).exists()
    # Nothing is left to stop.
    os.close(lock)
    (folder / host.PROCESS).unlink()


def test_what_a_killed_host_and_its_client_left_is_cleaned_up(folder: Path) -> None:
    start(folder, "import signal; signal.pause()")
    launch = json.loads((folder / host.LAUNCH).read_text())
    # As for a container, which runs on when its client is killed.
    mark = folder / "removed"
    at_end = [sys.executable, "-c", f"open({str(mark)!r}, 'w')"]
    host.write_whole(folder / host.LAUNCH, {**launch, "at_end": at_end})
    for process in json.loads((folder / host.PROCESS).read_text()).values():
        os.kill(process["pid"], signal.SIGKILL)
    assert ended(folder).phase is Phase.LOST
    compute.stop(folder)
    assert mark.exists()


def test_a_process_is_put_in_place_wherever_the_kernel_lets_it() -> None:
    words = ["unshare", "--user", "--map-root-user", "--mount", "--net", "true"]
    try:
        is_possible = subprocess.run(words, check=False).returncode == 0  # noqa: S603 - our words
    except FileNotFoundError:
        pytest.skip("no unshare here to ask the kernel")
    assert compute.can_isolate() or not is_possible
