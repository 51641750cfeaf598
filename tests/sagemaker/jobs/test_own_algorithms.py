"""A user's own algorithms: Python modules, programs with limits, images of a container engine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ObjectStore
from tests.sagemaker.jobs.conftest import ALGORITHM, ROLE, Jobs, Server, until

ENTRIES = {
    "of-a-module": {
        "module": "algorithm",
        "path": str(ALGORITHM.parent),
        "metric_definitions": [{"Name": "loss", "Regex": "loss=([^;]+);"}],
    },
    "hungry": {
        "train": [sys.executable, "-c", "import time; x = b'x' * (80 << 20); time.sleep(60)"],
        "limits": {"memory_mb": 64},
    },
    "my-algorithm": {"docker": "mine:1", "limits": {"memory_mb": 512, "open_files": 64}},
}


@pytest.fixture(scope="module")
def own_jobs(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """A caller of a server that knows these algorithms and has an engine."""
    folder = tmp_path_factory.mktemp("own")
    programs = folder / "programs"
    programs.mkdir()
    engine = programs / "docker"
    engine.write_text(f'#!/bin/sh\nexec {sys.executable} {ALGORITHM.with_name("engine.py")} "$@"\n')
    engine.chmod(0o755)
    server = Server(folder, object_store, object_store.endpoint)
    (server.state / "algorithms.json").write_text(json.dumps(ENTRIES))
    caller = Jobs(server, object_store, "matinee")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        try:
            server.start()
            yield caller
        finally:
            caller.close()
            server.close()


def specification(repository: str) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{repository}:1",
            "TrainingInputMode": "File",
        }
    }


def logs(jobs: Jobs) -> str:
    return "".join(path.read_text() for path in (jobs.server.state / "jobs").glob("*/*/log.jsonl"))


def test_a_module_trains(own_jobs: Jobs) -> None:
    described = own_jobs.trained(own_jobs.train(specification("of-a-module"), x="0.25"))
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert own_jobs.model(described)["hyperparameters"] == {"x": "0.25"}
    (metric,) = described["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("loss", 0.0)


def test_a_limit_is_the_reason_of_a_failure(own_jobs: Jobs) -> None:
    described = own_jobs.trained(own_jobs.train(specification("hungry")))
    assert described["TrainingJobStatus"] == "Failed"
    assert (
        "MiB of memory, over the limit memory_mb 64, exit code: 137" in described["FailureReason"]
    )


def test_an_image_trains_by_the_engine(own_jobs: Jobs) -> None:
    name = own_jobs.train({"Environment": {"COLOUR": "blue", "TWO": "lines\nof it"}})
    described = own_jobs.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    environment = own_jobs.model(described)["environment"]
    assert environment["COLOUR"] == "blue"
    assert "PATH" not in environment
    said = next(line for line in logs(own_jobs).splitlines() if "TRAINING_JOB_NAME" in line)
    run = json.loads(json.loads(said)[1])
    assert run["arguments"] == ["mine:1", "train"]
    options = run["options"]
    assert {
        "memory": "512m",
        "ulimit": "nofile=64:64",
        "network": "host",
    }.items() <= options.items()
    assert options["env"] == "TWO=lines\nof it"
    assert run["environment"]["SAGEMAKER_BASE_DIR"] == "/opt/ml"


def test_an_image_serves_by_the_engine(own_jobs: Jobs) -> None:
    own_jobs.prefix = own_jobs.new_name("caller")
    own_jobs.put("input/a", "abc")
    described = own_jobs.transformed(own_jobs.transform(own_jobs.put_model({"x": ""})))
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert own_jobs.get(own_jobs.uri("output/a.out")) == b"- 3 616263"
    said = next(line for line in logs(own_jobs).splitlines() if "publish" in line)
    run = json.loads(json.loads(said)[1])
    address, port, inside = run["options"]["publish"].split(":")
    assert (address, inside) == ("127.0.0.1", "8080")
    assert run["environment"]["SAGEMAKER_BIND_TO_PORT"] == "8080"
    assert run["environment"]["MATINEE_BIND_HOST"] == "0.0.0.0"  # noqa: S104 - inside
    assert port != "8080"


def test_an_image_processes_with_a_jobs_own_entrypoint(own_jobs: Jobs) -> None:
    name = own_jobs.new_name("process")
    own_jobs.sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={
            "ImageUri": "my-algorithm:1",
            "ContainerEntrypoint": ["/bin/sh", "-c"],
            "ContainerArguments": ['echo "$SAGEMAKER_BASE_DIR"; exit 4'],
        },
        ProcessingResources={
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
    )

    def describe() -> dict[str, Any]:
        answer: dict[str, Any] = own_jobs.sagemaker.describe_processing_job(ProcessingJobName=name)
        return answer

    until(lambda: describe()["ProcessingJobStatus"] not in {"InProgress", "Stopping"})
    assert describe()["ProcessingJobStatus"] == "Failed"
    assert describe()["FailureReason"].endswith("/ml, exit code: 4")
