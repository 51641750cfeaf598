"""An emulator of AWS, moto's server: stacks are created, asserted on and deleted over the wire."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from matinee.stack.ports import free_block

REGION = "us-east-1"


@dataclass(frozen=True)
class Emulator:
    """A running moto."""

    address: str

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


@pytest.fixture(scope="session")
def emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for the whole session."""
    (port,) = [free_block(1, random.SystemRandom())]
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    program = Path(sys.executable).with_name("moto_server")
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own program and words
            [program, "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output
        ) as process,
    ):
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


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """An emulator in which nothing is yet."""
    httpx.post(f"{emulator_process.address}/moto-api/reset").raise_for_status()
    return emulator_process


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/moto-api/data.json").is_success
    except httpx.TransportError:
        return False
