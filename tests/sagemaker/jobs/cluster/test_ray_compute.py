"""Jobs on the nodes of a Ray cluster, over the wire: where they run, and what they survive.

One test, because a cluster takes long to start.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tests.sagemaker.jobs.cluster.conftest import NODES, Nodes, address_of, running
from tests.sagemaker.jobs.conftest import RESOURCES, ROLE, Jobs, channel, processes, until
from tests.sagemaker.jobs.test_factorization_machines import hyperparameters, ratings, training

CONNECT = (
    "import sys; from pathlib import Path; from matinee.sagemaker.cluster import connection;"
    "connection.connect(sys.argv[1], Path(sys.argv[2]))"
)
TWO: dict[str, Any] = {"ResourceConfig": {**RESOURCES, "InstanceCount": 2}}


def places(jobs: Jobs, *names: str) -> list[str]:
    """Return the addresses of the nodes that the hosts of running jobs are on."""
    folders = [folder for name in names for folder in sorted(jobs.folders(name))]
    return [json.loads((folder / "actor.json").read_text())["address"] for folder in folders]


def wait_until_all_wait(jobs: Jobs, name: str, count: int = 2) -> None:
    jobs.wait_for_secondary(name, "Training")
    until(lambda: jobs.log_lines(name).count("waiting") == count)


def test_jobs_on_two_nodes(
    nodes: Nodes, cluster_jobs: Jobs, jobs: Jobs, gate: Path, tmp_path: Path
) -> None:
    open_to_all = {**nodes.environment, "RAY_AUTH_MODE": "disabled"}
    with running(nodes.python, open_to_all, "127.0.0.5") as process:
        too_large = cluster_jobs.train({"ResourceConfig": {**RESOURCES, "InstanceCount": 5}})
        who_has_no_token_is_refused(nodes, tmp_path)
        two_hosts_train_on_both_nodes_the_model_they_train_elsewhere(cluster_jobs, jobs)
        trials_run_on_both_nodes(cluster_jobs, tmp_path / "trials")
        pipes_are_fed_where_they_are_read(cluster_jobs)
        a_cluster_that_is_open_to_all_is_refused(nodes, address_of(process))
    models_are_served_by_the_server(cluster_jobs)
    a_stop_ends_the_processes_in_their_grace(cluster_jobs, gate)
    a_job_waits_for_room_and_not_for_ever(cluster_jobs, too_large)
    the_next_server_goes_on_with_what_runs(cluster_jobs, tmp_path / "next")
    a_lost_node_loses_no_training_job(nodes, cluster_jobs, tmp_path / "lost")
    # Nothing is held for jobs that have ended.
    assert list(cluster_jobs.server.state.glob("jobs/*/placement.json")) == []
    assert cluster_jobs.server.end(signal.SIGTERM) == 0


def who_has_no_token_is_refused(nodes: Nodes, folder: Path) -> None:
    program = (
        "import sys; from ray._raylet import GcsClient;"
        "GcsClient(address=sys.argv[1]).get_all_node_info()"
    )
    assert "AuthenticationError" in failure(nodes, program, nodes.address, HOME=str(folder))
    other = folder / "other"
    other.touch(0o600)
    other.write_text("another cluster's")
    said = failure(nodes, CONNECT, nodes.address, str(other))
    assert f"the cluster {nodes.address} does not take the token {other}" in said


def a_cluster_that_is_open_to_all_is_refused(nodes: Nodes, address: str) -> None:
    said = failure(nodes, CONNECT, address, str(nodes.token))
    assert f"the cluster {address} lets in clients without a token" in said


def failure(nodes: Nodes, program: str, *words: str, **environment: str) -> str:
    """Run a program that must fail, and return what it says."""
    done = subprocess.run(  # noqa: S603 - our own words
        [nodes.python, "-c", program, *words],
        env={**nodes.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


def two_hosts_train_on_both_nodes_the_model_they_train_elsewhere(
    cluster: Jobs, local: Jobs
) -> None:
    models = []
    for jobs in (cluster, local):
        changes = training(jobs)
        jobs.put("train/part-1", ratings())
        source = changes["InputDataConfig"][0]["DataSource"]["S3DataSource"]
        source["S3DataDistributionType"] = "ShardedByS3Key"
        name = jobs.train({**changes, **TWO}, **hyperparameters(epochs="20"))
        described = jobs.trained(name)
        assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
        models.append(jobs.get(described["ModelArtifacts"]["S3ModelArtifacts"]))
        if jobs is cluster:
            launch = json.loads((sorted(jobs.folders(name))[0] / "launch.json").read_text())
            assert sorted(json.loads(launch["environment"]["MATINEE_HOSTS"]).values()) == [*NODES]
    assert models[0] == models[1]


def trials_run_on_both_nodes(jobs: Jobs, gate: Path) -> None:
    name = jobs.new_name("tune")
    request = jobs.tuning_request(name)
    definition = request["TrainingJobDefinition"]
    definition["StaticHyperParameters"]["wait_for"] = str(gate)
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    until(lambda: len(jobs.children(name)) == 2)
    trials = [child["TrainingJobName"] for child in jobs.children(name)]
    for trial in trials:
        jobs.wait_until_waiting(trial)
    assert sorted(places(jobs, *trials)) == [*NODES]
    gate.touch()
    described = jobs.tuned(name)
    assert described["TrainingJobStatusCounters"]["Completed"] == 3


def pipes_are_fed_where_they_are_read(jobs: Jobs) -> None:
    jobs.put("piped/a", "first")
    source = {**channel("train", jobs.uri("piped/")), "InputMode": "Pipe"}
    name = jobs.train({"InputDataConfig": [source]}, read_pipes="train_0,train_1")
    assert jobs.model(jobs.trained(name))["streams"] == {"train_0": "first", "train_1": "first"}


def models_are_served_by_the_server(jobs: Jobs) -> None:
    jobs.put("input/a", "1,2")
    name = jobs.transform(jobs.put_model({"a": "b"}), ContentType="text/csv")
    transformed = jobs.transformed(name)
    assert transformed["TransformJobStatus"] == "Completed", transformed.get("FailureReason")
    assert not (jobs.folder(name) / "actor.json").exists()


def a_stop_ends_the_processes_in_their_grace(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(TWO, wait_for=str(gate), save_on_stop="1")
    wait_until_all_wait(jobs, name)
    running = [process for folder in jobs.folders(name) for process in processes(folder)]
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Stopped"
    assert jobs.model(described, "algo-2")["hyperparameters"]["save_on_stop"] == "1"
    assert len(running) == 4
    assert psutil.wait_procs(running, timeout=10)[1] == []


def a_job_waits_for_room_and_not_for_ever(jobs: Jobs, name: str) -> None:
    described = jobs.trained(name)
    assert [item["Status"] for item in described["SecondaryStatusTransitions"]] == [
        *("Starting", "Failed")
    ]
    assert described["FailureReason"].startswith(
        "CapacityError: Unable to provision requested ML compute capacity: the cluster, whose "
        "nodes have "
    )
    assert "had no room for 5 hosts of 1 CPUs each within " in described["FailureReason"]


def the_next_server_goes_on_with_what_runs(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(TWO, wait_for=str(gate))
    wait_until_all_wait(jobs, name)
    running = [processes(folder) for folder in jobs.folders(name)]
    jobs.server.end(signal.SIGKILL)
    jobs.server.start()
    assert jobs.describe(name)["SecondaryStatus"] == "Training"
    assert [processes(folder) for folder in jobs.folders(name)] == running
    gate.touch()
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    assert jobs.log_lines(name).count("waiting") == 2


def a_lost_node_loses_no_training_job(nodes: Nodes, jobs: Jobs, gate: Path) -> None:
    name = jobs.train(TWO, wait_for=str(gate))
    wait_until_all_wait(jobs, name)
    assert sorted(places(jobs, name)) == [*NODES]
    lost = [
        process
        for folder, address in zip(sorted(jobs.folders(name)), places(jobs, name), strict=True)
        for process in processes(folder)
        if address == NODES[1]
    ]
    processing = process_until(jobs, gate, on=NODES[1])
    nodes.end(NODES[1])
    assert psutil.wait_procs(lost, timeout=30)[1] == []
    reason = until(lambda: processed(jobs, processing).get("FailureReason"))
    assert reason == (
        "InternalServerError: the processing job was interrupted: the node 127.0.0.4 of the "
        "cluster was lost"
    )
    wait_until_all_wait(jobs, name, 4)
    assert places(jobs, name) == [NODES[0]] * 2
    gate.touch()
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    again = [
        item["StatusMessage"]
        for item in described["SecondaryStatusTransitions"]
        if item["Status"] == "Starting"
    ][1]
    assert again.startswith("Starting the training job again after InternalServerError: algo-")
    assert again.endswith("the node 127.0.0.4 of the cluster was lost")
    assert jobs.model(described, "algo-2")["hyperparameters"]["wait_for"] == str(gate)


def process_until(jobs: Jobs, gate: Path, *, on: str) -> str:
    """Start processing jobs until one is on a node; stop the others, and return its name."""
    others: list[str] = []
    wait = f"[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(gate)!r}), True)]"
    while True:
        name = jobs.new_name("process")
        jobs.sagemaker.create_processing_job(
            ProcessingJobName=name,
            AppSpecification={
                "ImageUri": "matinee-python",
                "ContainerEntrypoint": ["python", "-c", f"import os, time; {wait}"],
            },
            Environment={"NAME": name},
            ProcessingResources={"ClusterConfig": RESOURCES},
            RoleArn=ROLE,
        )
        until(functools.partial(has_begun, jobs, name))
        if places(jobs, name) == [on]:
            break
        others.append(name)
    for other in others:
        jobs.sagemaker.stop_processing_job(ProcessingJobName=other)
    for other in others:
        until(functools.partial(has_stopped, jobs, other))
    return name


def has_begun(jobs: Jobs, name: str) -> bool:
    return any((folder / "process.json").exists() for folder in jobs.folders(name))


def has_stopped(jobs: Jobs, name: str) -> bool:
    return bool(processed(jobs, name)["ProcessingJobStatus"] == "Stopped")


def processed(jobs: Jobs, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = jobs.sagemaker.describe_processing_job(ProcessingJobName=name)
    return answer
