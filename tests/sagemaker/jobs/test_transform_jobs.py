"""Transform jobs over the wire: a ``.out`` for each good object, a reason for the others."""

from __future__ import annotations

import io
import json
import signal
import struct
import tarfile
from typing import Any

import pytest

from tests.sagemaker.jobs.conftest import Jobs, processes, refusal, until


@pytest.fixture
def model(jobs: Jobs) -> str:
    return jobs.put_model({"found.json": "{}"})


def frame(payload: bytes) -> bytes:
    padding = b"\0" * (-len(payload) % 4)
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + padding


def said(kind: str, body: bytes) -> bytes:
    """Return what the algorithm answers to a body."""
    return f"{kind} {len(body)} {body.hex()[:80]}".encode()


def test_each_object_gets_its_output(jobs: Jobs, model: str) -> None:
    jobs.put("input/a.csv", "1,2\n3,4\n")
    jobs.put("input/sub/b.csv", "5,6\n")
    name = jobs.transform(model)
    described = jobs.transformed(name)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert jobs.stored("output/") == ["output/a.csv.out", "output/sub/b.csv.out"]
    assert jobs.get(jobs.uri("output/a.csv.out")) == said("-", b"1,2\n3,4\n")
    assert described["CreationTime"] <= described["TransformStartTime"]
    assert described["TransformStartTime"] < described["TransformEndTime"]
    assert described["ModelName"] == model
    assert described["TransformOutput"]["S3OutputPath"] == jobs.uri("output")


@pytest.mark.parametrize(
    ("transform_input", "strategy", "data", "bodies"),
    [
        ({"SplitType": "Line"}, "SingleRecord", b"one\n\ntwo", [b"one", b"two"]),
        ({"SplitType": "Line"}, "MultiRecord", b"one\ntwo", [b"one\ntwo"]),
        (
            {"SplitType": "RecordIO", "ContentType": "application/x-recordio-protobuf"},
            "SingleRecord",
            frame(b"one") + frame(b"more"),
            [b"one", b"more"],
        ),
        (
            {"SplitType": "RecordIO"},
            "MultiRecord",
            frame(b"one") + frame(b"more"),
            [frame(b"one") + frame(b"more")],
        ),
        ({"SplitType": "None"}, "MultiRecord", b"", []),
    ],
)
def test_objects_are_cut_into_records(
    jobs: Jobs,
    model: str,
    transform_input: dict[str, str],
    strategy: str,
    data: bytes,
    bodies: list[bytes],
) -> None:
    jobs.put("input/data", data)
    output = {
        "S3OutputPath": jobs.uri("output"),
        "AssembleWith": "Line",
        "Accept": "text/plain",
    }
    changes = {"BatchStrategy": strategy, "TransformOutput": output}
    jobs.transformed(jobs.transform(model, changes, **transform_input))
    answers = b"".join(said("text/plain", body) + b"\n" for body in bodies)
    assert jobs.get(jobs.uri("output/data.out")) == answers


def test_the_order_is_kept_with_requests_side_by_side(jobs: Jobs, model: str) -> None:
    lines = [f"line {number}".encode() for number in range(200)]
    jobs.put("input/data", b"\n".join(lines))
    output = {"S3OutputPath": jobs.uri("output"), "AssembleWith": "Line"}
    changes = {
        "BatchStrategy": "SingleRecord",
        "MaxConcurrentTransforms": 4,
        "TransformOutput": output,
    }
    jobs.transformed(jobs.transform(model, changes, SplitType="Line"))
    answers = jobs.get(jobs.uri("output/data.out")).splitlines()
    assert answers == [said("-", line) for line in lines]


def test_the_container_may_choose_the_strategy(jobs: Jobs) -> None:
    preferred = {
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 1,
        "MaxConcurrentTransforms": 2,
    }
    model = jobs.put_model({"preferred.json": json.dumps(preferred)})
    jobs.put("input/data", "one\ntwo\n")
    jobs.transformed(jobs.transform(model, SplitType="Line"))
    assert jobs.get(jobs.uri("output/data.out")) == said("-", b"one") + said("-", b"two")


def test_a_server_sees_the_environment_of_a_batch(jobs: Jobs, model: str) -> None:
    jobs.put("input/data", "environment")
    changes = {"Environment": {"COLOUR": "red"}, "MaxPayloadInMB": 2}
    jobs.transformed(jobs.transform(model, changes))
    environment = json.loads(jobs.get(jobs.uri("output/data.out")))
    assert environment["SAGEMAKER_BATCH"] == "true"
    assert environment["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "2"
    assert environment["COLOUR"] == "red"
    assert environment["MATINEE_BIND_HOST"] == "127.0.0.1"
    assert "SAGEMAKER_BATCH_STRATEGY" not in environment
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "us-east-1"


def test_a_bad_object_has_no_output_and_fails_the_job_by_name(jobs: Jobs, model: str) -> None:
    jobs.put("input/a", "good")
    jobs.put("input/b", "good\nbad\n")
    jobs.put("input/c", "also good")
    name = jobs.transform(model, {"BatchStrategy": "SingleRecord"}, SplitType="Line")
    described = jobs.transformed(name)
    assert described["TransformJobStatus"] == "Failed"
    assert described["FailureReason"] == (
        f"ClientError: {jobs.uri('input/b')}: Received client error (400) from the model with "
        'message "unable to evaluate payload provided"'
    )
    assert jobs.stored("output/") == ["output/a.out", "output/c.out"]


def test_a_server_error_is_the_algorithms(jobs: Jobs, model: str) -> None:
    jobs.put("input/a", "broken")
    jobs.put("input/b", "broken too")
    described = jobs.transformed(jobs.transform(model))
    message = 'Received server error (500) from the model with message "it broke"'
    assert described["FailureReason"] == (
        "AlgorithmError: 2 of 2 objects failed: "
        f"{jobs.uri('input/a')}: {message}; {jobs.uri('input/b')}: {message}"
    )


@pytest.mark.parametrize(
    ("data", "split_type", "problem"),
    [
        (b"x" * (1 << 20) + b"y", "None", "the object has 1048577 bytes, over the payload limit"),
        (b"x" * (1 << 20) + b"y", "Line", "the line at byte 0 is over the payload limit"),
        (
            frame(b"one") + b"torn",
            "RecordIO",
            "RecordIO record 1 at byte 12: only 4 bytes are left",
        ),
    ],
)
def test_an_object_that_cannot_be_cut_fails_the_job(
    jobs: Jobs, model: str, data: bytes, split_type: str, problem: str
) -> None:
    jobs.put("input/data", data)
    described = jobs.transformed(jobs.transform(model, {"MaxPayloadInMB": 1}, SplitType=split_type))
    assert described["FailureReason"].startswith(
        f"ClientError: {jobs.uri('input/data')}: {problem}"
    )
    assert jobs.stored("output/") == []


def test_a_server_that_dies_fails_the_job(jobs: Jobs, model: str) -> None:
    jobs.put("input/a", "good")
    jobs.put("input/b", "die")
    described = jobs.transformed(jobs.transform(model))
    assert described["FailureReason"] == (
        "AlgorithmError: the model server ended with exit code 7; the last line of its log: "
        "about to die"
    )
    assert jobs.stored("output/") == ["output/a.out"]


def test_a_server_that_does_not_start_fails_the_job(jobs: Jobs) -> None:
    jobs.put("input/a", "good")
    model = jobs.put_model({"no-start": ""})
    described = jobs.transformed(jobs.transform(model))
    assert described["FailureReason"] == (
        "AlgorithmError: the model server ended with exit code 5; the last line of its log: "
        "cannot start"
    )


def test_no_input_fails_the_job(jobs: Jobs, model: str) -> None:
    described = jobs.transformed(jobs.transform(model))
    assert described["FailureReason"].startswith(
        f'ClientError: No S3 objects found under S3 URL "{jobs.uri("input/")}"'
    )


def test_an_archive_that_reaches_out_is_refused(jobs: Jobs) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../outside"))
    model = jobs.put_model({})
    jobs.put("input/a", "good")
    uri = jobs.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelDataUrl"]
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    jobs.s3.put_object(Bucket=bucket, Key=key, Body=archive.getvalue())
    described = jobs.transformed(jobs.transform(model))
    assert described["FailureReason"] == (
        f"ClientError: model data {uri}: member '../outside' would lie outside of the archive"
    )


def test_a_stopped_job_stores_nothing(jobs: Jobs, model: str) -> None:
    jobs.put("input/a", "good")
    jobs.put("input/b", "hold")
    name = jobs.transform(model)
    folder = jobs.wait_until_asking(name)
    jobs.sagemaker.stop_transform_job(TransformJobName=name)
    assert jobs.transformed(name)["TransformJobStatus"] == "Stopped"
    assert jobs.stored("output/") == []
    until(lambda: processes(folder) == [])
    code, message = refusal(jobs.sagemaker.stop_transform_job, TransformJobName=name)
    assert (code, message) == (
        "ValidationException",
        "The request was rejected because the transform job is in status Stopped.",
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_server_goes_on_with_the_model_that_is_up(mortal: Jobs, number: int) -> None:
    model = mortal.put_model({})
    mortal.put("input/a", "good")
    mortal.put("input/b", "hold")
    name = mortal.transform(model, {"MaxConcurrentTransforms": 2})
    folder = mortal.wait_until_asking(name)
    running = processes(folder)
    mortal.server.end(number)
    assert processes(folder) == running
    mortal.server.start()
    (folder.parent / "work/algo-1/ml/model/go").touch()
    described = mortal.transformed(name)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert mortal.get(mortal.uri("output/b.out")) == said("-", b"hold")
    assert mortal.stored("output/") == ["output/a.out", "output/b.out"]
    until(lambda: processes(folder) == [])


def test_a_model_server_lost_with_the_machine_fails_the_job(mortal: Jobs) -> None:
    model = mortal.put_model({})
    mortal.put("input/b", "hold")
    name = mortal.transform(model)
    folder = mortal.wait_until_asking(name)
    mortal.server.end(signal.SIGKILL)
    for process in processes(folder):
        process.kill()
    mortal.server.start()
    reason = mortal.transformed(name)["FailureReason"]
    assert reason.startswith("InternalServerError: the model server was interrupted")


def test_names_are_unique_and_unknown_ones_not_found(jobs: Jobs, model: str) -> None:
    jobs.put("input/a", "good")
    name = jobs.transform(model)
    code, _ = refusal(jobs.sagemaker.create_transform_job, **jobs.transform_request(name, model))
    assert code == "ResourceInUse"
    message = "Could not find requested job with name: nobody"
    request = {"TransformJobName": "nobody"}
    describe, stop = jobs.sagemaker.describe_transform_job, jobs.sagemaker.stop_transform_job
    assert refusal(describe, **request) == ("ValidationException", message)
    assert refusal(stop, **request) == ("ResourceNotFound", message)
    jobs.transformed(name)
    (summary,) = jobs.sagemaker.list_transform_jobs(
        SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )["TransformJobSummaries"]
    assert (summary["TransformJobName"], summary["TransformJobStatus"]) == (name, "Completed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ModelName": "nobody"}, "Could not find model"),
        ({"MaxPayloadInMB": 0}, "MaxPayloadInMB 0"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "is over 100 MB"),
        ({"BatchStrategy": "SingleRecord"}, "BatchStrategy SingleRecord needs SplitType"),
        ({"DataProcessing": {"InputFilter": "$[0]"}}, "with InputFilter $[0]"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "with JoinSource Input"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://b/k"}}, "with DataCaptureConfig"),
        (
            {"TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 2}},
            "with InstanceCount 2",
        ),
    ],
)
def test_what_cannot_run_is_refused_at_once(
    jobs: Jobs, model: str, changes: dict[str, Any], said: str
) -> None:
    request = {**jobs.transform_request(jobs.new_name("refused"), model), **changes}
    code, message = refusal(jobs.sagemaker.create_transform_job, **request)
    assert code == "ValidationException"
    assert said in message
