"""An emulator of AWS, moto's server: stacks are created, asserted on and deleted over the wire."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import httpx
import pytest
from botocore.config import Config

from matinee.cloud.account import Account
from matinee.cloud.stack import Stack
from matinee.stack.ports import free_block
from tests.cloud.stacks import NAME, never
from tests.conftest import find_by

REGION = "us-east-1"


@dataclass(frozen=True)
class Emulator:
    """A running moto."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        """By which AWS's clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
        }

    def reset(self) -> None:
        """Forget everything."""
        httpx.post(f"{self.address}/moto-api/reset", timeout=60).raise_for_status()

    @contextmanager
    def recording(self) -> Iterator[list[str]]:
        """Give what is then asked of it: the operations' names, or HTTP's methods for S3."""
        asked: list[str] = []
        recorder = f"{self.address}/moto-api/recorder"
        for step in ("reset-recording", "start-recording"):
            httpx.post(f"{recorder}/{step}").raise_for_status()
        try:
            yield asked
        finally:
            httpx.post(f"{recorder}/stop-recording").raise_for_status()
            lines = httpx.get(f"{recorder}/download-recording").text.splitlines()
            asked += [_operation(json.loads(line)) for line in lines]

    def client(self, service: str) -> Any:
        """Return a boto3 client of it, which doesn't try again what it refuses."""
        return boto3.client(
            service,
            endpoint_url=self.address,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )


@contextmanager
def emulating(folder: Path) -> Iterator[Emulator]:
    """Run an emulator, with what it writes in a folder."""
    (port,) = [free_block(1, random.SystemRandom())]
    log = folder / "moto.log"
    environment = {**os.environ, "MOTO_RECORDER_FILEPATH": str(folder / "recording")}
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own program and words
            [sys.executable, "-m", "tests.cloud.emulator", "-H", "127.0.0.1", "-p", str(port)],
            cwd=Path(__file__).parents[2], env=environment, stdout=output, stderr=output,
        ) as process,
    ):  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            end = time.monotonic() + 120
            while not _answers(address):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            yield Emulator(address)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for the whole session."""
    with emulating(tmp_path_factory.mktemp("moto")) as emulator:
        yield emulator


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """An emulator in which nothing is yet."""
    emulator_process.reset()
    return emulator_process


@pytest.fixture
def account(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The emulator's account, which this process's clients find too."""
    find_by(emulator.environment, monkeypatch)
    return Account(boto3.Session())


@pytest.fixture
def stack(account: Account) -> Stack:
    """A stack that is not there yet."""
    return Stack(account, NAME, sleep=never)


def _operation(request: dict[str, Any]) -> str:
    headers = {name.lower(): value for name, value in request["headers"].items()}
    if target := headers.get("x-amz-target"):
        return str(target).rpartition(".")[2]
    body = request.get("body") or ""
    if request.get("body_encoded"):
        body = base64.b64decode(body).decode(errors="replace")
    return str(parse_qs(body).get("Action", [request["method"]])[0])


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/moto-api/data.json").is_success
    except httpx.TransportError:
        return False
