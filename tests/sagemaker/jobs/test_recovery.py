"""A server that dies at any moment: the next one ends every job, once, with a model or a reason."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import ObjectStore
from tests.sagemaker.jobs.conftest import Jobs, Server, channel, processes, until


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_process_outlives_its_server(mortal: Jobs, gate: Path, number: int) -> None:
    name = mortal.train(wait_for=str(gate))
    mortal.wait_until_waiting(name)
    host, algorithm = processes(mortal.folder(name))
    code = mortal.server.end(number)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert processes(mortal.folder(name)) == [host, algorithm]
    mortal.server.start()
    assert mortal.describe(name)["SecondaryStatus"] == "Training"
    gate.touch()
    described = mortal.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert mortal.model(described)["environment"]["TRAINING_JOB_NAME"] == name
    assert [item["Status"] for item in described["SecondaryStatusTransitions"]] == [
        *("Starting", "Downloading", "Training", "Uploading", "Completed")
    ]
    assert mortal.log_lines(name).count("waiting") == 1


def test_a_process_that_ended_without_a_server_is_recorded(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(wait_for=str(gate), failure="ClientError: no", exit="1")
    mortal.wait_until_waiting(name)
    mortal.server.end(signal.SIGKILL)
    gate.touch()
    until(lambda: processes(mortal.folder(name)) == [])
    mortal.server.start()
    assert mortal.trained(name)["FailureReason"] == "ClientError: no, exit code: 1"


def test_a_lost_process_fails_the_job(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(wait_for=str(gate))
    mortal.wait_until_waiting(name)
    mortal.server.end(signal.SIGKILL)
    for process in processes(mortal.folder(name)):
        process.kill()
    # The pid may be another process's by now.
    path = mortal.folder(name) / "process.json"
    identity = json.loads(path.read_text())
    identity["host"]["pid"] = os.getpid()
    path.write_text(json.dumps(identity))
    mortal.server.start()
    described = mortal.trained(name)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(
        "InternalServerError: the training job was interrupted"
    )


def test_a_killed_host_leaves_no_algorithm_behind(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(wait_for=str(gate))
    mortal.wait_until_waiting(name)
    host, _ = processes(mortal.folder(name))
    host.kill()
    assert mortal.trained(name)["FailureReason"].startswith("InternalServerError")
    until(lambda: processes(mortal.folder(name)) == [])


def test_a_job_told_to_end_from_outside_fails(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(wait_for=str(gate))
    mortal.wait_until_waiting(name)
    processes(mortal.folder(name))[0].terminate()
    reason = mortal.trained(name)["FailureReason"]
    assert reason.startswith("InternalServerError: the training job was interrupted")


def test_a_stop_is_finished_by_the_next_server(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(wait_for=str(gate), save_on_stop="1")
    mortal.wait_until_waiting(name)
    # The server dies with the stop recorded and nobody told.
    folder = mortal.folder(name)
    host, _ = processes(folder)
    host.suspend()
    mortal.sagemaker.stop_training_job(TrainingJobName=name)
    mortal.server.end(signal.SIGKILL)
    mortal.server.start()
    assert mortal.describe(name)["TrainingJobStatus"] == "Stopping"
    host.resume()
    described = mortal.trained(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert mortal.model(described)["files"] == {}


@pytest.mark.parametrize("phase", ["Downloading", "Uploading"])
def test_a_server_killed_in_a_transfer_repeats_it(mortal: Jobs, phase: str) -> None:
    mortal.put("data/big", os.urandom(1 << 24).hex())
    name = mortal.train({"InputDataConfig": [channel("train", mortal.uri("data/"))]})
    mortal.wait_for_secondary(name, phase)
    mortal.server.end(signal.SIGKILL)
    mortal.server.start()
    described = mortal.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert len(mortal.model(described)["files"]["train/big"]) == 1 << 25
    assert mortal.log_lines(name).count("waiting") == 1


def test_a_server_killed_again_and_again_loses_no_job(mortal: Jobs) -> None:
    mortal.put("data/a", "first")
    request = {"InputDataConfig": [channel("train", mortal.uri("data/"))]}
    names = []
    for requests in (1, 10, 20, 40, 80):
        names += [mortal.train(request) for _ in range(3)]
        # Requests as a clock: more of them find the jobs further on.
        for _ in range(requests):
            mortal.describe(names[-1])
        mortal.server.end(signal.SIGKILL)
        mortal.server.start()
    for name in names:
        described = mortal.trained(name)
        assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
        assert mortal.model(described)["files"] == {"train/a": "first"}
        assert mortal.log_lines(name).count("waiting") == 1
        statuses = [item["Status"] for item in described["SecondaryStatusTransitions"]]
        assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_an_unreachable_s3_fails_the_job(object_store: ObjectStore, tmp_path: Path) -> None:
    server = Server(tmp_path, object_store, "http://127.0.0.1:9")
    caller = Jobs(server, object_store, "matinee")
    try:
        server.start()
        request = {"InputDataConfig": [channel("train", caller.uri("data/"))]}
        described = caller.trained(caller.train(request))
    finally:
        caller.close()
        server.close()
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("InternalServerError: ")
    assert "http://127.0.0.1:9/" in described["FailureReason"]
