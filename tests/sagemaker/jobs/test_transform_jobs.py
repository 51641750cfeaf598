"""Transform jobs over the wire: a ``.out`` for each good object, a reason for the others."""

from __future__ import annotations

import gzip
import io
import json
import signal
import struct
import tarfile
import uuid
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ObjectStore
from tests.sagemaker.jobs.conftest import ROLE, Jobs, processes, refusal, until


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
        (
            {"SplitType": "TFRecord"},
            "SingleRecord",
            struct.pack("<QI", 4, 0x04524542) + b"more" + b"sum!",
            [b"more"],
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


def test_compressed_objects_are_opened(jobs: Jobs, model: str) -> None:
    jobs.put(
        "input/a.gz", gzip.compress(b"one\n", mtime=0) + gzip.compress(b"two", mtime=0) + b"\0"
    )
    jobs.put("input/b.gz", gzip.compress(b"three", mtime=0)[:-4])
    jobs.put("input/c.gz", "four")
    name = jobs.transform(model, CompressionType="Gzip")
    reason = jobs.transformed(name)["FailureReason"]
    assert reason.startswith(
        f"ClientError: 2 of 3 objects failed: {jobs.uri('input/b.gz')}: the compressed data ends "
        f"too early; {jobs.uri('input/c.gz')}: Error -3 while decompressing data"
    )
    assert jobs.stored("output/") == ["output/a.gz.out"]
    assert jobs.get(jobs.uri("output/a.gz.out")) == said("-", b"one\ntwo")


def test_a_manifest_names_the_objects(jobs: Jobs, model: str) -> None:
    jobs.put("data/part/a", "one")
    jobs.put("data/b", "two")
    manifest = jobs.put(
        "the.manifest", json.dumps([{"prefix": jobs.uri("data/")}, "part/a", "b", "b"])
    )
    request = jobs.transform_request(name := jobs.new_name("transform"), model)
    source = {"S3DataType": "ManifestFile", "S3Uri": manifest}
    request["TransformInput"]["DataSource"]["S3DataSource"] = source
    jobs.sagemaker.create_transform_job(**request)
    assert jobs.transformed(name)["TransformJobStatus"] == "Completed"
    assert jobs.stored("output/") == ["output/b.out", "output/part/a.out"]


def test_rows_are_filtered_and_joined(jobs: Jobs, model: str) -> None:
    jobs.put("input/rows.csv", 'a,1,2\n"b, b",3,4\n')
    output = {"S3OutputPath": jobs.uri("output"), "AssembleWith": "Line", "Accept": "text/csv"}
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,3:]"}
    changes = {"TransformOutput": output, "DataProcessing": processing}
    name = jobs.transform(model, changes, ContentType="text/csv", SplitType="Line")
    described = jobs.transformed(name)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert described["DataProcessing"] == processing
    assert jobs.get(jobs.uri("output/rows.csv.out")) == b'a,<1,2>\n"b, b",<3,4>\n'


@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_lines_of_json_are_filtered_and_joined(jobs: Jobs, model: str, strategy: str) -> None:
    jobs.put("input/a", '{"id": 7, "x": [1, 2]}\n{"id": 8, "x": "y"}\n')
    jobs.put("input/b", '{"id": 7}\n')
    kind = "application/jsonlines"
    output = {"S3OutputPath": jobs.uri("output"), "AssembleWith": "Line", "Accept": kind}
    processing = {
        "InputFilter": "$.x",
        "JoinSource": "Input",
        "OutputFilter": "$['id','SageMakerOutput']",
    }
    changes = {
        "BatchStrategy": strategy,
        "TransformOutput": output,
        "DataProcessing": processing,
    }
    name = jobs.transform(model, changes, ContentType=kind, SplitType="Line")
    assert jobs.transformed(name)["FailureReason"] == (
        f"ClientError: {jobs.uri('input/b')}: InputFilter $.x finds nothing: no attribute 'x'"
    )
    assert jobs.stored("output/") == ["output/a.out"]
    assert [json.loads(line) for line in jobs.get(jobs.uri("output/a.out")).splitlines()] == [
        {"id": 7, "SageMakerOutput": {"got": [1, 2]}},
        {"id": 8, "SageMakerOutput": {"got": "y"}},
    ]


def test_what_went_in_and_out_is_captured(jobs: Jobs, model: str) -> None:
    jobs.put("input/a.csv", "1\n2\n")
    jobs.put("input/b.csv", "bad")
    output = {"S3OutputPath": jobs.uri("output"), "AssembleWith": "Line", "Accept": "text/csv"}
    capture = {"DestinationS3Uri": jobs.uri("captured"), "GenerateInferenceId": True}
    changes = {"TransformOutput": output, "DataCaptureConfig": capture}
    name = jobs.transform(model, changes, ContentType="text/csv", SplitType="Line")
    described = jobs.transformed(name)
    hour = described["TransformStartTime"].astimezone(UTC)
    path = f"{hour:%Y/%m/%d/%H}/{name}.jsonl"
    assert jobs.stored("captured/") == [f"captured/input/{path}", f"captured/output/{path}"]
    listed = [
        json.loads(jobs.get(jobs.uri(f"captured/{way}/{path}"))) for way in ("input", "output")
    ]
    assert listed == [
        [{"prefix": jobs.uri("input/")}, "a.csv"],
        [{"prefix": jobs.uri("output/")}, "a.csv.out"],
    ]
    rows = [row.split(",") for row in jobs.get(jobs.uri("output/a.csv.out")).decode().splitlines()]
    assert [row[0] for row in rows] == ["<1>", "<2>"]
    assert {row[2] for row in rows} == {f"{hour:%Y-%m-%dT%H:%M:%SZ}"}
    assert len({uuid.UUID(row[1]) for row in rows}) == 2


def test_an_object_may_go_in_chunks(jobs: Jobs, model: str) -> None:
    body = bytes(3 * 1024**2 + 1)
    jobs.put("input/large", body)
    jobs.put("input/none", "")
    described = jobs.transformed(jobs.transform(model, {"MaxPayloadInMB": 0}, SplitType="Line"))
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert jobs.get(jobs.uri("output/large.out")) == said("- chunked", body)
    assert jobs.get(jobs.uri("output/none.out")) == b""


def test_a_container_with_strange_wishes_fails_the_job(jobs: Jobs) -> None:
    model = jobs.put_model({"preferred.json": '{"MaxPayloadInMB": "many"}'})
    jobs.put("input/a", "one")
    assert jobs.transformed(jobs.transform(model))["FailureReason"] == (
        'AlgorithmError: /execution-parameters: {"MaxPayloadInMB": "many"}: ValueError: '
        "invalid literal for int() with base 10: 'many'"
    )


def test_the_objects_are_dealt_out_to_the_instances(jobs: Jobs, model: str) -> None:
    for name in "abc":
        jobs.put(f"input/{name}", "environment")
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    name = jobs.transform(model, {"TransformResources": resources})
    described = jobs.transformed(name)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    seen = [json.loads(jobs.get(jobs.uri(f"output/{name}.out"))) for name in "abc"]
    folders = [environment["SAGEMAKER_BASE_DIR"] for environment in seen]
    assert folders[0] == folders[2]
    assert [Path(folder).parent.name for folder in folders] == ["algo-1", "algo-2", "algo-1"]
    assert len(jobs.folders(name)) == 2


def test_no_more_models_are_started_than_there_are_objects(jobs: Jobs, model: str) -> None:
    jobs.put("input/a", "one")
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 3}
    name = jobs.transform(model, {"TransformResources": resources})
    assert jobs.transformed(name)["TransformJobStatus"] == "Completed"
    assert len(jobs.folders(name)) == 1


def test_a_pipeline_hands_answers_on(jobs: Jobs, model: str) -> None:
    container = jobs.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
    pipeline = jobs.new_name("model")
    jobs.sagemaker.create_model(
        ModelName=pipeline, Containers=[container, container], ExecutionRoleArn=ROLE
    )
    jobs.put("input/a", "one")
    jobs.put("input/b", "two")
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    output = {"S3OutputPath": jobs.uri("output"), "Accept": "text/plain"}
    changes = {"TransformResources": resources, "TransformOutput": output}
    name = jobs.transform(pipeline, changes)
    described = jobs.transformed(name)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert jobs.get(jobs.uri("output/b.out")) == said("text/plain", said("-", b"two"))
    assert [folder.name for folder in sorted(jobs.folders(name))] == [
        "algo-1-container-1",
        "algo-1-container-2",
        "algo-2-container-1",
        "algo-2-container-2",
    ]
    request = jobs.transform_request(jobs.new_name("refused"), pipeline)
    _, message = refusal(jobs.sagemaker.create_transform_job, **request, MaxPayloadInMB=0)
    assert message == (
        "not implemented by matinee: MaxPayloadInMB 0 with a model of several containers"
    )


def test_the_data_log_tells_what_was_done(
    jobs: Jobs, model: str, object_store: ObjectStore
) -> None:
    jobs.put("input/a", "bad")
    name = jobs.transform(model)
    jobs.transformed(name)
    logs = object_store.session.client("logs", endpoint_url=jobs.server.endpoint)
    group = "/aws/sagemaker/TransformJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
    names = [stream["logStreamName"] for stream in streams["logStreams"]]
    assert [name.split("/")[1].rpartition("-")[0] for name in names] == ["algo-1", "data-log"]
    events = logs.get_log_events(logGroupName=group, logStreamName=names[1])["events"]
    logs.close()
    assert [event["message"].partition(":[sagemaker logs]: ")[2] for event in events] == [
        "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD",
        f"{jobs.bucket}/{jobs.prefix}/input/a: Received client error (400) from the model with "
        'message "unable to evaluate payload provided"',
    ]


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
        f"ClientError: model data {uri}: member '../outside' would lie outside of the archive, "
        "or cannot be a file's name"
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


def test_the_next_server_finds_all_instances(mortal: Jobs) -> None:
    model = mortal.put_model({})
    mortal.put("input/a", "hold")
    mortal.put("input/b", "hold on")
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    name = mortal.transform(model, {"TransformResources": resources})
    until(lambda: len(mortal.folders(name)) == 2)
    folders = mortal.folders(name)
    mortal.server.end(signal.SIGKILL)
    running = [processes(folder) for folder in folders]
    assert all(running)
    mortal.server.start()
    for folder in folders:
        (folder.parent / f"work/{folder.name}/ml/model/go").touch()
    described = mortal.transformed(name)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")
    assert mortal.get(mortal.uri("output/b.out")) == said("-", b"hold on")
    until(lambda: not any(processes(folder) for folder in folders))


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
        ({"MaxPayloadInMB": 0, "DataProcessing": {"JoinSource": "Input"}}, "MaxPayloadInMB 0 with"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "is over 100 MB"),
        ({"BatchStrategy": "SingleRecord"}, "BatchStrategy SingleRecord needs SplitType"),
        ({"DataProcessing": {"InputFilter": "$[0]"}}, "ContentType None has no records to filter"),
        (
            {"DataProcessing": {"OutputFilter": "$..a"}},
            'Invalid OutputFilter: "$..a". Unexpected "." in JsonPath at character 3',
        ),
        (
            {"DataCaptureConfig": {"DestinationS3Uri": "https://b/k"}},
            "DataCaptureConfig.DestinationS3Uri",
        ),
        (
            {"TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 101}},
            "InstanceCount 101 is over 100",
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


@pytest.mark.parametrize(
    ("transform_input", "output", "processing", "said"),
    [
        (
            {"ContentType": "text/csv", "SplitType": "Line"},
            {"Accept": "text/csv"},
            {"JoinSource": "Input"},
            "SplitType Line and AssembleWith None must both be Line",
        ),
        (
            {"ContentType": "application/jsonlines", "SplitType": "Line"},
            {"Accept": "application/jsonlines"},
            {"JoinSource": "Input"},
            "SplitType Line and AssembleWith None must be the same",
        ),
        (
            {"ContentType": "text/csv", "SplitType": "Line"},
            {"Accept": "application/json", "AssembleWith": "Line"},
            {"JoinSource": "Input"},
            "Accept 'application/json' must be the ContentType 'text/csv'",
        ),
        (
            {"ContentType": "text/csv", "SplitType": "Line"},
            {},
            {"InputFilter": "$.id"},
            'Invalid InputFilter: "$.id". Unexpected "i" in JsonPath at character 3',
        ),
        (
            {"ContentType": "text/csv"},
            {"Accept": "image/png"},
            {"OutputFilter": "$[0]"},
            "Accept 'image/png' has no records to filter or join",
        ),
        ({"ContentType": "text/cßv"}, {}, {}, "cannot be the value of a header"),
    ],
)
def test_filters_and_joins_must_fit_the_formats(
    jobs: Jobs,
    model: str,
    transform_input: dict[str, str],
    output: dict[str, str],
    processing: dict[str, str],
    said: str,
) -> None:
    request = jobs.transform_request(jobs.new_name("refused"), model, **transform_input)
    request["TransformOutput"] |= output
    code, message = refusal(
        jobs.sagemaker.create_transform_job, **request, DataProcessing=processing
    )
    assert code == "ValidationException"
    assert said in message


def test_an_augmented_manifest_is_refused(jobs: Jobs, model: str) -> None:
    request = jobs.transform_request(jobs.new_name("refused"), model)
    request["TransformInput"]["DataSource"]["S3DataSource"]["S3DataType"] = "AugmentedManifestFile"
    _, message = refusal(jobs.sagemaker.create_transform_job, **request)
    assert message.endswith("not compatible with transform jobs; use ManifestFile or S3Prefix")


def test_a_built_in_algorithm_takes_no_chunks(jobs: Jobs, model: str) -> None:
    described = jobs.sagemaker.describe_model(ModelName=model)["PrimaryContainer"]
    image = "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
    name = jobs.new_name("model")
    jobs.sagemaker.create_model(
        ModelName=name, PrimaryContainer={**described, "Image": image}, ExecutionRoleArn=ROLE
    )
    request = jobs.transform_request(jobs.new_name("refused"), name)
    _, message = refusal(jobs.sagemaker.create_transform_job, **request, MaxPayloadInMB=0)
    assert message == (
        "MaxPayloadInMB 0 (HTTP chunked encoding) is not supported by the algorithm "
        "factorization-machines"
    )
