"""Real container processes over real folders, laid out as SageMaker does it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy
import scipy.sparse

from matinee.recordio import encode

DEADLINE_SECONDS = 60.0

REGRESSOR = {"feature_dim": "6", "num_factors": "2", "predictor_type": "regressor"}
CLASSIFIER = {**REGRESSOR, "predictor_type": "binary_classifier"}
FILE_MODE = {
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


def ratings(rows: int, width: int = 6) -> Any:
    """One-hot rows (rows, width): a customer of the first half, a video of the second."""
    half = width // 2
    order = numpy.arange(rows)
    keys = numpy.stack([order % half, half + order // half % half], axis=1)
    parts = (
        numpy.ones(2 * rows, dtype=numpy.float32),
        keys.reshape(-1),
        numpy.arange(rows + 1) * 2,
    )
    return scipy.sparse.csr_matrix(parts, shape=(rows, width))


def stars(rows: int) -> Any:
    return (1 + numpy.arange(rows) % 5).astype(numpy.float32)


class Job:
    """A training job's folder, with one good channel to begin with."""

    def __init__(
        self,
        base: Path,
        hyperparameters: Mapping[str, str] = REGRESSOR,
        algorithm: str = "factorization-machines",
    ) -> None:
        self.base = base
        self.algorithm = algorithm
        self.environment = {"MATINEE_SEED": "7"}
        self.model = base / "model/model_algo-1"
        self.failure = base / "output/failure"
        self.channels: dict[str, dict[str, Any]] = {}
        self.write_config("hyperparameters", dict(hyperparameters))
        self.write_config("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})
        self.add("train", {"train.pbr": encode(ratings(10), stars(10) % 2)})

    def write_config(self, name: str, content: Any) -> None:
        path = self.base / "input/config" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def add(self, channel: str, files: Mapping[str, bytes], **configuration: str) -> None:
        """Put files into a channel, in place of any it had."""
        folder = self.base / "input/data" / channel
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink()
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        self.channels[channel] = {**FILE_MODE, **configuration}
        self.write_config("inputdataconfig", self.channels)

    def start(self) -> subprocess.Popen[str]:
        return start(["--algorithm", self.algorithm, "train"], self.base, self.environment)

    def run(self) -> tuple[int, str]:
        """Run `train`; give its exit status and its log."""
        with self.start() as process:
            log, _ = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, log

    def train(self) -> str:
        """Run `train` to success; give its log."""
        status, log = self.run()
        assert status == 0, log
        assert not self.failure.exists()
        return log


def start(
    arguments: Sequence[str], base: Path, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGEMAKER_", "MATINEE_"))
    }
    return subprocess.Popen(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-m", "matinee.fm.container", *arguments],
        env={**inherited, "SAGEMAKER_BASE_DIR": str(base), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def serving(base: Path, **environment: str) -> Iterator[httpx.Client]:
    """Run `serve` until the block ends; SIGTERM must then end it with status 0."""
    with answering(lambda bound: start(["serve"], base, {**environment, **bound})) as (client, _):
        yield client


@contextmanager
def answering(
    serve: Callable[[Mapping[str, str]], subprocess.Popen[str]],
) -> Iterator[tuple[httpx.Client, list[str]]]:
    """Run a server, which is given the variables of its address, until the block ends.

    SIGTERM must then end it with status 0. The list holds its log afterwards.
    """
    port, logs = free_port(), list[str]()
    process = serve({"SAGEMAKER_BIND_TO_PORT": str(port), "MATINEE_BIND_HOST": "127.0.0.1"})
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            wait_for_ping(client, process)
            yield client, logs
        finally:
            process.terminate()
            logs.append(process.communicate(timeout=DEADLINE_SECONDS)[0])
    assert process.returncode == 0, logs


def wait_for_ping(client: httpx.Client, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            client.get("/ping")
        except httpx.ConnectError:
            # An early end is noticed at once; else it is time to ask again.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
                break
        else:
            return
    raise AssertionError(f"the server doesn't answer; exit status {process.poll()}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
