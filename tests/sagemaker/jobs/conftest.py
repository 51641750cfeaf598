"""Real server processes that know one more algorithm, over a real S3."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from matinee.sagemaker.machine.process_tree import started_at
from matinee.stack.ports import free_block
from matinee.stack.service import last_lines
from tests.conftest import ObjectStore

ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/my-algorithm:1"
LIMIT_S = 60.0
RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
LOSS = {"Name": "loss", "Regex": "loss=([^;]+);"}
ALGORITHM = Path(__file__).with_name("algorithm.py")

Value = TypeVar("Value")


def until(condition: Callable[[], Value], seconds: float = LIMIT_S) -> Value:
    """Return the first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.01)
    return value


def channel(name: str, uri: str, **changes: Any) -> dict[str, Any]:
    """Return a channel as CreateTrainingJob takes it."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, **changes}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    """Make a call that must be refused; return the code and the message."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


class Server:
    """A local SageMaker process that can be killed and started again on its folder."""

    def __init__(
        self,
        folder: Path,
        object_store: ObjectStore,
        s3_endpoint: str,
        *,
        python: str | Path = sys.executable,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        words = [sys.executable, str(ALGORITHM)]
        entry = {"train": [*words, "train"], "serve": [*words, "serve"]}
        (self.state / "algorithms.json").write_text(json.dumps({"my-algorithm": entry}))
        credentials = folder / "credentials.json"
        object_store.credentials.write(credentials)
        port = free_block(1, random.SystemRandom())
        self.endpoint = f"http://127.0.0.1:{port}"
        self._command = [
            *(str(python), "-m", "matinee.sagemaker"),
            *(f"--state={self.state}", f"--port={port}", f"--credentials={credentials}"),
            *(f"--s3-endpoint-url={s3_endpoint}", "--log-level=debug"),
            *options,
        ]
        self._environment = environment
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                self._command, stderr=log, env=self._environment
            )
        until(self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            url = f"{self.endpoint}/_matinee/health"
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def end(self, number: int) -> int:
        """Send the server a signal and wait for its end."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(LIMIT_S)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        if self.is_running:
            self.end(signal.SIGKILL)
        for folder in (self.state / "jobs").glob("*/*"):
            end_processes(folder)
        print(f"\nend of {self._log}:", *last_lines(self._log), sep="\n  ")


def processes(folder: Path) -> list[psutil.Process]:
    """Return the processes of a job: its host, and what that started."""
    identities = json.loads((folder / "process.json").read_text()).values()
    return [
        psutil.Process(item["pid"])
        for item in identities
        if started_at(item["pid"]) == item["started_at"]
    ]


def end_processes(folder: Path) -> None:
    if (folder / "process.json").exists():
        # One may end by itself meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in processes(folder):
                process.kill()


class Jobs:
    """A caller of a server, who keeps his objects below a prefix of his own."""

    names = itertools.count(1)

    def __init__(self, server: Server, object_store: ObjectStore, bucket: str) -> None:
        self.server = server
        self.bucket = bucket
        self.prefix = self.new_name("caller")
        self.s3 = object_store.client()
        self.sagemaker = object_store.session.client(
            "sagemaker",
            endpoint_url=server.endpoint,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def close(self) -> None:
        self.s3.close()
        self.sagemaker.close()

    def uri(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}/{name}"

    def put(self, name: str, body: bytes | str) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=body)
        return self.uri(name)

    def get(self, uri: str) -> bytes:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def stored(self, start: str) -> list[str]:
        """Return the names of the objects that begin so."""
        prefix = f"{self.prefix}/"
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix + start)
        return [item["Key"].removeprefix(prefix) for item in found.get("Contents", ())]

    @classmethod
    def new_name(cls, kind: str) -> str:
        return f"{kind}-{next(cls.names)}"

    # Training

    def training_request(self, name: str, **hyperparameters: str) -> dict[str, Any]:
        return {
            "TrainingJobName": name,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [LOSS],
            },
            "RoleArn": ROLE,
            "HyperParameters": hyperparameters,
            "OutputDataConfig": {"S3OutputPath": self.uri("models")},
            "ResourceConfig": RESOURCES,
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }

    def train(self, changes: Mapping[str, Any] | None = None, /, **hyperparameters: str) -> str:
        """Create a training job and return its name."""
        name = self.new_name("train")
        request = self.training_request(name, **hyperparameters)
        self.sagemaker.create_training_job(**{**request, **(changes or {})})
        return name

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return answer

    def wait_for_secondary(self, name: str, status: str) -> None:
        until(lambda: self.describe(name)["SecondaryStatus"] == status)

    def wait_until_waiting(self, name: str) -> None:
        """Return when the algorithm's own code runs."""
        self.wait_for_secondary(name, "Training")
        until(lambda: "waiting" in self.log_lines(name))

    def trained(self, name: str) -> dict[str, Any]:
        """Wait for a training job's end and return its description."""
        until(lambda: self.describe(name)["TrainingJobStatus"] not in {"InProgress", "Stopping"})
        return self.describe(name)

    def folders(self, name: str) -> list[Path]:
        """Return the folders of the job's hosts that have had a process."""
        found = []
        for path in (self.server.state / "jobs").glob("*/*/launch.json"):
            environment = json.loads(path.read_text())["environment"]
            is_it = name in {environment.get("TRAINING_JOB_NAME"), environment.get("NAME")}
            if is_it and (path.parent / "process.json").exists():
                found.append(path.parent)
        return found

    def folder(self, name: str) -> Path:
        (folder,) = self.folders(name)
        return folder

    def log_lines(self, name: str) -> list[str]:
        logs = [folder / "log.jsonl" for folder in self.folders(name)]
        lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
        return [json.loads(line)[1] for line in lines]

    def model(self, description: Mapping[str, Any], host: str = "") -> dict[str, Any]:
        """Return what the algorithm saved of what it found, on one of several hosts."""
        assert description["TrainingJobStatus"] != "Failed", description["FailureReason"]
        archive = self.get(description["ModelArtifacts"]["S3ModelArtifacts"])
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile(f"found-{host}.json" if host else "found.json")
            assert file is not None
            found: dict[str, Any] = json.load(file)
            return found

    # Transform

    def put_model(self, files: Mapping[str, str]) -> str:
        """Create a SageMaker model of these files and return its name."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for member, text in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
        name = self.new_name("model")
        container = {
            "Image": IMAGE,
            "ModelDataUrl": self.put(f"{name}.tar.gz", archive.getvalue()),
        }
        self.sagemaker.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE
        )
        return name

    def transform_request(self, name: str, model: str, **transform_input: str) -> dict[str, Any]:
        return {
            "TransformJobName": name,
            "ModelName": model,
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": self.uri("input/"),
                    }
                },
                **transform_input,
            },
            "TransformOutput": {"S3OutputPath": self.uri("output")},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            "Environment": {"NAME": name},
        }

    def transform(
        self, model: str, changes: Mapping[str, Any] | None = None, /, **transform_input: str
    ) -> str:
        """Create a transform job and return its name."""
        name = self.new_name("transform")
        request = self.transform_request(name, model, **transform_input)
        self.sagemaker.create_transform_job(**{**request, **(changes or {})})
        return name

    def wait_until_asking(self, name: str) -> Path:
        """Return the folder of the job's host when an object is on its way through the model."""
        pattern = "work/output/*.partial"
        until(lambda: any(list(path.parent.glob(pattern)) for path in self.folders(name)))
        return self.folder(name)

    def transformed(self, name: str) -> dict[str, Any]:
        """Wait for a transform job's end and return its description."""

        def describe() -> dict[str, Any]:
            answer: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
            return answer

        until(lambda: describe()["TransformJobStatus"] not in {"InProgress", "Stopping"})
        return describe()

    # Tuning

    def tuning_request(self, name: str, **changes: Any) -> dict[str, Any]:
        definition = self.training_request("", print="tuned")
        definition["StaticHyperParameters"] = definition.pop("HyperParameters")
        del definition["TrainingJobName"]
        return {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {
                    "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]
                },
                **changes,
            },
            "TrainingJobDefinition": definition,
        }

    def describe_tuning(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )
        return answer

    def tuned(self, name: str) -> dict[str, Any]:
        """Wait for a tuning job's end and return its description."""
        ended = {"Completed", "Failed", "Stopped"}
        until(lambda: self.describe_tuning(name)["HyperParameterTuningJobStatus"] in ended)
        return self.describe_tuning(name)

    def children(self, name: str, **changes: Any) -> list[dict[str, Any]]:
        answer = self.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name, **{"MaxResults": 100, **changes}
        )
        summaries: list[dict[str, Any]] = answer["TrainingJobSummaries"]
        return summaries


@pytest.fixture(scope="session")
def job_server(
    object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for tests that leave it running."""
    server = Server(tmp_path_factory.mktemp("jobs"), object_store, object_store.endpoint)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def shared_jobs(job_server: Server, object_store: ObjectStore) -> Iterator[Jobs]:
    caller = Jobs(job_server, object_store, "matinee")
    yield caller
    caller.close()


@pytest.fixture
def jobs(shared_jobs: Jobs) -> Jobs:
    """A caller of the shared server, with a prefix nobody else uses."""
    shared_jobs.prefix = shared_jobs.new_name("caller")
    return shared_jobs


@pytest.fixture(scope="module")
def mortal_jobs(
    object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("mortal")
    server = Server(folder, object_store, object_store.endpoint)
    caller = Jobs(server, object_store, "matinee")
    try:
        yield caller
    finally:
        caller.close()
        server.close()


@pytest.fixture
def mortal(mortal_jobs: Jobs) -> Jobs:
    """A caller of a running server, which the test may kill."""
    if not mortal_jobs.server.is_running:
        mortal_jobs.server.start()
    mortal_jobs.prefix = mortal_jobs.new_name("caller")
    return mortal_jobs


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that lets waiting algorithms go on once it exists; made at the latest at the end."""
    path = tmp_path / "gate"
    yield path
    path.touch()
