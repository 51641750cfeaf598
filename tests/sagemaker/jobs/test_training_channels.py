"""Input modes, distributions and wrappings of training channels, over the wire."""

from __future__ import annotations

import gzip
import json
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.jobs.conftest import RESOURCES, Jobs, channel, processes, until


def piped(name: str, uri: str, **source: Any) -> dict[str, Any]:
    return {**channel(name, uri, **source), "InputMode": "Pipe"}


def record(data: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(data)) + data + bytes(-len(data) % 4)


def put_letters(jobs: Jobs, letters: str) -> str:
    for letter in letters:
        jobs.put(f"data/{letter}", letter)
    return jobs.uri("data/")


def test_fast_files_are_read_only(jobs: Jobs, gate: Path) -> None:
    uri = put_letters(jobs, "a")
    specification = jobs.training_request("")["AlgorithmSpecification"]
    specification["TrainingInputMode"] = "FastFile"
    changes = {"AlgorithmSpecification": specification, "InputDataConfig": [channel("train", uri)]}
    name = jobs.train(changes, wait_for=str(gate))
    jobs.wait_until_waiting(name)
    (path,) = jobs.folder(name).parent.glob("work/algo-1/ml/input/data/train/a")
    assert path.stat().st_mode & 0o777 == 0o444
    gate.touch()
    found = jobs.model(jobs.trained(name))
    assert found["files"] == {"train/a": "a"}
    assert found["config"]["inputdataconfig.json"]["train"]["TrainingInputMode"] == "FastFile"


def test_a_pipe_streams_every_epoch(jobs: Jobs) -> None:
    uri = put_letters(jobs, "cab")
    changes = {"InputDataConfig": [piped("train", uri), channel("test", uri)]}
    found = jobs.model(jobs.trained(jobs.train(changes, read_pipes="train_0,train_1,train_2")))
    assert found["streams"] == dict.fromkeys(["train_0", "train_1", "train_2"], "abc")
    assert found["files"] == {"test/a": "a", "test/b": "b", "test/c": "c"}
    config = found["config"]["inputdataconfig.json"]
    assert [config[name]["TrainingInputMode"] for name in ("train", "test")] == ["Pipe", "File"]


def test_a_reader_that_leaves_gets_the_next_epoch(jobs: Jobs) -> None:
    jobs.put("data/big", b"x" * (1 << 22))
    changes = {"InputDataConfig": [piped("train", jobs.uri("data/"))]}
    found = jobs.model(jobs.trained(jobs.train(changes, read_pipes="train_0:3,train_1:2")))
    assert found["streams"] == {"train_0:3": "xxx", "train_1:2": "xx"}


def test_a_pipe_decompresses_and_wraps(jobs: Jobs) -> None:
    jobs.put("data/a", gzip.compress(b"first", mtime=0) + gzip.compress(b"part", mtime=0))
    jobs.put("data/b", gzip.compress(b"", mtime=0))
    zipped = {"CompressionType": "Gzip"}
    changes = {
        "InputDataConfig": [
            {**piped("train", jobs.uri("data/")), **zipped},
            {**piped("test", jobs.uri("data/")), **zipped, "RecordWrapperType": "RecordIO"},
        ]
    }
    found = jobs.model(jobs.trained(jobs.train(changes, read_pipes="train_0,test_0")))
    assert found["streams"] == {
        "train_0": "firstpart",
        "test_0": (record(b"firstpart") + record(b"")).decode("latin-1"),
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"plain", "is not whole gzip data, as the channel's CompressionType says"),
        (gzip.compress(b"x" * 100, mtime=0)[:-4], "the compressed data ends too early"),
    ],
)
def test_what_a_pipe_cannot_read_fails_the_job(jobs: Jobs, data: bytes, said: str) -> None:
    uri = jobs.put("data/a", data)
    train = {**piped("train", uri), "CompressionType": "Gzip"}
    described = jobs.trained(jobs.train({"InputDataConfig": [train]}, read_pipes="train_0,train_1"))
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: ")
    assert said in described["FailureReason"]
    assert jobs.stored("models/") == []


def test_an_object_that_went_away_fails_the_job(jobs: Jobs, gate: Path) -> None:
    uri = put_letters(jobs, "ab")
    changes = {"InputDataConfig": [piped("train", uri)]}
    name = jobs.train(changes, wait_first=str(gate), read_pipes="train_0")
    jobs.wait_for_secondary(name, "Training")
    jobs.s3.delete_object(Bucket=jobs.bucket, Key=f"{jobs.prefix}/data/b")
    gate.touch()
    reason = jobs.trained(name)["FailureReason"]
    assert reason.startswith(f"ClientError: {uri}b: ")


def test_an_augmented_manifest_streams_its_attributes(jobs: Jobs) -> None:
    lines = [
        {"image-ref": jobs.put("data/1", "one"), "label": 1, "other": "no"},
        {"image-ref": jobs.put("data/2", "two"), "label": "zwei"},
    ]
    uri = jobs.put("manifest", "\n".join(map(json.dumps, lines)) + "\n")
    source = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["image-ref", "label"]}
    changes = {
        "InputDataConfig": [
            piped("plain", uri, **source),
            {**piped("train", uri, **source), "RecordWrapperType": "RecordIO"},
        ]
    }
    found = jobs.model(jobs.trained(jobs.train(changes, read_pipes="plain_0,train_0")))
    assert found["streams"] == {
        "plain_0": "one1twozwei",
        "train_0": b"".join(map(record, [b"one", b"1", b"two", b"zwei"])).decode("latin-1"),
    }


def test_a_line_without_the_attribute_fails_the_job(jobs: Jobs) -> None:
    uri = jobs.put("manifest", '{"label": 1}\n')
    source = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["line"]}
    changes = {"InputDataConfig": [piped("train", uri, **source)]}
    reason = jobs.trained(jobs.train(changes, read_pipes="train_0"))["FailureReason"]
    assert reason.startswith("ClientError: the line '{\"label\": 1}' of the augmented manifest")


def test_a_shuffled_pipe_has_another_order_each_epoch(jobs: Jobs) -> None:
    letters = "abcdefgh"
    train = {**piped("train", put_letters(jobs, letters)), "ShuffleConfig": {"Seed": 7}}
    changes = {"InputDataConfig": [train]}
    runs = [
        jobs.model(jobs.trained(jobs.train(changes, read_pipes="train_0,train_1")))["streams"]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert {"".join(sorted(stream)) for stream in runs[0].values()} == {letters}
    assert len({letters, *runs[0].values()}) == 3


def test_shards_are_about_equal_parts(jobs: Jobs) -> None:
    uri = put_letters(jobs, "abc")
    sharded = {"S3DataDistributionType": "ShardedByS3Key"}
    changes = {
        "ResourceConfig": {**RESOURCES, "InstanceCount": 2},
        "InputDataConfig": [
            channel("files", uri, **sharded),
            piped("stream", uri, **sharded),
            channel("all", uri),
            channel("few", jobs.put("few/x", "x"), **sharded),
        ],
    }
    described = jobs.trained(jobs.train(changes, read_pipes="stream_0"))
    everything = {"all/a": "a", "all/b": "b", "all/c": "c"}
    first, second = (jobs.model(described, host) for host in ("algo-1", "algo-2"))
    assert first["files"] == {"files/a": "a", "files/c": "c", "few/x": "x", **everything}
    assert second["files"] == {"files/b": "b", **everything}
    assert (first["streams"], second["streams"]) == ({"stream_0": "ac"}, {"stream_0": "b"})


def test_a_shuffle_moves_data_between_the_hosts(jobs: Jobs) -> None:
    letters = "abcdefgh"
    train = piped("train", put_letters(jobs, letters), S3DataDistributionType="ShardedByS3Key")
    changes = {
        "ResourceConfig": {**RESOURCES, "InstanceCount": 2},
        "InputDataConfig": [{**train, "ShuffleConfig": {"Seed": 1}}],
    }
    described = jobs.trained(jobs.train(changes, read_pipes="train_0,train_1"))
    one, two = (jobs.model(described, host)["streams"] for host in ("algo-1", "algo-2"))
    for epoch in ("train_0", "train_1"):
        assert sorted(one[epoch] + two[epoch]) == list(letters)
    assert set(one["train_0"]) != set(one["train_1"])


def test_instance_groups_get_their_channels(jobs: Jobs) -> None:
    def group(name: str, kind: str, count: int) -> dict[str, Any]:
        return {"InstanceGroupName": name, "InstanceType": kind, "InstanceCount": count}

    groups = [group("data", "ml.c5.xlarge", 1), group("train", "ml.m5.large", 2)]
    uri = put_letters(jobs, "ab")
    sharded = {"S3DataDistributionType": "ShardedByS3Key"}
    changes = {
        "ResourceConfig": {"InstanceGroups": groups, "VolumeSizeInGB": 1},
        "InputDataConfig": [
            channel("one", uri, InstanceGroupNames=["data"]),
            channel("two", uri, InstanceGroupNames=["train"], **sharded),
        ],
    }
    described = jobs.trained(jobs.train(changes))
    found = [jobs.model(described, f"algo-{number}") for number in (1, 2, 3)]
    assert [item["files"] for item in found] == [
        {"one/a": "a", "one/b": "b"},
        {"two/a": "a"},
        {"two/b": "b"},
    ]
    resources = found[2]["config"]["resourceconfig.json"]
    assert resources["current_group_name"] == "train"
    assert resources["current_instance_type"] == "ml.m5.large"
    assert resources["instance_groups"] == [
        {"instance_group_name": "data", "instance_type": "ml.c5.xlarge", "hosts": ["algo-1"]},
        {
            "instance_group_name": "train",
            "instance_type": "ml.m5.large",
            "hosts": ["algo-2", "algo-3"],
        },
    ]
    assert "one" not in found[2]["config"]["inputdataconfig.json"]


def test_a_stopped_job_feeds_no_pipe(jobs: Jobs, gate: Path) -> None:
    changes = {"InputDataConfig": [piped("train", put_letters(jobs, "ab"))]}
    name = jobs.train(changes, read_pipes="train_0", wait_for=str(gate))
    jobs.wait_until_waiting(name)
    feeders = processes(jobs.folder(name).parent / "work/algo-1/feeder")
    assert [process.is_running() for process in feeders] == [True, True]
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.trained(name)["TrainingJobStatus"] == "Stopped"
    assert [process.is_running() for process in feeders] == [False, False]


def test_data_that_do_not_fit_the_volume_fail_the_job(jobs: Jobs) -> None:
    changes = {
        "ResourceConfig": {**RESOURCES, "VolumeSizeInGB": 0},
        "InputDataConfig": [channel("train", put_letters(jobs, "ab"))],
    }
    described = jobs.trained(jobs.train(changes))
    assert described["FailureReason"] == (
        f"ClientError: channel 'train' ({jobs.uri('data/')}) has at least 2 bytes, and the volume "
        "of VolumeSizeInGB has room for 0 more"
    )


def test_a_pipe_is_fed_while_the_server_is_away(mortal: Jobs, gate: Path) -> None:
    uri = put_letters(mortal, "ab")
    changes = {"InputDataConfig": [piped("train", uri)]}
    name = mortal.train(changes, read_pipes="train_0", wait_for=str(gate), read_later="train_1")
    mortal.wait_until_waiting(name)
    mortal.server.end(signal.SIGKILL)
    gate.touch()
    until(lambda: processes(mortal.folder(name)) == [])
    mortal.server.start()
    found = mortal.model(mortal.trained(name))
    assert found["streams"] == {"train_0": "ab", "train_1": "ab"}
    until(lambda: not (mortal.folder(name).parent / "work").exists())


def test_a_feeder_that_dies_fails_the_job(mortal: Jobs, gate: Path) -> None:
    uri = put_letters(mortal, "ab")
    changes = {"InputDataConfig": [piped("train", uri)]}
    name = mortal.train(changes, read_pipes="train_0", wait_for=str(gate))
    mortal.wait_until_waiting(name)
    for process in processes(mortal.folder(name).parent / "work/algo-1/feeder"):
        process.kill()
    # The algorithm, which may wait for data that nobody writes, is ended.
    assert mortal.trained(name)["FailureReason"] == (
        "InternalServerError: the process that feeds the pipes ended before the training"
    )
