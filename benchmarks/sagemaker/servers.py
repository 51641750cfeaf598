"""The servers that are measured, each a process of its own: matinee's, and moto's beside it."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from botocore.credentials import Credentials

from benchmarks.environments import Peer
from benchmarks.sagemaker.load import Target
from matinee.sagemaker.store import Resource, Store
from matinee.stack import credentials
from matinee.stack.ports import free_block
from matinee.stack.seaweedfs import PORT_COUNT, SeaweedFS

MOTO = Peer("moto 5.2.5", ("moto[server]==5.2.5",))
REGION = "us-east-1"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/matinee-sagemaker"
_START_S = 60.0
_TOKEN = "console.json"  # noqa: S105 - the name of a file


@dataclass(frozen=True, slots=True)
class Started:
    """A server that answers, and how long that took."""

    target: Target
    seconds: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run.

    Attributes
    ----------
    folder
        For their files.
    keys
        Of the S3 and of matinee.
    s3_endpoint
        Its URL.
    moto
        The interpreter that has moto, if there is one.
    """

    folder: Path
    keys: credentials.Credentials
    s3_endpoint: str
    moto: Path | None


@contextmanager
def _process(words: list[str], url: str, log: Path) -> Iterator[float]:
    """Run a server until the block ends; yields the seconds until it answered."""
    began = time.perf_counter()
    with log.open("ab") as output:
        server = subprocess.Popen(words, stdout=output, stderr=output)  # noqa: S603 - our words
    try:
        while not _answers(url):
            if server.poll() is not None or time.perf_counter() - began > _START_S:
                raise RuntimeError(f"{words[:3]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.005)
        yield time.perf_counter() - began
    finally:
        server.terminate()
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def object_store(folder: Path) -> Iterator[tuple[SeaweedFS, credentials.Credentials]]:
    """Run an S3 with one bucket, ``bench``."""
    keys = credentials.Credentials.generate()
    port = free_block(PORT_COUNT, random.SystemRandom(), grpc=range(PORT_COUNT))
    server = SeaweedFS(folder, port, keys, bucket="bench")
    server.prepare()
    with (folder / "seaweedfs.log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the service's own words
            server.command(), env=server.environment(), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + _START_S
        while server.waiting_for() is not None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no S3: {server.waiting_for()}")
            time.sleep(0.05)
        yield server, keys
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def matinee(folder: Path, place: Place) -> Iterator[Started]:
    """Run the local SageMaker on a state folder."""
    folder.mkdir(exist_ok=True)
    file = folder / "credentials.json"
    if not file.exists():
        place.keys.write(file)
        credentials.write_private(folder / _TOKEN, json.dumps({"token": "of-the-benchmark"}))
    port = free_block(1, random.SystemRandom())
    endpoint = f"http://127.0.0.1:{port}"
    words = [
        *(sys.executable, "-m", "matinee.sagemaker"),
        *(f"--state={folder / 'state'}", f"--port={port}", f"--credentials={file}"),
        *(f"--s3-endpoint-url={place.s3_endpoint}", f"--console-token={folder / _TOKEN}"),
    ]
    with _process(words, f"{endpoint}/_matinee/health", folder / "server.log") as seconds:
        signer = Credentials(place.keys.access_key_id, place.keys.secret_access_key)
        yield Started(Target(endpoint, signer), seconds)


def console_token(folder: Path) -> str:
    """Return what signs in to the console of a server that was started on a folder."""
    token: str = json.loads((folder / _TOKEN).read_text())["token"]
    return token


@contextmanager
def moto(python: Path, folder: Path) -> Iterator[Started]:
    """Run moto's server."""
    port = free_block(1, random.SystemRandom())
    endpoint = f"http://127.0.0.1:{port}"
    words = [str(python.with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    url = f"{endpoint}/moto-api/data.json"
    with _process(words, url, folder / "moto.log") as seconds:
        yield Started(Target(endpoint, Credentials("testing", "testing")), seconds)


def training_job(name: str) -> dict[str, object]:
    """Return a CreateTrainingJob request."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/factorization-machines:1",
            "TrainingInputMode": "File",
        },
        "RoleArn": ROLE,
        "HyperParameters": {"feature_dim": "12", "num_factors": "4", "predictor_type": "regressor"},
        "OutputDataConfig": {"S3OutputPath": "s3://bench/models"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def fill(folder: Path, count: int) -> list[str]:
    """Put finished training jobs into the state of a server that does not run; return names."""
    (folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
    store = Store(f"sqlite:///{folder}/state/sagemaker.sqlite")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    names = [f"stored-{number:05d}" for number in range(count)]
    for number, name in enumerate(names):
        now = began + timedelta(seconds=number)
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"
        document = {
            **training_job(name),
            "TrainingJobArn": arn,
            "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed",
            "ModelArtifacts": {"S3ModelArtifacts": f"s3://bench/models/{name}/output/model.tar.gz"},
            "CreationTime": now,
            "LastModifiedTime": now,
            "TrainingStartTime": now,
            "TrainingEndTime": now,
            "SecondaryStatusTransitions": [
                {"Status": "Completed", "StartTime": now, "StatusMessage": "Training job completed"}
            ],
            "FinalMetricDataList": [
                {"MetricName": f"train:metric-{which}", "Value": 0.5, "Timestamp": now}
                for which in range(12)
            ],
        }
        private = {"folder": f"{number:032x}", "hosts": ["algo-1"]}
        store.insert(Resource("TrainingJob", name, arn, "Completed", now, now, document, private))
    store.close()
    return names
