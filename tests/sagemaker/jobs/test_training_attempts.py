"""Checkpoints and retries, over the wire: what an interrupted training does not lose."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.sagemaker.jobs.conftest import RESOURCES, Jobs, processes, until


def kept(jobs: Jobs, **configuration: str) -> dict[str, Any]:
    return {"CheckpointConfig": {"S3Uri": jobs.uri("checkpoints"), **configuration}}


def test_checkpoints_come_and_go(jobs: Jobs) -> None:
    jobs.put("checkpoints/old", "one")
    jobs.put("checkpoints/older", "zero")
    name = jobs.train(kept(jobs), checkpoint="new", forget="older")
    assert jobs.model(jobs.trained(name))["checkpoints"] == {"old": "one", "new": "saved"}
    assert jobs.stored("checkpoints/") == ["checkpoints/new", "checkpoints/old"]
    assert jobs.get(jobs.uri("checkpoints/new")) == b"saved"


def test_checkpoints_are_stored_while_the_training_goes_on(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(kept(jobs), checkpoint="new", wait_for=str(gate))
    until(lambda: jobs.stored("checkpoints/") == ["checkpoints/new"])
    assert jobs.describe(name)["SecondaryStatus"] == "Training"
    gate.touch()
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"


def test_a_failed_job_leaves_its_checkpoints(jobs: Jobs) -> None:
    described = jobs.trained(jobs.train(kept(jobs), checkpoint="new", exit="1"))
    assert described["TrainingJobStatus"] == "Failed"
    assert jobs.stored("checkpoints/") == ["checkpoints/new"]


def test_a_stopped_job_leaves_its_checkpoints(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(kept(jobs), checkpoint="new", wait_for=str(gate))
    jobs.wait_until_waiting(name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.trained(name)["TrainingJobStatus"] == "Stopped"
    assert jobs.stored("checkpoints/") == ["checkpoints/new"]


def test_all_hosts_share_the_checkpoints(jobs: Jobs) -> None:
    jobs.put("checkpoints/old", "one")
    changes = {**kept(jobs), "ResourceConfig": {**RESOURCES, "InstanceCount": 2}}
    described = jobs.trained(jobs.train(changes, **{"algo-2": '{"checkpoint": "new"}'}))
    found = [jobs.model(described, host)["checkpoints"] for host in ("algo-1", "algo-2")]
    assert found == [{"old": "one"}, {"old": "one", "new": "saved"}]
    assert jobs.stored("checkpoints/") == ["checkpoints/new", "checkpoints/old"]


def test_checkpoints_have_their_own_folder(jobs: Jobs) -> None:
    jobs.put("checkpoints/old", "one")
    described = jobs.trained(jobs.train(kept(jobs, LocalPath="/opt/ml/own/place"), forget="x"))
    assert described["CheckpointConfig"]["LocalPath"] == "/opt/ml/own/place"
    # The algorithm of these tests looks elsewhere.
    assert described["TrainingJobStatus"] == "Failed"
    assert jobs.stored("checkpoints/") == ["checkpoints/old"]


def test_checkpoints_that_cannot_be_stored_fail_the_job(jobs: Jobs) -> None:
    changes = {"CheckpointConfig": {"S3Uri": "s3://no-such-bucket-anywhere/checkpoints"}}
    reason = jobs.trained(jobs.train(changes, checkpoint="new"))["FailureReason"]
    assert reason.startswith("ClientError: s3://no-such-bucket-anywhere/checkpoints/new: ")


def test_a_fault_of_the_machine_is_tried_again(jobs: Jobs, tmp_path: Path) -> None:
    changes = {**kept(jobs), "RetryStrategy": {"MaximumRetryAttempts": 1}}
    name = jobs.train(changes, fail_once=str(tmp_path / "failed"), checkpoint="new")
    described = jobs.trained(name)
    assert jobs.model(described)["checkpoints"] == {"new": "saved"}
    transitions = described["SecondaryStatusTransitions"]
    assert [item["Status"] for item in transitions] == [
        *("Starting", "Downloading", "Training"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert transitions[3]["StatusMessage"] == (
        "Starting the training job again after InternalServerError: once, exit code: 1"
    )
    assert described["TrainingStartTime"] <= transitions[1]["StartTime"]
    assert jobs.log_lines(name).count("waiting") == 1
    assert described["RetryStrategy"] == {"MaximumRetryAttempts": 1}


def test_retries_come_to_an_end(jobs: Jobs) -> None:
    changes = {"RetryStrategy": {"MaximumRetryAttempts": 2}}
    described = jobs.trained(jobs.train(changes, failure="InternalServerError: no", exit="1"))
    assert described["FailureReason"] == "InternalServerError: no, exit code: 1"
    statuses = [item["Status"] for item in described["SecondaryStatusTransitions"]]
    assert statuses.count("Starting") == statuses.count("Training") == 3


def test_a_fault_of_the_caller_is_not_tried_again(jobs: Jobs) -> None:
    changes = {"RetryStrategy": {"MaximumRetryAttempts": 2}}
    described = jobs.trained(jobs.train(changes, failure="ClientError: no", exit="1"))
    statuses = [item["Status"] for item in described["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Failed"]


def test_a_lost_process_is_tried_again(mortal: Jobs, gate: Path) -> None:
    name = mortal.train({"RetryStrategy": {"MaximumRetryAttempts": 1}}, wait_for=str(gate))
    mortal.wait_until_waiting(name)
    mortal.server.end(signal.SIGKILL)
    for process in processes(mortal.folder(name)):
        process.kill()
    mortal.server.start()
    gate.touch()
    assert mortal.model(mortal.trained(name))["files"] == {}
    assert mortal.log_lines(name).count("waiting") == 2
