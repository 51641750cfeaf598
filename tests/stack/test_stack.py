"""Starting, watching and stopping several services as one, with real processes."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from matinee.stack import processes
from matinee.stack.errors import PortTakenError, ServiceFailedError
from matinee.stack.home import Home
from matinee.stack.processes import ProcessRecord
from matinee.stack.seaweedfs import SeaweedFS
from matinee.stack.service import Service
from matinee.stack.stack import Event, Phase, Stack
from tests.stack.test_processes import eventually

WAIT = "import signal; print('ready', flush=True); signal.pause()"


class Hasty(SeaweedFS):
    """SeaweedFS that is killed soon: its orderly stop takes four seconds."""

    stop_grace_s = 0.2


@dataclass(frozen=True)
class Script:
    """A Python program as a service, which is never ready."""

    folder: Path
    script: str
    ready_limit_s: float = 60.0

    name = "script"
    stop_grace_s = 1.0
    address = "nowhere"

    @property
    def ports(self) -> list[int]:
        return []

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]

    def environment(self) -> dict[str, str]:
        return {}

    def waiting_for(self) -> str | None:
        return "a miracle"


class SmallStack(Stack):
    """A stack of SeaweedFS and whatever a test adds."""

    def __init__(self, home: Home) -> None:
        super().__init__(home, os.environ)
        whole = self.seaweedfs
        self.seaweedfs = Hasty(whole.folder, whole.first_port, whole.credentials, whole.bucket)
        self.added: tuple[Service, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        return (self.seaweedfs, *self.added)


@dataclass
class Audience:
    """Remembers what it was told."""

    events: list[Event]

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def phases(self, service: str) -> list[Phase]:
        return [event.phase for event in self.events if event.service == service]


def nobody(_: object) -> None:
    """Listen to nothing."""


@pytest.fixture
def audience() -> Audience:
    return Audience([])


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallStack]:
    home = Home.open(tmp_path_factory.mktemp("stack") / "home", random.SystemRandom())
    stack = SmallStack(home)
    yield stack
    stack.added = ()
    stack.down(nobody, nobody)


@pytest.fixture
def stack(shared_stack: SmallStack) -> SmallStack:
    """A stack that is up."""
    shared_stack.added = ()
    shared_stack.up(nobody, nobody)
    return shared_stack


def pid_of(stack: Stack, service: str) -> int:
    record = stack.home.record(service)
    assert record is not None
    return record.pid


def test_up_starts_what_is_down(shared_stack: SmallStack, audience: Audience) -> None:
    assert shared_stack.up(audience, nobody) == ["seaweedfs"]
    phases = audience.phases("seaweedfs")
    assert phases[0] == Phase.STARTING
    assert phases[-1] == Phase.READY
    (status,) = shared_stack.status()
    assert (status.service, status.state) == ("seaweedfs", "running")
    assert status.pid == pid_of(shared_stack, "seaweedfs")
    assert status.memory > 10 * 2**20
    assert status.uptime_s > 0


def test_up_leaves_what_is_up(stack: SmallStack, audience: Audience) -> None:
    before = pid_of(stack, "seaweedfs")
    assert stack.up(audience, nobody) == []
    assert audience.phases("seaweedfs") == [Phase.UP_ALREADY]
    assert pid_of(stack, "seaweedfs") == before


def test_up_starts_no_more_than_what_is_needed(stack: SmallStack, tmp_path: Path) -> None:
    stack.added = (Script(tmp_path / "script", "raise SystemExit('no luck')"),)
    assert stack.up(nobody, nobody, (stack.seaweedfs,)) == []
    assert stack.home.record("script") is None


def test_a_killed_service_is_started_again_with_its_data(stack: SmallStack) -> None:
    stack.client("s3").put_object(Bucket="matinee", Key="kept", Body=b"5")
    before = pid_of(stack, "seaweedfs")
    psutil.Process(before).kill()
    eventually(lambda: [status.state for status in stack.status()] == ["stopped"])
    assert stack.up(nobody, nobody) == ["seaweedfs"]
    assert pid_of(stack, "seaweedfs") != before
    assert stack.client("s3").get_object(Bucket="matinee", Key="kept")["Body"].read() == b"5"


def test_what_a_killed_service_left_behind_is_ended_before_it_starts_again(
    stack: SmallStack, tmp_path: Path
) -> None:
    marks = {"MATINEE_STACK": str(stack.home.path), "MATINEE_SERVICE": "script"}
    orphan = processes.start(
        [sys.executable, "-c", WAIT],
        environment={**os.environ, **marks},
        folder=tmp_path,
        log=tmp_path / "log",
    )
    look = f"import os; raise SystemExit(['gone', 'there'][os.path.exists('/proc/{orphan.pid}')])"
    stack.added = (Script(tmp_path / "script", look),)
    with pytest.raises(ServiceFailedError) as caught:
        stack.up(nobody, nobody)
    assert caught.value.last_lines == ["gone"]


def test_a_service_that_ends_is_told_with_its_last_words(
    stack: SmallStack, audience: Audience, tmp_path: Path
) -> None:
    stack.added = (Script(tmp_path / "script", "raise SystemExit('no luck')"),)
    with pytest.raises(ServiceFailedError, match="script ended before it was ready") as caught:
        stack.up(audience, nobody)
    assert caught.value.last_lines == ["no luck"]
    assert "no luck" in str(caught.value)
    assert str(stack.home.log("script")) in str(caught.value)
    assert stack.home.record("script") is None
    assert Phase.STOPPING not in audience.phases("seaweedfs"), "it ran before"


def test_a_service_that_is_never_ready_is_given_up_and_stopped(
    stack: SmallStack, tmp_path: Path
) -> None:
    stack.added = (Script(tmp_path / "script", WAIT, ready_limit_s=0.5),)
    pattern = r"script was not ready after 0.5 s \(waiting for a miracle\)"
    with pytest.raises(ServiceFailedError, match=pattern):
        stack.up(nobody, nobody)
    assert processes.members(stack.home.path, "script") == []


@pytest.mark.parametrize("end", [KeyboardInterrupt, ServiceFailedError])
def test_what_a_failed_up_started_is_stopped(
    stack: SmallStack, tmp_path: Path, end: type[BaseException]
) -> None:
    stack.down(nobody, nobody)
    stack.added = (Script(tmp_path / "script", WAIT),)

    def fail(event: Event) -> None:
        if event.phase is Phase.READY:
            raise end() if end is KeyboardInterrupt else ServiceFailedError("", "", tmp_path, [])

    with pytest.raises(end):
        stack.up(fail, nobody)
    assert processes.members(stack.home.path) == []
    assert [status.state for status in stack.status()] == ["stopped", "stopped"]


def test_a_port_that_a_stranger_took_is_named_and_nothing_is_started(stack: SmallStack) -> None:
    stack.down(nobody, nobody)
    port = stack.seaweedfs.ports[1]
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(
            PortTakenError, match=f"seaweedfs needs port {port}, which process"
        ) as caught,
    ):
        stack.up(nobody, nobody)
    assert str(stack.home.ports_file) in str(caught.value)
    assert processes.members(stack.home.path) == []


def test_a_process_that_got_an_old_pid_is_neither_shown_nor_stopped(stack: SmallStack) -> None:
    stack.down(nobody, nobody)
    command = [sys.executable, "-c", WAIT]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stranger:  # noqa: S603 -- our own
        assert stranger.stdout is not None
        stranger.stdout.readline()
        stack.home.write_record("seaweedfs", ProcessRecord(stranger.pid, 1.0, stranger.pid))
        assert [status.state for status in stack.status()] == ["stopped"]
        stack.down(nobody, nobody)
        assert stranger.poll() is None
        stranger.kill()


@pytest.fixture
def lost_job(stack: SmallStack, tmp_path: Path) -> ProcessRecord:
    """A job's process in a session of its own, whose environment is the algorithm's."""
    folder = stack.home.path / "sagemaker" / "jobs" / "0123"
    return processes.start(
        [sys.executable, "-c", WAIT],
        environment={"SAGEMAKER_BASE_DIR": str(folder)},
        folder=tmp_path,
        log=tmp_path / "log",
    )


def test_down_leaves_nothing_behind(
    stack: SmallStack, lost_job: ProcessRecord, audience: Audience
) -> None:
    stack.down(audience, nobody)
    assert audience.phases("seaweedfs") == [Phase.STOPPING, Phase.STOPPED]
    assert processes.find(lost_job) is None
    assert processes.members(stack.home.path) == []
    assert stack.home.record("seaweedfs") is None


def test_the_stack_is_up_again_after_down(stack: SmallStack) -> None:
    body: Callable[[], bytes] = (
        stack.client("s3").get_object(Bucket="matinee", Key="kept")["Body"].read
    )
    assert body() == b"5"
