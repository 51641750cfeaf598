"""What clients do in a kill round: one thing after the other, chosen by their own dice."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.ledger import ENDS, Entry, Ledger
from tests.sagemaker.jobs.conftest import IMAGE, ROLE, Jobs, channel, processes, until

_SCRIPT_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
_LOCAL = "/opt/ml/processing"
_SCRIPT = f"""
import pathlib
read = pathlib.Path("{_LOCAL}/input/data/a").read_text()
pathlib.Path("{_LOCAL}/out/result.txt").write_text(read * 2)
"""
_OBJECTS = {"a.csv": b"1,2\n3,4\n", "b.csv": b"5,6\n", "deep/c.csv": b"7\n8\n9\n"}
_VARIANTS = ("A", "B")


class Clients:
    """Callers of one server, who ask for all kinds of things and keep a ledger.

    Parameters
    ----------
    jobs
        The caller underneath.
    session
        With the keys.
    gate
        A file; jobs that wait for it go on once it is there.
    """

    def __init__(self, jobs: Jobs, session: Any, gate: Path) -> None:
        self.jobs = jobs
        self.gate = gate
        self.ledger = Ledger(jobs)
        self.asked: dict[str, bytes] = {}
        config = Config(retries={"total_max_attempts": 1})
        self.runtime = session.client(
            "sagemaker-runtime", endpoint_url=jobs.server.endpoint, config=config
        )
        for name, body in _OBJECTS.items():
            jobs.put(f"input/{name}", body)
        jobs.put("data/a", "first")
        jobs.put("script.py", _SCRIPT)
        jobs.put("asked", b"abc")
        self.models = [jobs.put_model({"found.json": "{}"}) for _ in _VARIANTS]
        self.configs = [self._config(model) for model in self.models]
        self.endpoint, self.queue = jobs.new_name("endpoint"), jobs.new_name("queue")
        asynchronous = self._config(
            self.models[0],
            AsyncInferenceConfig={
                "OutputConfig": {
                    "S3OutputPath": jobs.uri("answers"),
                    "S3FailurePath": jobs.uri("refusals"),
                }
            },
        )
        for endpoint, name in ((self.endpoint, self.configs[0]), (self.queue, asynchronous)):
            jobs.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=name)

    def close(self) -> None:
        self.runtime.close()

    def _config(self, model: str, **members: Any) -> str:
        name = self.jobs.new_name("config")
        variant = {
            "VariantName": "A",
            "ModelName": model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        self.jobs.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant], **members
        )
        return name

    # What a client may do

    def act(self, dice: random.Random) -> None:
        """Do one thing."""
        actions: list[tuple[Callable[[random.Random], None], int]] = [
            (self.train, 6),
            (self.tune, 1),
            (self.transform, 2),
            (self.process, 1),
            (self.model, 1),
            (self.stop, 3),
            (self.look, 12),
            (self.list_jobs, 2),
            (self.update_endpoint, 1),
            (self.invoke, 2),
            (self.invoke_later, 2),
            (self.race, 1),
        ]
        (action,) = dice.choices([a for a, _ in actions], [weight for _, weight in actions])
        action(dice)

    def train(self, dice: random.Random) -> None:
        name = self.jobs.new_name("train")
        data = {"InputDataConfig": [channel("train", self.jobs.uri("data/"))]}
        entry = Entry("training", name, self.has_model)
        hyperparameters: dict[str, str] = {}
        changes: dict[str, Any] = data
        match dice.choice(["quick", "data", "wait", "fail", "hosts", "retry", "output"]):
            case "quick":
                changes = {}
            case "wait":
                hyperparameters = {"wait_for": str(self.gate)}
            case "fail":
                hyperparameters = {"failure": "ClientError: as told", "exit": "1"}
                entry.expected = "Failed"
            case "hosts":
                resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
                changes = {**data, "ResourceConfig": {**resources, "VolumeSizeInGB": 1}}
            case "retry":
                hyperparameters = {"fail_once": str(self.gate.with_name(f"{name}.failed"))}
                changes = {**data, "RetryStrategy": {"MaximumRetryAttempts": 2}}
            case "output":
                hyperparameters = {"write_output": "some notes"}
        request = {**self.jobs.training_request(name, **hyperparameters), **changes}
        self.ledger.create(entry, lambda: self.jobs.sagemaker.create_training_job(**request))

    def has_model(self, description: dict[str, Any]) -> None:
        body = self.jobs.get(description["ModelArtifacts"]["S3ModelArtifacts"])
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                assert file is not None, member
                assert json.load(file)["hyperparameters"] is not None
            assert tar.getnames(), "the model is empty"

    def tune(self, dice: random.Random) -> None:
        name = self.jobs.new_name("tune")
        strategy = dice.choice(["Random", "Bayesian"])
        request = self.jobs.tuning_request(name, Strategy=strategy)
        entry = Entry("tuning", name, self.has_trials)
        create = self.jobs.sagemaker.create_hyper_parameter_tuning_job
        self.ledger.create(entry, lambda: create(**request))

    def has_trials(self, description: dict[str, Any]) -> None:
        name = description["HyperParameterTuningJobName"]
        counters = description["TrainingJobStatusCounters"]
        children = self.jobs.children(name)
        numbers = sorted(child["TrainingJobName"].split("-")[-2] for child in children)
        assert numbers == ["001", "002", "003"], numbers
        for child in children:
            trial = self.jobs.describe(child["TrainingJobName"])
            assert trial["TrainingJobStatus"] in ENDS, trial["TrainingJobStatus"]
            if trial["TrainingJobStatus"] == "Completed":
                self.has_model(trial)
            runs = self.jobs.log_lines(child["TrainingJobName"]).count("waiting")
            assert runs <= 1, f"{child['TrainingJobName']} was run {runs} times"
        assert counters["InProgress"] == 0, counters
        best = description["BestTrainingJob"]["TrainingJobName"]
        assert best in {child["TrainingJobName"] for child in children}, best

    def transform(self, dice: random.Random) -> None:
        name = self.jobs.new_name("transform")
        request = self.jobs.transform_request(name, dice.choice(self.models))
        request["TransformOutput"] = {"S3OutputPath": self.jobs.uri(f"out-{name}")}
        request["TransformResources"]["InstanceCount"] = dice.choice([1, 2])
        entry = Entry("transform", name, self.has_outputs)
        self.ledger.create(entry, lambda: self.jobs.sagemaker.create_transform_job(**request))

    def has_outputs(self, description: dict[str, Any]) -> None:
        start = f"out-{description['TransformJobName']}/"
        stored = self.jobs.stored(start)
        assert stored == [f"{start}{name}.out" for name in sorted(_OBJECTS)], stored
        for name, body in _OBJECTS.items():
            answer = self.jobs.get(self.jobs.uri(f"{start}{name}.out"))
            assert answer == f"- {len(body)} {body.hex()}".encode(), answer

    def process(self, _dice: random.Random) -> None:
        name = self.jobs.new_name("process")
        request = self.processing_request(name)
        entry = Entry("processing", name, self.has_result)
        self.ledger.create(entry, lambda: self.jobs.sagemaker.create_processing_job(**request))

    def processing_request(self, name: str) -> dict[str, Any]:
        path = f"{_LOCAL}/input"
        places = {"code": ("script.py", f"{path}/code"), "data": ("data/", f"{path}/data")}
        output = {"S3Uri": self.jobs.uri(f"processed-{name}"), "LocalPath": f"{_LOCAL}/out"}
        return {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": _SCRIPT_IMAGE,
                "ContainerEntrypoint": ["python3", f"{path}/code/script.py"],
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1,
                }
            },
            "Environment": {"NAME": name},
            "ProcessingInputs": [
                {
                    "InputName": label,
                    "S3Input": {
                        "S3Uri": self.jobs.uri(key),
                        "LocalPath": local,
                        "S3DataType": "S3Prefix",
                    },
                }
                for label, (key, local) in places.items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {"OutputName": "out", "S3Output": {**output, "S3UploadMode": "EndOfJob"}}
                ]
            },
        }  # fmt: skip

    def has_result(self, description: dict[str, Any]) -> None:
        uri = self.jobs.uri(f"processed-{description['ProcessingJobName']}/result.txt")
        assert self.jobs.get(uri) == b"firstfirst"

    def model(self, _dice: random.Random) -> None:
        name = self.jobs.new_name("model")
        request = {
            "ModelName": name,
            "PrimaryContainer": {"Image": IMAGE, "Environment": {"A": "B"}},
            "ExecutionRoleArn": ROLE,
        }
        entry = Entry("model", name, lambda _: None)
        self.ledger.create(entry, lambda: self.jobs.sagemaker.create_model(**request))

    def race(self, _dice: random.Random) -> None:
        name = self.jobs.new_name("race")
        request = self.jobs.training_request(name)
        entry = Entry("training", name, self.has_model)
        self.ledger.race(
            entry, lambda: self.jobs.sagemaker.create_training_job(**request), clients=8
        )

    def _some(self, dice: random.Random) -> Entry | None:
        with self.ledger.lock:
            known = [entry for entry in self.ledger.entries if entry.acknowledged]
        return dice.choice(known[-12:]) if known else None

    def stop(self, dice: random.Random) -> None:
        entry = self._some(dice)
        if entry is None or entry.kind == "model":
            return
        entry.stopped = True
        operation, member = {
            "training": ("stop_training_job", "TrainingJobName"),
            "tuning": ("stop_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
            "transform": ("stop_transform_job", "TransformJobName"),
            "processing": ("stop_processing_job", "ProcessingJobName"),
        }[entry.kind]
        call = getattr(self.jobs.sagemaker, operation)
        outcome = self.ledger.attempt(lambda: call(**{member: entry.name}))
        if outcome not in {"", "lost"} and not outcome.startswith("ValidationException"):
            self.ledger.violated(f"stop {entry.kind} {entry.name}: {outcome}")

    def look(self, dice: random.Random) -> None:
        entry = self._some(dice)
        # Two looks at once could be compared in the wrong order.
        if entry is not None and entry.turn.acquire(blocking=False):
            try:
                self.ledger.look(entry)
            finally:
                entry.turn.release()

    def list_jobs(self, dice: random.Random) -> None:
        call = dice.choice(
            [
                self.jobs.sagemaker.list_training_jobs,
                self.jobs.sagemaker.list_transform_jobs,
                self.jobs.sagemaker.list_models,
            ]
        )
        outcome = self.ledger.attempt(lambda: call(MaxResults=5))
        if outcome not in {"", "lost"}:
            self.ledger.violated(f"list: {outcome}")

    def update_endpoint(self, dice: random.Random) -> None:
        outcome = self.ledger.attempt(
            lambda: self.jobs.sagemaker.update_endpoint(
                EndpointName=self.endpoint, EndpointConfigName=dice.choice(self.configs)
            )
        )
        if outcome not in {"", "lost"} and not outcome.startswith("ValidationException"):
            self.ledger.violated(f"update endpoint: {outcome}")

    def invoke(self, _dice: random.Random) -> None:
        answers = []
        outcome = self.ledger.attempt(lambda: answers.append(self._ask()))
        if outcome.startswith(("ServiceUnavailable", "ValidationError")):
            # Not yet in service, or its instance has just been killed.
            return
        if outcome not in {"", "lost"} or any(answer != b"- 1 61" for answer in answers):
            self.ledger.violated(f"invoke: {outcome} {answers}")

    def _ask(self) -> bytes:
        answer = self.runtime.invoke_endpoint(EndpointName=self.endpoint, Body=b"a")
        body: bytes = answer["Body"].read()
        return body

    def invoke_later(self, _dice: random.Random) -> None:
        answers: list[str] = []
        outcome = self.ledger.attempt(
            lambda: answers.append(
                self.runtime.invoke_endpoint_async(
                    EndpointName=self.queue, InputLocation=self.jobs.uri("asked")
                )["OutputLocation"]
            )
        )
        for uri in answers:
            self.asked[uri] = b"- 3 616263"
        if outcome not in {"", "lost"} and not outcome.startswith("ValidationError"):
            self.ledger.violated(f"invoke async: {outcome}")

    # What happens to the processes

    def kill_some_process(self, dice: random.Random) -> str:
        """Kill a process of a running job, and note whose; return what was killed."""
        folders = [
            path.parent
            for path in sorted((self.jobs.server.state / "jobs").glob("*/*/process.json"))
            if not (path.parent / "exit.json").exists()
        ]
        dice.shuffle(folders)
        for folder in folders:
            # A job that is tried again begins with empty folders.
            with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
                environment = json.loads((folder / "launch.json").read_text())["environment"]
                name = environment.get("TRAINING_JOB_NAME") or environment.get("NAME", "")
                victims = processes(folder)
                if victims and self._disturb(name):
                    victim = dice.choice(victims)
                    victim.kill()
                    return f"{'host' if victim == victims[0] else 'algorithm'} of {name}"
        return ""

    def _disturb(self, name: str) -> bool:
        with self.ledger.lock:
            for entry in self.ledger.entries:
                is_trial = entry.kind == "tuning" and name.startswith(f"{entry.name}-")
                if entry.name == name or is_trial:
                    entry.disturbed = True
                    return True
        return False

    # What must be so in the end

    def settle(self, seconds: float = 120.0) -> None:
        """Wait until every job is over and every request answered, and judge it all."""
        self.gate.touch()
        self._wait_for_ends(seconds)
        for entry in self.ledger.entries:
            if entry.is_over:
                self.ledger.judge(entry)
        self._check_endpoints()
        self._check_answers()
        # What ended stays as it is: a few are looked at again in later rounds.
        self.ledger.entries = [entry for entry in self.ledger.entries if entry.is_over][-30:]
        self.gate.unlink(missing_ok=True)

    def _wait_for_ends(self, seconds: float) -> None:
        waiting = list(self.ledger.entries)

        def are_over() -> bool:
            for entry in waiting:
                if not entry.is_over:
                    self.ledger.look(entry)
            waiting[:] = [entry for entry in waiting if entry.exists and not entry.is_over]
            return not waiting

        try:
            until(are_over, seconds)
        except AssertionError:
            for entry in waiting:
                self.ledger.violated(f"{entry.kind} {entry.name} does not end: {entry.last}")

    def _check_endpoints(self) -> None:
        def is_settled() -> bool:
            described = self.jobs.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            status: str = described["EndpointStatus"]
            return status not in {"Creating", "Updating", "RollingBack"}

        def answers() -> bool:
            try:
                return self._ask() == b"- 1 61"
            except self.runtime.exceptions.ServiceUnavailable:
                return False

        try:
            until(is_settled)
            described = self.jobs.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            if described["EndpointStatus"] != "InService":
                self.ledger.violated(f"the endpoint is {described}")
            until(answers)
        except (AssertionError, ClientError, BotoCoreError) as error:
            self.ledger.violated(f"the endpoint does not answer: {error}")

    def _check_answers(self) -> None:
        for uri, expected in list(self.asked.items()):
            key = uri.partition(f"{self.jobs.prefix}/")[2]
            try:
                until(lambda key=key: self.jobs.stored(key))  # type: ignore[misc]
                answer = self.jobs.get(uri)
                if answer != expected:
                    self.ledger.violated(f"the answer {uri} is {answer!r}")
                self.ledger.note("answers of the queue")
            except AssertionError:
                self.ledger.violated(f"the accepted request has no answer {uri}")
            del self.asked[uri]

    def take_down(self) -> None:
        """Delete the endpoints."""
        for name in (self.endpoint, self.queue):
            self.jobs.sagemaker.delete_endpoint(EndpointName=name)
        waiter = self.jobs.sagemaker.get_waiter("endpoint_deleted")
        for name in (self.endpoint, self.queue):
            waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
