"""Training on several hosts, over the wire: each has its own place, and they end together."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from tests.sagemaker.jobs.conftest import RESOURCES, Jobs, processes, until

TWO: dict[str, Any] = {"ResourceConfig": {**RESOURCES, "InstanceCount": 2}}


def wait_until_all_wait(jobs: Jobs, name: str) -> None:
    jobs.wait_for_secondary(name, "Training")
    until(lambda: jobs.log_lines(name).count("waiting") == 2)


def test_every_host_knows_the_others(jobs: Jobs) -> None:
    described = jobs.trained(jobs.train(TWO))
    found = {host: jobs.model(described, host) for host in ("algo-1", "algo-2")}
    for host, model in found.items():
        resources = model["config"]["resourceconfig.json"]
        assert (resources["current_host"], resources["hosts"]) == (host, ["algo-1", "algo-2"])
        assert model["environment"]["SM_CURRENT_HOST"] == host
    one, two = (model["environment"] for model in found.values())
    assert one["MATINEE_HOSTS"] == two["MATINEE_HOSTS"]
    assert one["MATINEE_JOB_SECRET"] == two["MATINEE_JOB_SECRET"]
    assert one["SAGEMAKER_BASE_DIR"] != two["SAGEMAKER_BASE_DIR"]
    addresses = [IPv4Address(address) for address in json.loads(one["MATINEE_HOSTS"]).values()]
    assert len(set(addresses)) == 2
    assert all(address in IPv4Network("127.0.0.0/8") for address in addresses)
    assert one["MATINEE_JOB_SECRET"] not in json.dumps(described, default=str)


def test_every_host_has_its_log_stream(jobs: Jobs) -> None:
    name = jobs.train(TWO, **{"algo-2": json.dumps({"print": "second"})})
    jobs.trained(name)
    assert len(jobs.folders(name)) == 2
    assert jobs.log_lines(name).count("second") == 1


def test_what_the_hosts_leave_is_put_together(jobs: Jobs) -> None:
    other = json.dumps({"write_output": "two"})
    name = jobs.train(TWO, **{"algo-2": other})
    described = jobs.trained(name)
    archive = jobs.get(described["ModelArtifacts"]["S3ModelArtifacts"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["found-algo-1.json", "found-algo-2.json"]
    output = jobs.get(jobs.uri(f"models/{name}/output/output.tar.gz"))
    with tarfile.open(fileobj=io.BytesIO(output)) as tar:
        assert tar.getnames() == ["notes.txt"]


def test_two_files_of_one_name_fail_the_job(jobs: Jobs) -> None:
    name = jobs.train(TWO, same_name="1")
    assert jobs.trained(name)["FailureReason"] == (
        "AlgorithmError: model: both algo-1 and algo-2 have a file 'found.json'"
    )
    assert jobs.stored("models/") == []


def test_a_host_that_fails_ends_the_others(jobs: Jobs, gate: Path, tmp_path: Path) -> None:
    other = json.dumps({"wait_for": str(tmp_path / "now"), "failure": "no", "exit": "3"})
    name = jobs.train(TWO, wait_for=str(gate), **{"algo-2": other})
    wait_until_all_wait(jobs, name)
    (tmp_path / "now").touch()
    described = jobs.trained(name)
    assert described["FailureReason"] == "AlgorithmError: algo-2: no, exit code: 3"
    assert [processes(folder) for folder in jobs.folders(name)] == [[], []]


def test_all_hosts_are_stopped(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(TWO, wait_for=str(gate), save_on_stop="1")
    wait_until_all_wait(jobs, name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert jobs.model(described, "algo-2")["hyperparameters"]["save_on_stop"] == "1"


def test_all_hosts_are_stopped_at_their_time(jobs: Jobs, gate: Path) -> None:
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    name = jobs.train({**TWO, **limit}, wait_for=str(gate))
    assert jobs.trained(name)["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_all_hosts_outlive_the_server(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(TWO, wait_for=str(gate))
    wait_until_all_wait(mortal, name)
    before = [processes(folder) for folder in mortal.folders(name)]
    mortal.server.end(signal.SIGKILL)
    mortal.server.start()
    assert [processes(folder) for folder in mortal.folders(name)] == before
    gate.touch()
    described = mortal.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert mortal.log_lines(name).count("waiting") == 2


def test_a_lost_host_fails_the_job_and_ends_the_others(mortal: Jobs, gate: Path) -> None:
    name = mortal.train(TWO, wait_for=str(gate))
    wait_until_all_wait(mortal, name)
    first, second = sorted(mortal.folders(name))
    processes(second)[0].kill()
    assert mortal.trained(name)["FailureReason"].startswith(
        "InternalServerError: algo-2: the training job was interrupted"
    )
    until(lambda: processes(first) == processes(second) == [])
