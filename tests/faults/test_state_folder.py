"""A state folder that is full, read-only, damaged or taken: said plainly, and nothing is lost."""

from __future__ import annotations

import ctypes
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ObjectStore
from tests.faults.servers import FaultServer
from tests.sagemaker import postgresql
from tests.sagemaker.jobs.conftest import IMAGE, LIMIT_S, ROLE, Jobs, until

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


@pytest.fixture
def server(object_store: ObjectStore, tmp_path: Path) -> Iterator[FaultServer]:
    server = FaultServer(tmp_path, object_store, object_store.endpoint)
    yield server
    (tmp_path / "state").chmod(0o700)
    server.close()


@pytest.fixture
def caller(server: FaultServer, object_store: ObjectStore) -> Iterator[Jobs]:
    caller = Jobs(server, object_store, "matinee")
    yield caller
    caller.close()


def refusal(command: list[str], prepare: Callable[[], object] | None = None) -> str:
    """Start a server that must not start; return what it says."""
    ended = subprocess.run(  # noqa: S603 - our own words
        command, capture_output=True, text=True, timeout=LIMIT_S, check=False, preexec_fn=prepare
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def create_model(caller: Jobs, name: str, **environment: str) -> None:
    container = {"Image": IMAGE, "Environment": {"A": "B", **environment}}
    caller.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)


def models(caller: Jobs) -> set[str]:
    pages = caller.sagemaker.get_paginator("list_models").paginate()
    return {item["ModelName"] for page in pages for item in page["Models"]}


def obey_permissions() -> None:
    """Take the right to write anywhere from root."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


def test_a_folder_that_may_not_be_written(server: FaultServer) -> None:
    server.state.chmod(0o500)
    said = refusal(server.command, obey_permissions)
    assert "cannot write to the state folder" in said
    assert "Permission denied" in said


def test_a_folder_that_cannot_be_made(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = [w for w in server.command if not w.startswith("--state=")]
    said = refusal([*words, f"--state={tmp_path}/file/state"])
    assert "cannot make the state folder" in said


def test_a_database_that_can_only_be_read(server: FaultServer, caller: Jobs) -> None:
    server.start()
    create_model(caller, "before")
    server.end(signal.SIGTERM)
    database = server.state / "sagemaker.sqlite"
    database.chmod(0o400)
    said = refusal(server.command, obey_permissions)
    assert "cannot open the database" in said
    database.chmod(0o600)
    server.start()
    assert models(caller) == {"before"}


def test_a_file_that_is_no_database(server: FaultServer) -> None:
    database = server.state / "sagemaker.sqlite"
    database.write_bytes(b"no database\n" * 1000)
    assert "cannot open the database" in refusal(server.command)
    assert database.read_bytes() == b"no database\n" * 1000


def test_a_database_with_a_damaged_page(server: FaultServer, caller: Jobs) -> None:
    server.start()
    for number in range(30):
        create_model(caller, f"model-{number}", LONG="x" * 1000)
    server.end(signal.SIGTERM)
    database = server.state / "sagemaker.sqlite"
    whole = database.read_bytes()
    assert len(whole) > 20 * 4096
    database.write_bytes(whole[: 4 * 4096] + b"\xff" * 8 * 4096 + whole[12 * 4096 :])
    said = refusal(server.command)
    assert "cannot open the database: its file is damaged" in said
    # With a copy in its place it is as it was.
    database.write_bytes(whole)
    server.start()
    assert len(models(caller)) == 30


def test_a_full_disk_is_told_and_costs_nothing_acknowledged(
    server: FaultServer, caller: Jobs
) -> None:
    server.start()
    create_model(caller, "first")
    until(lambda: (server.state / "sagemaker.sqlite-wal").exists())
    # Files can grow no further: to a database that is as good as a full disk.
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))
    acknowledged, refused = {"first"}, ""
    for number in range(400):
        try:
            create_model(caller, f"model-{number}", LONG="x" * 1000)
        except ClientError as error:
            refused = str(error)
            break
        acknowledged.add(f"model-{number}")
    assert "the database cannot be written: " in refused
    assert "InternalFailure" in refused
    # It still answers, and what it acknowledged is there, now and later.
    assert acknowledged <= models(caller)
    server.end(signal.SIGKILL)
    server.start()
    assert acknowledged <= models(caller) <= {*acknowledged, f"model-{len(acknowledged) - 1}"}
    create_model(caller, "last")


def test_a_second_server_leaves_the_first_ones_jobs_alone(
    server: FaultServer, caller: Jobs, gate: Path
) -> None:
    server.start()
    name = caller.train(wait_for=str(gate))
    caller.wait_until_waiting(name)
    assert f"in use by another server, process {server.pid}" in refusal(server.command)
    gate.touch()
    assert caller.trained(name)["TrainingJobStatus"] == "Completed"


def test_two_folders_cannot_share_a_database(object_store: ObjectStore, tmp_path: Path) -> None:
    with postgresql.running(tmp_path / "postgresql") as databases:
        words = [f"--database={databases.new_database()}"]
        servers = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            servers.append(FaultServer(tmp_path / name, object_store, object_store.endpoint, words))
        first, second = servers
        try:
            first.start()
            said = refusal(second.command)
            assert "the database is in use by another server" in said
            # The kernel's, not a file's: it ends with its holder.
            first.end(signal.SIGKILL)
            second.start()
        finally:
            first.close()
            second.close()


def test_of_100_clients_one_gets_the_name(server: FaultServer, caller: Jobs) -> None:
    server.start()
    request = caller.training_request("wanted")

    def ask(_: int) -> str:
        try:
            caller.sagemaker.create_training_job(**request)
        except ClientError as error:
            code: str = error.response["Error"]["Code"]
            return code
        return "created"

    with ThreadPoolExecutor(100) as clients:
        outcomes: list[Any] = list(clients.map(ask, range(100)))
    assert sorted(outcomes) == ["ResourceInUse"] * 99 + ["created"]
    assert caller.trained("wanted")["TrainingJobStatus"] == "Completed"
    assert caller.log_lines("wanted").count("waiting") == 1
