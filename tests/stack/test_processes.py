"""Processes: recognised for good, found by session, mark and ancestry, and ended for sure."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from matinee.stack import processes
from matinee.stack.processes import ProcessRecord
from matinee.stack.service import base_environment

WAIT = "import signal; print('ready', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAIT


def eventually(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Return when a condition holds; fail when it does not within the limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


class Launcher:
    """Starts programs in a folder as the service `demo` of a stack, and waits for their word."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "log"

    def __call__(self, *command: str) -> ProcessRecord:
        self.log.unlink(missing_ok=True)
        record = processes.start(
            command,
            environment=base_environment(self.home, "demo", os.environ),
            folder=self.home,
            log=self.log,
        )
        eventually(lambda: "ready" in self.log.read_text())
        return record


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    processes.stop(processes.members(tmp_path), grace_s=0.0)


def test_a_started_process_leads_its_session_and_writes_a_private_log(launch: Launcher) -> None:
    record = launch(sys.executable, "-c", WAIT)
    assert os.getsid(record.pid) == record.session == record.pid
    assert launch.log.read_text() == "ready\n"
    assert launch.log.stat().st_mode & 0o777 == 0o600
    found = processes.find(record)
    assert found is not None
    assert found.pid == record.pid


def test_a_process_that_ended_is_not_found(launch: Launcher) -> None:
    record = launch(sys.executable, "-c", WAIT)
    psutil.Process(record.pid).kill()
    eventually(lambda: processes.find(record) is None)


def test_another_process_with_the_same_pid_is_not_taken_for_it() -> None:
    record = ProcessRecord(os.getpid(), psutil.Process().create_time(), os.getpid())
    assert processes.find(record) is not None
    assert processes.find(replace(record, created=record.created - 60)) is None


def test_members_are_found_by_mark(launch: Launcher) -> None:
    record = launch(sys.executable, "-c", WAIT)
    assert [member.pid for member in processes.members(launch.home)] == [record.pid]
    assert [member.pid for member in processes.members(launch.home, "demo")] == [record.pid]
    assert processes.members(launch.home, "another") == []
    assert processes.members(launch.home / "elsewhere") == []


def test_an_orphan_without_the_mark_is_found_by_session(launch: Launcher) -> None:
    orphan = f'{sys.executable} -c "{WAIT}"'
    record = launch("/bin/sh", "-c", f"env -i {orphan} & wait")
    psutil.Process(record.pid).kill()
    eventually(lambda: processes.find(record) is None)
    assert processes.members(launch.home) == []
    (member,) = processes.members(launch.home, "demo", record)
    assert member.cmdline()[0] == sys.executable
    processes.stop([member], grace_s=5.0)
    assert processes.members(launch.home, "demo", record) == []


def test_a_descendant_without_the_mark_is_found_by_ancestry(launch: Launcher) -> None:
    launch("/bin/sh", "-c", f'env -i setsid {sys.executable} -c "{WAIT}" & wait')
    assert len(processes.members(launch.home)) == 2


def test_the_calling_process_is_no_member(tmp_path: Path) -> None:
    own = ProcessRecord(os.getpid(), psutil.Process().create_time(), os.getsid(0))
    pids = {member.pid for member in processes.members(tmp_path, "demo", own)}
    assert os.getpid() not in pids
    assert os.getppid() not in pids


def test_a_process_deaf_to_sigterm_is_killed(launch: Launcher) -> None:
    record = launch(sys.executable, "-c", DEAF)
    processes.stop(processes.members(launch.home), grace_s=0.1)
    assert processes.find(record) is None
    assert not psutil.pid_exists(record.pid)
