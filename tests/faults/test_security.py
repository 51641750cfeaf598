"""What a job, a name or a line of text must not get at."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import ObjectStore
from tests.faults.servers import FaultServer
from tests.sagemaker.jobs.conftest import IMAGE, ROLE, Jobs, until

_EVENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) [\w.]+: |  ")
_FORGER = """
import os, pathlib, sys
said = "InternalServerError: x\\n2026-11-23T12:00:00Z INFO forged: \\x1b[2J\\r\\u2028y"
pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"], "output/failure").write_text(said)
sys.exit(1)
"""
_NAMES = ("../evil", "..", "a/../b", "/etc/passwd", "a\0b", "a\nb", "-a", "a" * 64, "ü", "")


@pytest.fixture(scope="module")
def server(
    object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultServer]:
    folder = tmp_path_factory.mktemp("security")
    server = FaultServer(folder, object_store, object_store.endpoint)
    known = server.state / "algorithms.json"
    forger = {"forger": {"train": [sys.executable, "-c", _FORGER]}}
    known.write_text(json.dumps({**json.loads(known.read_text()), **forger}))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def caller(server: FaultServer, object_store: ObjectStore) -> Iterator[Jobs]:
    caller = Jobs(server, object_store, "matinee")
    yield caller
    caller.close()


def descriptions(caller: Jobs) -> str:
    """Return all that can be asked about what the caller has."""
    client = caller.sagemaker
    found: list[Any] = []
    for summary in client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]:
        found += [summary, caller.describe(summary["TrainingJobName"])]
    for summary in client.list_models(MaxResults=100)["Models"]:
        found += [summary, client.describe_model(ModelName=summary["ModelName"])]
    return json.dumps(found, default=str)


def test_a_job_has_its_roles_keys_and_nobody_is_told_the_servers(
    caller: Jobs, server: FaultServer, object_store: ObjectStore
) -> None:
    secret = object_store.credentials.secret_access_key
    name = caller.train(print="hello")
    environment = caller.model(caller.trained(name))["environment"]
    assert environment["AWS_ACCESS_KEY_ID"] != object_store.credentials.access_key_id
    assert environment["AWS_SESSION_TOKEN"]
    told = [json.dumps(environment), descriptions(caller), server.log, *caller.log_lines(name)]
    told += [
        path.read_text(errors="replace")
        for path in (server.state / "jobs").rglob("*")
        if path.is_file()
    ]
    # Nor are the job's keys told to who may only describe it.
    own = environment["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret in text for text in told)
    assert not any(own in text for text in (descriptions(caller), server.log))


def test_what_the_server_keeps_is_its_owners_alone(caller: Jobs, server: FaultServer) -> None:
    caller.trained(caller.train(write_output="notes"))
    for path in server.state.rglob("*"):
        # Made by the test before the server started, as the folder was
        if path.name != "algorithms.json":
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert path.is_symlink() or mode & 0o077 == 0, f"{path} has mode {mode:o}"


@pytest.mark.parametrize("name", _NAMES)
def test_a_name_is_no_path(
    name: str, caller: Jobs, server: FaultServer, object_store: ObjectStore
) -> None:
    client = object_store.session.client(
        "sagemaker",
        endpoint_url=server.endpoint,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )
    before = {path.name for path in server.state.iterdir()}
    container = {"Image": IMAGE, "ModelDataUrl": "s3://matinee/model.tar.gz"}
    model = {"ModelName": name, "PrimaryContainer": container, "ExecutionRoleArn": ROLE}
    processing = caller.training_request("x")["ResourceConfig"]
    for call, request in (
        (client.create_training_job, caller.training_request(name)),
        (client.create_transform_job, caller.transform_request(name, "model")),
        (client.create_hyper_parameter_tuning_job, caller.tuning_request(name)),
        (client.create_model, model),
        (
            client.create_processing_job,
            {
                "ProcessingJobName": name,
                "RoleArn": ROLE,
                "AppSpecification": {"ImageUri": IMAGE},
                "ProcessingResources": {"ClusterConfig": processing},
            },
        ),
    ):
        with pytest.raises(ClientError) as caught:
            call(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    client.close()
    assert {path.name for path in server.state.iterdir()} == before


def test_an_algorithm_cannot_write_a_line_of_the_servers_log(
    caller: Jobs, server: FaultServer
) -> None:
    request = {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE.replace("my-algorithm", "forger"),
            "TrainingInputMode": "File",
        },
        "RetryStrategy": {"MaximumRetryAttempts": 1},
    }
    described = caller.trained(caller.train(request))
    assert described["TrainingJobStatus"] == "Failed"
    assert "forged" in described["FailureReason"]
    until(lambda: "is tried again" in server.log)
    lines = server.log.splitlines()
    assert any("forged" in line for line in lines)
    assert [line for line in lines if not _EVENT.match(line)] == []
    assert not any(line.startswith("2026-11-23T12:00:00Z INFO forged") for line in lines)


def test_a_client_cannot_either(server: FaultServer, object_store: ObjectStore) -> None:
    client = object_store.session.client(
        "sagemaker",
        endpoint_url=server.endpoint,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )
    for name in ("a\n2026-11-23T12:00:00Z INFO forged: x", "\x1b[2J", "\u2028"):
        with pytest.raises(ClientError):
            client.describe_model(ModelName=name)
    client.close()
    assert [line for line in server.log.split("\n") if line and not _EVENT.match(line)] == []
