"""Processes that outlive who started them: their log, their end, their death."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from matinee.sagemaker import compute, log_events
from matinee.sagemaker.compute import ComputeError, Phase, Status
from matinee.sagemaker.host import started_at


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
) -> None:
    compute.start(
        folder,
        [sys.executable, "-c", program],
        directory=folder,
        environment=environment or {},
        limit_seconds=limit,
        grace_seconds=grace,
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


def test_a_stop_reaches_a_host_that_was_suspended(folder: Path) -> None:
    start(folder, "import signal; print('ready', flush=True); signal.pause()")
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
