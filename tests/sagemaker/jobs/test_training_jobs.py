"""Training jobs over the wire: what a caller asks and what the job leaves in S3."""

from __future__ import annotations

import hashlib
import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from matinee.sagemaker.machine import compute
from matinee.sagemaker.machine.process_tree import started_at
from tests.sagemaker.jobs.conftest import (
    IMAGE,
    LOSS,
    RESOURCES,
    ROLE,
    Jobs,
    channel,
    processes,
    refusal,
    until,
)


def test_a_job_completes_with_its_model_in_s3(jobs: Jobs) -> None:
    jobs.put("data/a", "first")
    jobs.put("data/sub/b", "second")
    request = {
        "InputDataConfig": [channel("train", jobs.uri("data"))],
        "Environment": {"COLOUR": "blue"},
    }
    name = jobs.train(request, small="1", write_output="by the way")
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    uri = jobs.uri(f"models/{name}/output/model.tar.gz")
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    found = jobs.model(described)
    assert found["files"] == {"train/a": "first", "train/sub/b": "second"}
    assert found["config"] == {
        "hyperparameters.json": {"small": "1", "write_output": "by the way"},
        "inputdataconfig.json": {
            "train": {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
            }
        },
        "resourceconfig.json": {
            "current_host": "algo-1",
            "current_instance_type": "ml.m5.large",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {
                    "instance_group_name": "homogeneousCluster",
                    "instance_type": "ml.m5.large",
                    "hosts": ["algo-1"],
                }
            ],
            "network_interface_name": "lo",
        },
    }
    environment = found["environment"]
    assert environment["COLOUR"] == "blue"
    assert environment["TRAINING_JOB_NAME"] == name
    assert environment["TRAINING_JOB_ARN"] == described["TrainingJobArn"]
    assert environment["MATINEE_DATA_CACHE"] == str(jobs.server.state / "data")
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "us-east-1"
    assert jobs.get(jobs.uri(f"models/{name}/output/output.tar.gz"))


def test_a_description_has_what_clients_read(jobs: Jobs) -> None:
    described = jobs.trained(jobs.train(x="0.75"))
    transitions = described["SecondaryStatusTransitions"]
    assert [(item["Status"], item["StatusMessage"]) for item in transitions] == [
        ("Starting", "Starting the training job"),
        ("Downloading", "Downloading input data"),
        ("Training", "Training image download completed. Training in progress."),
        ("Uploading", "Uploading generated training model"),
        ("Completed", "Training job completed"),
    ]
    for before, after in itertools.pairwise(transitions):
        assert before["StartTime"] <= before["EndTime"] <= after["StartTime"]
    assert described["SecondaryStatus"] == "Completed"
    assert described["CreationTime"] <= described["TrainingStartTime"]
    assert described["TrainingStartTime"] < described["TrainingEndTime"]
    assert described["LastModifiedTime"] == described["TrainingEndTime"]
    seconds = (described["TrainingEndTime"] - described["TrainingStartTime"]).total_seconds()
    assert described["TrainingTimeInSeconds"] == max(1, round(seconds))
    assert described["BillableTimeInSeconds"] == described["TrainingTimeInSeconds"]
    (metric,) = described["FinalMetricDataList"]
    assert (metric["MetricName"], metric["Value"]) == ("loss", 0.25)
    assert abs(metric["Timestamp"] - described["TrainingEndTime"]) < timedelta(minutes=1)
    assert described["OutputDataConfig"]["KmsKeyId"] == ""
    assert described["AlgorithmSpecification"]["MetricDefinitions"] == [LOSS]
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    assert described["RoleArn"] == ROLE


def test_equal_jobs_leave_equal_bytes(jobs: Jobs) -> None:
    jobs.put("data/a", "first")
    request = {"InputDataConfig": [channel("train", jobs.uri("data/"))]}
    archives = [
        jobs.get(jobs.trained(jobs.train(request, small_model="1"))["ModelArtifacts"][key])
        for key in ["S3ModelArtifacts"] * 2
    ]
    assert hashlib.sha256(archives[0]).digest() == hashlib.sha256(archives[1]).digest()


def test_a_manifest_names_its_files(jobs: Jobs) -> None:
    jobs.put("data/matrix_0.pbr", "zero")
    jobs.put("data/matrix_1.pbr", "one")
    manifest = [{"prefix": jobs.uri("data/")}, "matrix_1.pbr"]
    uri = jobs.put("data/.amazon.manifest", json.dumps(manifest))
    source = channel(
        "train", uri, S3DataType="ManifestFile", S3DataDistributionType="ShardedByS3Key"
    )
    described = jobs.trained(jobs.train({"InputDataConfig": [source]}))
    assert jobs.model(described)["files"] == {"train/matrix_1.pbr": "one"}
    assert described["InputDataConfig"][0]["CompressionType"] == "None"


def test_a_prefix_may_end_within_a_name(jobs: Jobs) -> None:
    jobs.put("data/part-0", "zero")
    jobs.put("data/part-1", "one")
    jobs.put("data/other", "no")
    request = {"InputDataConfig": [channel("train", jobs.uri("data/part"))]}
    assert jobs.model(jobs.trained(jobs.train(request)))["files"] == {
        "train/part-0": "zero",
        "train/part-1": "one",
    }


@pytest.mark.parametrize("bucket_exists", [True, False])
def test_a_channel_without_objects_fails_the_job(jobs: Jobs, bucket_exists: bool) -> None:
    uri = jobs.uri("nothing/") if bucket_exists else "s3://no-such-bucket-anywhere/nothing/"
    name = jobs.train({"InputDataConfig": [channel("train", uri)]})
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(
        f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source.'
    )
    last = described["SecondaryStatusTransitions"][-1]
    assert (last["Status"], last["StatusMessage"]) == ("Failed", "Training job failed")
    assert described["TrainingEndTime"] >= described["TrainingStartTime"]


def test_a_key_that_climbs_out_of_its_folder_fails_the_job(jobs: Jobs) -> None:
    manifest = [{"prefix": jobs.uri("data/")}, "../../outside"]
    uri = jobs.put("manifest", json.dumps(manifest))
    source = channel("train", uri, S3DataType="ManifestFile")
    described = jobs.trained(jobs.train({"InputDataConfig": [source]}))
    assert described["FailureReason"] == (
        "ClientError: key '../../outside' cannot be the name of a file below ''"
    )


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"failure": "ClientError: bad x", "exit": "1"}, "ClientError: bad x, exit code: 1"),
        ({"failure": "it broke", "exit": "1"}, "AlgorithmError: it broke, exit code: 1"),
        (
            {"print": "one|two", "exit": "3"},
            "AlgorithmError: no failure file; the last line of the log: waiting, exit code: 3",
        ),
        ({"link": "1"}, "AlgorithmError: model: 'link' is neither a file nor a folder"),
    ],
)
def test_the_algorithm_tells_why_it_failed(
    jobs: Jobs, hyperparameters: dict[str, str], reason: str
) -> None:
    name = jobs.train(**hyperparameters)
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == reason
    assert jobs.stored(f"models/{name}/") == []


def test_a_long_failure_is_cut(jobs: Jobs) -> None:
    described = jobs.trained(jobs.train(failure="é" * 2000, exit="1"))
    assert len(described["FailureReason"]) == 1024


def test_a_missing_output_bucket_fails_the_job(jobs: Jobs) -> None:
    output = {"S3OutputPath": "s3://no-such-bucket-anywhere/models"}
    described = jobs.trained(jobs.train({"OutputDataConfig": output}))
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(
        "ClientError: s3://no-such-bucket-anywhere/models/"
    )


def test_stopping_keeps_what_the_model_folder_holds(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(wait_for=str(gate), save_on_stop="1")
    jobs.wait_until_waiting(name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    described = jobs.trained(name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    messages = [item["StatusMessage"] for item in described["SecondaryStatusTransitions"][-2:]]
    assert messages == ["Stopping the training job", "Training job stopped"]
    assert jobs.model(described)["hyperparameters"]["save_on_stop"] == "1"
    assert processes(jobs.folder(name)) == []


def test_a_stopped_job_without_a_model_leaves_none(jobs: Jobs, gate: Path) -> None:
    name = jobs.train(wait_for=str(gate))
    jobs.wait_until_waiting(name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.trained(name)["TrainingJobStatus"] == "Stopped"
    assert jobs.stored(f"models/{name}/") == []
    code, message = refusal(jobs.sagemaker.stop_training_job, TrainingJobName=name)
    assert code == "ValidationException"
    assert message == "The request was rejected because the training job is in status Stopped."


def test_a_job_over_its_time_is_stopped(jobs: Jobs, gate: Path) -> None:
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    described = jobs.trained(jobs.train(limit, wait_for=str(gate), save_on_stop="1"))
    assert described["TrainingJobStatus"] == "Stopped"
    assert described["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert described["SecondaryStatusTransitions"][-1]["StatusMessage"] == (
        "Training job runtime exceeded MaxRuntimeInSeconds provided"
    )
    assert jobs.model(described)["files"] == {}


def test_what_an_algorithm_leaves_running_ends_with_it(jobs: Jobs) -> None:
    name = jobs.train(leave_running="1")
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"
    left = int(jobs.log_lines(name)[-1])
    until(lambda: processes(jobs.folder(name)) == [] and started_at(left) is None)
    until(lambda: not (jobs.folder(name).parent / "work").exists())


def test_names_are_unique(jobs: Jobs) -> None:
    name = jobs.train()
    request = jobs.training_request(name)
    assert refusal(jobs.sagemaker.create_training_job, **request) == (
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job "
        "with this name already exists "
        f"(arn:aws:sagemaker:us-east-1:000000000000:training-job/{name})",
    )


def test_an_unknown_job_is_not_found(jobs: Jobs) -> None:
    request = {"TrainingJobName": "nobody"}
    describe, stop = jobs.sagemaker.describe_training_job, jobs.sagemaker.stop_training_job
    message = "Requested resource not found."
    assert refusal(describe, **request) == ("ValidationException", message)
    assert refusal(stop, **request) == ("ResourceNotFound", message)


def test_jobs_are_listed(jobs: Jobs) -> None:
    first, second = jobs.train(), jobs.train(exit="1")
    jobs.trained(first)
    ended = jobs.trained(second)["TrainingEndTime"]
    answer = jobs.sagemaker.list_training_jobs(
        NameContains="train-", SortBy="CreationTime", SortOrder="Descending", MaxResults=2
    )
    newest, older = answer["TrainingJobSummaries"]
    assert (newest["TrainingJobName"], older["TrainingJobName"]) == (second, first)
    assert newest["TrainingJobStatus"] == "Failed"
    assert newest["TrainingEndTime"] == ended


def with_channel(**changes: Any) -> dict[str, Any]:
    return {"InputDataConfig": [{**channel("train", "s3://bucket/data"), **changes}]}


def with_source(**changes: Any) -> dict[str, Any]:
    return {"InputDataConfig": [channel("train", "s3://bucket/data", **changes)]}


def group(name: str, count: int = 1, kind: str = "ml.m5.large") -> dict[str, Any]:
    return {"InstanceGroupName": name, "InstanceType": kind, "InstanceCount": count}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "repo/other:1",
                    "TrainingInputMode": "File",
                }
            },
            "Cannot find repository: repo/other of image 'repo/other:1'",
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "("}],
                }
            },
            "Regex '(' of metric 'loss' is not a regular expression",
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "a{9999999999}"}],
                }
            },
            "of metric 'loss' is not a regular expression",
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "factorization-machines",
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [LOSS],
                }
            },
            "You can't override the metric definitions for Amazon SageMaker algorithms.",
        ),
        (
            {"ResourceConfig": {**RESOURCES, "InstanceCount": 0}},
            "InstanceCount 0 is below 1",
        ),
        ({"ResourceConfig": {"InstanceCount": 1}}, "ResourceConfig must have InstanceType"),
        (
            {"ResourceConfig": {**RESOURCES, "InstanceGroups": [group("a")]}},
            "ResourceConfig has InstanceGroups and InstanceCount and InstanceType",
        ),
        (
            {"ResourceConfig": {"InstanceGroups": [group("a"), group("a")]}},
            "ResourceConfig.InstanceGroups has two groups of one name: ['a', 'a']",
        ),
        (
            {"EnableNetworkIsolation": True, "ResourceConfig": {**RESOURCES, "InstanceCount": 2}},
            "not implemented by matinee: EnableNetworkIsolation with 2 instances, which could not "
            "reach each other",
        ),
        (
            {"RemoteDebugConfig": {"EnableRemoteDebug": True}},
            "not implemented by matinee: RemoteDebugConfig with EnableRemoteDebug",
        ),
        (
            {"TensorBoardOutputConfig": {"S3OutputPath": "s3://bucket/logs"}},
            "not implemented by matinee: a training job with TensorBoardOutputConfig",
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "factorization-machines",
                    "TrainingInputMode": "File",
                    "ContainerEntrypoint": ["python3"],
                }
            },
            "The image 'factorization-machines' takes no ContainerEntrypoint.",
        ),
        (
            {"RoleArn": "arn:aws:iam::000000000000:role/unknown"},
            "Could not assume role arn:aws:iam::000000000000:role/unknown.",
        ),
        (
            {"OutputDataConfig": {"S3OutputPath": "https://bucket/key"}},
            "OutputDataConfig.S3OutputPath: 'https://bucket/key' is not an S3 URI",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 2419201}},
            "StoppingCondition.MaxRuntimeInSeconds 2419201 is over 2419200 (28 days)",
        ),
        (
            {"EnableManagedSpotTraining": True, "StoppingCondition": {"MaxRuntimeInSeconds": 9}},
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "StoppingCondition.MaxWaitTimeInSeconds 9 is for jobs with EnableManagedSpotTraining",
        ),
        (
            {"CheckpointConfig": {"S3Uri": "https://bucket/checkpoints"}},
            "CheckpointConfig.S3Uri: 'https://bucket/checkpoints' is not an S3 URI",
        ),
        (
            {"CheckpointConfig": {"S3Uri": "s3://bucket/", "LocalPath": "/opt/ml/../etc"}},
            "not implemented by matinee: CheckpointConfig.LocalPath '/opt/ml/../etc' outside of",
        ),
        (
            {"CheckpointConfig": {"S3Uri": "s3://bucket/", "LocalPath": "/opt/ml/model/sub"}},
            "CheckpointConfig.LocalPath '/opt/ml/model/sub' is in a folder that has another",
        ),
        (
            {"InputDataConfig": with_channel()["InputDataConfig"] * 2},
            "channel 'train' is there twice",
        ),
        (with_channel(ChannelName=".."), "channel '..' cannot be the name of a folder"),
        (with_channel(CompressionType="Gzip"), "CompressionType Gzip is for Pipe input mode"),
        (
            with_channel(InputMode="FastFile", RecordWrapperType="RecordIO"),
            "RecordWrapperType RecordIO is for Pipe input mode; in FastFile mode",
        ),
        (with_source(S3DataType="Converse"), "channel 'train' with S3DataType Converse"),
        (
            with_source(S3DataType="AugmentedManifestFile", AttributeNames=["a"]),
            "channel 'train': S3DataType AugmentedManifestFile is for Pipe input mode, not File",
        ),
        (with_source(AttributeNames=["a"]), "AttributeNames are for S3DataType"),
        (
            with_source(InstanceGroupNames=["other"]),
            "InstanceGroupNames ['other'] are not among the job's groups ['homogeneousCluster']",
        ),
        (
            {
                "InputDataConfig": [
                    {**channel("a", "s3://bucket/data"), "InputMode": "Pipe"},
                    channel("a_0", "s3://bucket/data"),
                ]
            },
            "channel 'a_0' has the name of a pipe of channel 'a'",
        ),
    ],
)
def test_what_cannot_run_is_refused_at_once(jobs: Jobs, changes: dict[str, Any], said: str) -> None:
    name = jobs.new_name("refused")
    request = {**jobs.training_request(name), **changes}
    code, message = refusal(jobs.sagemaker.create_training_job, **request)
    assert code == "ValidationException"
    assert said in message
    assert refusal(jobs.sagemaker.describe_training_job, TrainingJobName=name)


def test_more_instances_than_a_job_may_have_are_refused(jobs: Jobs) -> None:
    name = jobs.new_name("refused")
    resources = {"InstanceGroups": [group("a", 20), group("b", 1)], "VolumeSizeInGB": 1}
    request = {**jobs.training_request(name), "ResourceConfig": resources}
    code, message = refusal(jobs.sagemaker.create_training_job, **request)
    assert code == "ResourceLimitExceeded"
    assert message == "The job asks for 21 instances; a training job has at most 20"


def with_entrypoint(jobs: Jobs, script: str) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "matinee-python",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/sh", "-c"],
            "ContainerArguments": [f'cd "$SAGEMAKER_BASE_DIR/model"; {script}'],
        },
        "OutputDataConfig": {"S3OutputPath": jobs.uri("models"), "CompressionType": "NONE"},
    }


def test_a_job_may_bring_its_own_entrypoint(jobs: Jobs) -> None:
    described = jobs.trained(jobs.train(with_entrypoint(jobs, "echo trained >said")))
    assert jobs.get(described["ModelArtifacts"]["S3ModelArtifacts"] + "said") == b"trained\n"
    assert described["AlgorithmSpecification"]["ContainerEntrypoint"] == ["/bin/sh", "-c"]


@pytest.mark.skipif(not compute.can_isolate(), reason="needs the kernel's namespaces")
def test_a_job_may_be_without_a_network(jobs: Jobs) -> None:
    changes = {
        **with_entrypoint(jobs, "cat /proc/net/dev >devices"),
        "EnableNetworkIsolation": True,
    }
    described = jobs.trained(jobs.train(changes))
    devices = jobs.get(described["ModelArtifacts"]["S3ModelArtifacts"] + "devices").decode()
    assert [line.split(":")[0].strip() for line in devices.splitlines() if ":" in line] == ["lo"]
    assert described["EnableNetworkIsolation"] is True


def test_a_model_may_be_stored_as_single_objects(jobs: Jobs) -> None:
    output = {"S3OutputPath": jobs.uri("models"), "CompressionType": "NONE"}
    name = jobs.train({"OutputDataConfig": output}, small_model="1")
    described = jobs.trained(name)
    uri = jobs.uri(f"models/{name}/output/model/")
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    assert described["OutputDataConfig"]["CompressionType"] == "NONE"
    assert jobs.get(f"{uri}found.json") == b"{}"


def test_a_spot_job_is_not_interrupted(jobs: Jobs) -> None:
    condition = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600}
    changes = {"EnableManagedSpotTraining": True, "StoppingCondition": condition}
    described = jobs.trained(jobs.train(changes))
    assert described["TrainingJobStatus"] == "Completed"
    assert described["StoppingCondition"] == condition
    assert described["BillableTimeInSeconds"] == described["TrainingTimeInSeconds"]


def test_a_warm_pool_ends_with_its_job(jobs: Jobs, gate: Path) -> None:
    resources = {"ResourceConfig": {**RESOURCES, "KeepAlivePeriodInSeconds": 60}}
    name = jobs.train(resources, wait_for=str(gate))
    assert jobs.describe(name)["WarmPoolStatus"] == {"Status": "InUse"}
    update = jobs.sagemaker.update_training_job
    answer = update(TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 90})
    assert answer["TrainingJobArn"] == jobs.describe(name)["TrainingJobArn"]
    assert jobs.describe(name)["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 90
    listed = jobs.sagemaker.list_training_jobs(WarmPoolStatusEquals="InUse")["TrainingJobSummaries"]
    assert [job["TrainingJobName"] for job in listed] == [name]
    gate.touch()
    pool = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}
    assert jobs.trained(name)["WarmPoolStatus"] == pool
    request = {"TrainingJobName": name, "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}
    code, message = refusal(update, **request)
    assert (code, "has no warm pool" in message) == ("ValidationException", True)


def test_an_update_changes_nothing_that_is_not_there(jobs: Jobs) -> None:
    name, update = jobs.train(), jobs.sagemaker.update_training_job
    update(TrainingJobName=name, ProfilerConfig={"DisableProfiler": True})
    assert jobs.describe(name)["ProfilerConfig"] == {"DisableProfiler": True}
    for member, value, said in (
        ("ProfilerConfig", {"DisableProfiler": False}, "ProfilerConfig with DisableProfiler false"),
        ("ProfilerConfig", {"S3OutputPath": "s3://b/c"}, "ProfilerConfig with S3OutputPath"),
        ("RemoteDebugConfig", {"EnableRemoteDebug": True}, "RemoteDebugConfig"),
    ):
        code, message = refusal(update, TrainingJobName=name, **{member: value})
        assert (code, message) == ("ValidationException", f"not implemented by matinee: {said}")
    missing = refusal(update, TrainingJobName="nobody")
    assert missing == ("ResourceNotFound", "Requested resource not found.")


def test_a_job_that_has_ended_can_be_deleted(jobs: Jobs, gate: Path) -> None:
    name, delete = jobs.train(wait_for=str(gate)), jobs.sagemaker.delete_training_job
    code, message = refusal(delete, TrainingJobName=name)
    assert code == "ResourceInUse"
    assert f"The training job '{name}' is in status InProgress" in message
    gate.touch()
    described = jobs.trained(name)
    folder = jobs.folder(name).parent
    delete(TrainingJobName=name)
    assert refusal(jobs.sagemaker.describe_training_job, TrainingJobName=name)[0] == (
        "ValidationException"
    )
    until(lambda: not folder.exists())
    assert jobs.get(described["ModelArtifacts"]["S3ModelArtifacts"])
    assert refusal(delete, TrainingJobName=name)[0] == "ResourceNotFound"
    jobs.sagemaker.create_training_job(**jobs.training_request(name))
    assert jobs.trained(name)["TrainingJobStatus"] == "Completed"


def test_a_slow_expression_costs_its_metric_only(jobs: Jobs) -> None:
    specification = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "slow", "Regex": "(a+)+$"}, LOSS],
    }
    name = jobs.train({"AlgorithmSpecification": specification}, print="a" * 64 + "b", x="0.75")
    described = jobs.trained(name)
    assert [item["MetricName"] for item in described["FinalMetricDataList"]] == ["loss"]
    assert jobs.log_lines(name)[-1].startswith("matinee: metric 'slow' is dropped")
