"""Real servers for the tests: a SeaweedFS and a local SageMaker a session, a bucket a test."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from matinee.stack import processes
from matinee.stack.credentials import Credentials
from matinee.stack.ports import free_block
from matinee.stack.sagemaker import SageMaker
from matinee.stack.seaweedfs import PORT_COUNT, SeaweedFS
from matinee.stack.service import (
    POLL_S,
    REGION,
    Service,
    base_environment,
    check_progress,
    last_lines,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--prove-operations",
        action="store_true",
        help="fail if an AWS operation that matinee offers was never answered in this run",
    )


# Modules of long tests, or of tests that share long preparations; about the longest first.
LONG = (
    "dags/test_runs.py",
    "test_run.py",
    "contract/test_sdks.py",
    "sagemaker/jobs/cluster/test_ray_compute.py",
    "workflow/test_engines.py",
    "stepfunctions/test_runs.py",
    "workflow/test_spark_prepare.py",
    "cloud/test_templates.py",
    "cloud/test_security.py",
    "notebooks/test_sagemaker_sdk.py",
    "faults/test_sweep.py",
    "faults/test_kill.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process begin with long modules of its own, and end with short tests.

    pytest-xdist gives each process a part of the list, and one that has nothing left takes tests
    from the end of another's: what stands first stays together, and nothing long comes last.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    tests = Path(__file__).parent
    long: dict[str, list[pytest.Item]] = {name: [] for name in LONG}
    rest: list[pytest.Item] = []
    for item in items:
        long.get(item.path.relative_to(tests).as_posix(), rest).append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for number, name in enumerate(LONG):
        shares[number % processes] += long[name]
    count = len(items)
    items.clear()
    for number, share in enumerate(shares):
        room = max(0, (count - len(items)) // (processes - number) - len(share))
        items += share + rest[:room]
        del rest[:room]
    items += rest


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if not config.getoption("--prove-operations") or hasattr(config, "workerinput"):
        return
    # Here, because the tests of the library alone need no server.
    from tests.operations import unproved

    factory: pytest.TempPathFactory = config._tmp_path_factory  # type: ignore[attr-defined]
    if missing := unproved(factory.getbasetemp()):
        print("\noperations that no test had answered:", *missing, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@dataclass(frozen=True)
class ObjectStore:
    """A running SeaweedFS and what a client needs for it."""

    server: SeaweedFS
    credentials: Credentials

    @property
    def endpoint(self) -> str:
        return self.server.address

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    @property
    def session(self) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=self.credentials.access_key_id,
            aws_secret_access_key=self.credentials.secret_access_key,
            region_name=REGION,
        )

    def client(self) -> Any:
        return self.server.client()


@dataclass(frozen=True)
class AWS:
    """The local AWS: every client finds its service as users' clients do, by endpoint URL."""

    s3_endpoint: str
    sagemaker_endpoint: str
    environment: dict[str, str]
    session: boto3.Session
    state: Path

    def client(self, service: str) -> Any:
        endpoint = self.s3_endpoint if service == "s3" else self.sagemaker_endpoint
        return self.session.client(service, endpoint_url=endpoint)


def find_by(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's own clients find AWS by an environment, until the test ends.

    boto3's default session remembers the keys of the first who asked: other servers', maybe.
    """
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@contextmanager
def running(service: Service, folder: Path) -> Iterator[None]:
    """Run a service; at the end stop every process that carries the mark of this folder."""
    service.prepare()
    log = folder / f"{service.name}.log"
    environment = base_environment(folder, service.name, os.environ) | service.environment()
    record = processes.start(
        service.command(), environment=environment, folder=service.folder, log=log
    )
    try:
        began = time.monotonic()
        while (missing := service.waiting_for()) is not None:
            check_progress(service, record, log, missing, time.monotonic() - began)
            time.sleep(POLL_S)
        yield
    finally:
        # Its state is thrown away, so it need not be left in order.
        processes.stop(processes.members(folder, service.name, record), grace_s=0.5)
        print(f"\nend of {log}:", *last_lines(log), sep="\n  ")


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server, for the whole session."""
    folder = tmp_path_factory.mktemp("object-store")
    first_port = free_block(PORT_COUNT, random.SystemRandom(), grpc=range(PORT_COUNT))
    credentials = Credentials.generate()
    server = SeaweedFS(folder, first_port, credentials, bucket="matinee")
    with running(server, folder):
        yield ObjectStore(server, credentials)


@pytest.fixture(scope="session")
def aws(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AWS]:
    """A real local SageMaker over that S3, for the whole session."""
    folder = tmp_path_factory.mktemp("aws")
    credentials_file = folder / "credentials.json"
    object_store.credentials.write(credentials_file)
    port = free_block(1, random.SystemRandom())
    server = SageMaker(folder / "sagemaker", port, credentials_file, object_store.endpoint)
    with running(server, folder):
        yield AWS(
            s3_endpoint=object_store.endpoint,
            sagemaker_endpoint=server.address,
            environment={**object_store.environment, "AWS_ENDPOINT_URL": server.address},
            session=object_store.session,
            state=server.folder,
        )


@pytest.fixture
def bucket(object_store: ObjectStore) -> Iterator[str]:
    """A fresh bucket, emptied and deleted afterwards."""
    name = f"test-{secrets.token_hex(8)}"
    client = object_store.client()
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", ()):
                client.delete_object(Bucket=name, Key=item["Key"])
        client.delete_bucket(Bucket=name)
        client.close()
