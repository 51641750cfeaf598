"""A server in this process, over real HTTP and a real S3, with a clock the test sets."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import uvicorn
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from matinee.sagemaker.access.sessions import temporary_keys
from matinee.sagemaker.algorithms import BUILT_IN
from matinee.sagemaker.app import create_app
from matinee.sagemaker.console.options import ConsoleOptions
from matinee.sagemaker.context import Context
from matinee.sagemaker.data.objects import Objects
from matinee.sagemaker.http.auth import SignatureVerifier
from matinee.sagemaker.jobs import JobRunner
from matinee.sagemaker.store import Resource, Store
from tests.conftest import ObjectStore
from tests.sagemaker.postgresql import PostgreSQL, running

REGION = "us-east-1"
ROLE_ARN = "arn:aws:iam::000000000000:role/matinee-sagemaker"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Front:
    """A running server and the ways to ask it."""

    endpoint: str
    context: Context
    clock: Clock
    session: boto3.Session
    keys: Credentials

    def client(self, service: str, **changes: Any) -> Any:
        return self.session.client(
            service,
            endpoint_url=self.endpoint,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
            **changes,
        )

    def post(
        self, service: str, body: bytes, headers: Mapping[str, str], path: str = "/"
    ) -> httpx.Response:
        """Send a request that is signed, whatever it says."""
        request = AWSRequest("POST", self.endpoint + path, data=body, headers=dict(headers))
        SigV4Auth(self.keys, service, REGION).add_auth(request)
        return httpx.post(
            self.endpoint + path, content=body, headers=dict(request.headers), trust_env=False
        )

    def call(self, operation: str, request: Any, service: str = "sagemaker") -> httpx.Response:
        """Send a SageMaker request as JSON, past boto's own checks."""
        headers = {
            "X-Amz-Target": f"SageMaker.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
        }
        return self.post(service, json.dumps(request).encode(), headers)

    def add_job(
        self,
        kind: str,
        name: str,
        log: list[tuple[int, str]],
        document: Mapping[str, Any] | None = None,
    ) -> Path:
        """Put a job with a log into the server's state; return the log file."""
        folder = self.context.new_id()
        arn = self.context.arn(f"{kind}/{name}")
        private = {"folder": folder, "hosts": ["algo-1"]}
        job = Resource(kind, name, arn, "InProgress", NOON, NOON, dict(document or {}), private)
        self.context.store.insert(job)
        path = self.context.folder / "jobs" / folder / "algo-1" / "log.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(event) + "\n" for event in log))
        return path


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Write what the server in this process logs to a file, as a server process does."""
    log = logging.getLogger("matinee.sagemaker.app")
    handler, level = logging.FileHandler(path), log.level
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    listener = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(scope="session")
def session(object_store: ObjectStore) -> boto3.Session:
    return object_store.session


@pytest.fixture(scope="session")
def objects(object_store: ObjectStore) -> Iterator[Objects]:
    objects = Objects(
        endpoint_url=object_store.endpoint,
        credentials=Credentials(
            object_store.credentials.access_key_id, object_store.credentials.secret_access_key
        ),
        region=REGION,
    )
    yield objects
    objects.close()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with running(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@contextmanager
def fronting(
    object_store: ObjectStore,
    objects: Objects,
    session: boto3.Session,
    folder: Path,
    console: ConsoleOptions | None = None,
) -> Iterator[Front]:
    """Run a server in this process."""
    keys = object_store.credentials
    store = Store(f"sqlite:///{folder}/sagemaker.sqlite")
    clock = Clock()
    ids = itertools.count()
    context = Context(
        store=store,
        clock=clock,
        new_id=lambda: f"{next(ids):032x}",
        account_id="000000000000",
        region=REGION,
        folder=folder,
        roles=("matinee-sagemaker",),
        objects=objects,
        algorithms=BUILT_IN,
        jobs=JobRunner({}),
    )
    verifier = SignatureVerifier(
        keys.access_key_id,
        keys.secret_access_key,
        lambda: datetime.now(UTC),
        functools.partial(temporary_keys, store),
    )
    try:
        with (
            logged(folder / "front.log"),
            serving(create_app(context, verifier, console=console)) as endpoint,
        ):
            signer = Credentials(keys.access_key_id, keys.secret_access_key)
            yield Front(endpoint, context, clock, session, signer)
    finally:
        store.close()


@pytest.fixture
def front(
    object_store: ObjectStore, objects: Objects, session: boto3.Session, tmp_path: Path
) -> Iterator[Front]:
    with fronting(object_store, objects, session, tmp_path) as front:
        yield front
