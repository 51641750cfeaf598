"""Processing jobs: scripts that find their inputs at /opt/ml and leave their outputs there."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.jobs.conftest import ROLE, Jobs, processes, refusal, until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
LOCAL = "/opt/ml/processing"
ENDS = {"Completed", "Failed", "Stopped"}
SCALE = """
import json, os, pathlib, sys
base = pathlib.Path("/opt/ml/processing")
total = sum(int(path.read_text()) for path in sorted((base / "input/data").rglob("*.txt")))
(base / "output/total.txt").write_text(str(total * int(sys.argv[1])))
(base / "output/deep").mkdir()
(base / "output/deep/environment.json").write_text(json.dumps(dict(os.environ)))
(base / "output/link").symlink_to("/etc/hostname")
pathlib.Path("/opt/ml/output/message").write_text("scaled \\u00e4")
"""


def s3_input(name: str, uri: str, **changes: Any) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": f"{LOCAL}/input/{name}", "S3DataType": "S3Prefix"}
    return {"InputName": name, "S3Input": {**source, **changes}}


def s3_output(name: str, uri: str, mode: str = "EndOfJob") -> dict[str, Any]:
    place = {"S3Uri": uri, "LocalPath": f"{LOCAL}/{name}", "S3UploadMode": mode}
    return {"OutputName": name, "S3Output": place}


class Processing:
    """A caller who runs scripts."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker

    def request(self, script: str, *arguments: str, **changes: Any) -> dict[str, Any]:
        name = self.jobs.new_name("process")
        code = self.jobs.put(f"{name}/script.py", script)
        path = f"{LOCAL}/input/code/script.py"
        cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        return {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", path],
                **({"ContainerArguments": list(arguments)} if arguments else {}),
            },
            "ProcessingResources": {"ClusterConfig": cluster},
            "Environment": {"NAME": name},
            **changes,
            "ProcessingInputs": [
                s3_input("code", code),
                *changes.get("ProcessingInputs", ()),
            ],
        }

    def start(self, script: str, *arguments: str, **changes: Any) -> str:
        request = self.request(script, *arguments, **changes)
        self.sagemaker.create_processing_job(**request)
        name: str = request["ProcessingJobName"]
        return name

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_processing_job(ProcessingJobName=name)
        return answer

    def ended(self, name: str) -> dict[str, Any]:
        until(lambda: self.describe(name)["ProcessingJobStatus"] in ENDS)
        return self.describe(name)

    def run(self, script: str, *arguments: str, **changes: Any) -> dict[str, Any]:
        return self.ended(self.start(script, *arguments, **changes))

    def outputs(self, *names: str, mode: str = "EndOfJob") -> dict[str, Any]:
        return {"Outputs": [s3_output(name, self.jobs.uri(name), mode) for name in names]}

    def wait_for_line(self, name: str, line: str) -> None:
        until(lambda: line in self.jobs.log_lines(name))


@pytest.fixture
def processing(jobs: Jobs) -> Processing:
    return Processing(jobs)


@pytest.fixture
def mortal_processing(mortal: Jobs) -> Processing:
    return Processing(mortal)


def two_hosts() -> dict[str, Any]:
    return {
        "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    }


def test_a_script_reads_its_inputs_and_its_outputs_are_stored(processing: Processing) -> None:
    jobs = processing.jobs
    jobs.put("data/a.txt", "1")
    jobs.put("data/deep/b.txt", "2")
    described = processing.run(
        SCALE,
        "10",
        ProcessingInputs=[s3_input("data", jobs.uri("data/"))],
        ProcessingOutputConfig=processing.outputs("output"),
    )
    assert described["ProcessingJobStatus"] == "Completed", described.get("FailureReason")
    assert described["ExitMessage"] == "scaled \u00e4"
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert described["ProcessingOutputConfig"]["Outputs"][0]["AppManaged"] is False
    assert (
        described["ProcessingInputs"][1]["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    )
    assert described["CreationTime"] <= described["ProcessingStartTime"]
    assert described["ProcessingStartTime"] <= described["ProcessingEndTime"]
    # A link is not followed, as on AWS.
    assert jobs.stored("output") == ["output/deep/environment.json", "output/total.txt"]
    assert jobs.get(jobs.uri("output/total.txt")) == b"30"
    environment = json.loads(jobs.get(jobs.uri("output/deep/environment.json")))
    assert environment["PROCESSING_JOB_NAME"] == described["ProcessingJobName"]
    assert environment["PROCESSING_JOB_ARN"] == described["ProcessingJobArn"]


def test_the_configuration_is_in_its_folder(processing: Processing) -> None:
    described = processing.run(
        "import json\n"
        "for name in 'processingjob', 'resource':\n"
        "    print(json.dumps(json.load(open(f'/opt/ml/config/{name}config.json'))))\n"
    )
    job, resources = map(json.loads, processing.jobs.log_lines(described["ProcessingJobName"]))
    assert job["ProcessingJobArn"] == described["ProcessingJobArn"]
    assert job["AppSpecification"] == described["AppSpecification"]
    assert "ProcessingJobStatus" not in job
    assert resources["current_host"] == "algo-1"
    assert resources["hosts"] == ["algo-1"]


def test_several_hosts_share_the_work_and_know_each_other(processing: Processing) -> None:
    jobs = processing.jobs
    for letter in "abc":
        jobs.put(f"data/{letter}.txt", letter)
    script = (
        "import json, pathlib, socket\n"
        "base = pathlib.Path('/opt/ml')\n"
        "me = json.loads((base / 'config/resourceconfig.json').read_text())['current_host']\n"
        "names = sorted(path.name for path in (base / 'processing/input/data').iterdir())\n"
        "addresses = [socket.gethostbyname(f'algo-{n}') for n in (1, 2)]\n"
        "(base / 'processing/output' / me).write_text(json.dumps([names, addresses]))\n"
    )
    described = processing.run(
        script,
        ProcessingInputs=[
            s3_input("data", jobs.uri("data/"), S3DataDistributionType="ShardedByS3Key")
        ],
        ProcessingOutputConfig=processing.outputs("output"),
        ProcessingResources=two_hosts(),
    )
    assert described["ProcessingJobStatus"] == "Completed", described.get("FailureReason")
    first, second = (json.loads(jobs.get(jobs.uri(f"output/algo-{n}"))) for n in (1, 2))
    assert (first[0], second[0]) == (["a.txt", "c.txt"], ["b.txt"])
    assert first[1] == second[1]
    assert first[1][0] != first[1][1]
    assert all(address.startswith("127.") for address in first[1])


def test_a_host_that_fails_ends_the_others(processing: Processing) -> None:
    described = processing.run(
        "import json, signal, sys\n"
        "me = json.load(open('/opt/ml/config/resourceconfig.json'))['current_host']\n"
        "if me == 'algo-2':\n"
        "    sys.exit('no such column')\n"
        "signal.pause()\n",
        ProcessingResources=two_hosts(),
    )
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"] == (
        "AlgorithmError: algo-2: no failure file; the last line of the log: no such column, "
        "exit code: 1"
    )


def test_a_failure_has_the_programs_words_and_stores_nothing(processing: Processing) -> None:
    described = processing.run(
        "import pathlib, sys\n"
        "pathlib.Path('/opt/ml/output/failure').write_text('ClientError: bad column')\n"
        "pathlib.Path('/opt/ml/output/message').write_text('x' * 2000)\n"
        "pathlib.Path('/opt/ml/processing/output/half').touch()\n"
        "sys.exit(3)\n",
        ProcessingOutputConfig=processing.outputs("output"),
    )
    assert described["FailureReason"] == "ClientError: bad column, exit code: 3"
    assert described["ExitMessage"] == "x" * 1024
    assert processing.jobs.stored("output") == []


def test_a_message_that_is_no_text_fails_the_job(processing: Processing) -> None:
    described = processing.run(
        "import pathlib; pathlib.Path('/opt/ml/output/message').write_bytes(b'\\xff')"
    )
    reason = "ClientError: the file /opt/ml/output/message is not UTF-8"
    assert described["FailureReason"] == reason
    assert "ExitMessage" not in described


def test_an_input_that_is_not_there_fails_the_job(processing: Processing) -> None:
    missing = processing.jobs.uri("missing/")
    described = processing.run("", ProcessingInputs=[s3_input("data", missing)])
    assert described["FailureReason"].startswith(
        f'ClientError: No S3 objects found under S3 URL "{missing}"'
    )


def test_continuous_outputs_are_stored_while_the_job_runs(
    processing: Processing, gate: Path
) -> None:
    jobs = processing.jobs
    name = processing.start(
        "import pathlib, sys, time\n"
        "output = pathlib.Path('/opt/ml/processing/output')\n"
        "(output / 'first').write_text('1')\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
        "(output / 'first').write_text('22')\n"
        "(output / 'second').touch()\n",
        str(gate),
        ProcessingOutputConfig=processing.outputs("output", mode="Continuous"),
    )
    until(lambda: jobs.stored("output") == ["output/first"])
    assert processing.describe(name)["ProcessingJobStatus"] == "InProgress"
    gate.touch()
    assert processing.ended(name)["ProcessingJobStatus"] == "Completed"
    assert jobs.get(jobs.uri("output/first")) == b"22"
    assert jobs.stored("output") == ["output/first", "output/second"]


def test_a_stop_keeps_what_was_uploaded_continuously(processing: Processing) -> None:
    jobs = processing.jobs
    outputs = [
        s3_output("now", jobs.uri("now"), "Continuous"),
        s3_output("later", jobs.uri("later")),
    ]
    name = processing.start(
        "import pathlib, signal, sys\n"
        "base = pathlib.Path('/opt/ml/processing')\n"
        "def end(*_):\n"
        "    [(base / part / 'file').touch() for part in ('now', 'later')]\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('waiting', flush=True)\n"
        "signal.pause()\n",
        ProcessingOutputConfig={"Outputs": outputs},
    )
    processing.wait_for_line(name, "waiting")
    jobs.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert processing.ended(name)["ProcessingJobStatus"] == "Stopped"
    assert jobs.stored("now") == ["now/file"]
    assert jobs.stored("later") == []
    code, message = refusal(jobs.sagemaker.stop_processing_job, ProcessingJobName=name)
    assert code == "ValidationException"
    assert message.endswith("because the processing job is in status Stopped.")


def test_a_job_over_its_time_is_stopped(processing: Processing) -> None:
    described = processing.run(
        "import signal; signal.pause()", StoppingCondition={"MaxRuntimeInSeconds": 1}
    )
    assert described["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in described


def test_without_a_network_nothing_can_be_reached(processing: Processing) -> None:
    described = processing.run(
        "import os, socket\n"
        "port = int(os.environ['PORT'])\n"
        "try:\n"
        "    socket.create_connection(('127.0.0.1', port), 5)\n"
        "except OSError as error:\n"
        "    print('unreachable', 'AWS_SECRET_ACCESS_KEY' in os.environ)\n",
        Environment={
            "NAME": (name := processing.jobs.new_name("isolated")),
            "PORT": processing.jobs.server.endpoint.rpartition(":")[2],
        },
        NetworkConfig={"EnableNetworkIsolation": True},
    )
    assert described["ProcessingJobStatus"] == "Completed"
    assert processing.jobs.log_lines(name) == ["unreachable False"]


def test_jobs_are_listed_described_and_deleted(processing: Processing) -> None:
    jobs = processing.jobs
    name = processing.run("")["ProcessingJobName"]
    answer = jobs.sagemaker.list_processing_jobs(NameContains=name, StatusEquals="Completed")
    (summary,) = answer["ProcessingJobSummaries"]
    assert summary["ProcessingJobName"] == name
    assert {"ProcessingJobArn", "CreationTime", "ProcessingEndTime"} <= summary.keys()
    folder = jobs.folder(name)
    jobs.sagemaker.delete_processing_job(ProcessingJobName=name)
    until(lambda: not folder.exists())
    missing = f"Could not find requested job with name: {name}"
    for call, code in (
        (jobs.sagemaker.describe_processing_job, "ValidationException"),
        (jobs.sagemaker.stop_processing_job, "ResourceNotFound"),
        (jobs.sagemaker.delete_processing_job, "ResourceNotFound"),
    ):
        assert refusal(call, ProcessingJobName=name) == (code, missing)


def test_a_name_is_one_jobs_and_a_running_job_is_not_deleted(processing: Processing) -> None:
    jobs = processing.jobs
    request = processing.request("import signal; print('waiting', flush=True); signal.pause()")
    jobs.sagemaker.create_processing_job(**request)
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse, match="must be unique"):
        jobs.sagemaker.create_processing_job(**request)
    name = request["ProcessingJobName"]
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse, match="is in status InProgress"):
        jobs.sagemaker.delete_processing_job(ProcessingJobName=name)
    jobs.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert processing.ended(name)["ProcessingJobStatus"] == "Stopped"


def test_the_waiter_and_the_paginator_are_botos(processing: Processing) -> None:
    sagemaker = processing.sagemaker
    name = processing.start("")
    waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    pages = sagemaker.get_paginator("list_processing_jobs").paginate(
        NameContains="process-", PaginationConfig={"PageSize": 1}
    )
    names = [item["ProcessingJobName"] for page in pages for item in page["ProcessingJobSummaries"]]
    assert name in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"AppSpecification": {"ImageUri": "xgboost:1"}}, "Cannot find repository: xgboost"),
        (
            {"AppSpecification": {"ImageUri": "factorization-machines:1"}},
            "is registered without a process command",
        ),
        (
            {
                "AppSpecification": {
                    "ImageUri": "factorization-machines:1",
                    "ContainerEntrypoint": ["python3"],
                }
            },
            "takes no ContainerEntrypoint",
        ),
        ({"AppSpecification": {"ImageUri": IMAGE}}, "give the job a ContainerEntrypoint"),
        (
            {"ProcessingInputs": [s3_input("a", "s3://b/a", LocalPath="/opt/ml/a")]},
            "must be an absolute path that begins with /opt/ml/processing/",
        ),
        (
            {"ProcessingInputs": [s3_input("a", "s3://b/a", LocalPath=f"{LOCAL}/../../x")]},
            "must be an absolute path that begins with /opt/ml/processing/",
        ),
        (
            {"ProcessingInputs": [s3_input("a", "s3://b/a", S3CompressionType="Gzip")]},
            "S3CompressionType Gzip can only be used with S3InputMode Pipe",
        ),
        (
            {"ProcessingInputs": [s3_input("a", "s3://b/a"), s3_input("a", "s3://b/b")]},
            "InputName 'a' is there twice",
        ),
        ({"ProcessingInputs": [s3_input("a", "https://b/a")]}, "is not an S3 URI"),
        ({"ProcessingInputs": [{"InputName": "a"}]}, "must have an S3Input"),
        (
            {
                "ProcessingOutputConfig": {
                    "Outputs": [
                        {"OutputName": "a", "FeatureStoreOutput": {"FeatureGroupName": "g"}}
                    ]
                }
            },
            "not implemented by matinee: output 'a' with FeatureStoreOutput",
        ),
        (
            {
                "ProcessingResources": {
                    "ClusterConfig": {
                        "InstanceCount": 21,
                        "InstanceType": "ml.m5.large",
                        "VolumeSizeInGB": 1,
                    }
                }
            },
            "InstanceCount 21 is over 20",
        ),
        (
            {"ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 1}}},
            "must have either InstanceType or InstancePreferences",
        ),
        (
            {
                "ProcessingResources": two_hosts(),
                "NetworkConfig": {"EnableNetworkIsolation": True},
            },
            "EnableNetworkIsolation with 2 instances",
        ),
    ],
)
def test_what_cannot_run_is_refused(
    processing: Processing, changes: Mapping[str, Any], said: str
) -> None:
    request = processing.request("")
    with pytest.raises(ClientError) as caught:
        processing.sagemaker.create_processing_job(**{**request, **changes})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert said in caught.value.response["Error"]["Message"]


def test_preferred_instance_types_are_to_be_had(processing: Processing) -> None:
    cluster = {
        "VolumeSizeInGB": 1,
        "InstancePreferences": [
            {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        ],
    }
    described = processing.run("", ProcessingResources={"ClusterConfig": cluster})
    assert described["ProcessingJobStatus"] == "Completed"
    found = described["ProcessingResources"]["ClusterConfig"]
    assert found["SelectedInstanceType"] == "ml.m5.large"
    assert found["SelectedInstanceCount"] == 1


def test_what_the_application_manages_is_left_to_it(processing: Processing) -> None:
    missing = {"S3Uri": processing.jobs.uri("missing"), "S3DataType": "S3Prefix"}
    place = {"S3Uri": processing.jobs.uri("output"), "S3UploadMode": "EndOfJob"}
    described = processing.run(
        "",
        ProcessingInputs=[{"InputName": "own", "AppManaged": True, "S3Input": missing}],
        ProcessingOutputConfig={
            "Outputs": [{"OutputName": "own", "AppManaged": True, "S3Output": place}]
        },
    )
    assert described["ProcessingJobStatus"] == "Completed", described.get("FailureReason")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_outlives_its_server(
    mortal_processing: Processing, gate: Path, number: int
) -> None:
    processing, jobs = mortal_processing, mortal_processing.jobs
    name = processing.start(
        "import pathlib, sys, time\n"
        "print('waiting', flush=True)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
        "pathlib.Path('/opt/ml/processing/output/done').touch()\n",
        str(gate),
        ProcessingOutputConfig=processing.outputs("output"),
    )
    processing.wait_for_line(name, "waiting")
    before = processes(jobs.folder(name))
    jobs.server.end(number)
    assert processes(jobs.folder(name)) == before
    jobs.server.start()
    assert processing.describe(name)["ProcessingJobStatus"] == "InProgress"
    gate.touch()
    assert processing.ended(name)["ProcessingJobStatus"] == "Completed"
    assert jobs.stored("output") == ["output/done"]
    assert jobs.log_lines(name).count("waiting") == 1


def test_a_lost_process_fails_the_job(mortal_processing: Processing) -> None:
    processing, jobs = mortal_processing, mortal_processing.jobs
    name = processing.start("import signal; print('waiting', flush=True); signal.pause()")
    processing.wait_for_line(name, "waiting")
    for process in processes(jobs.folder(name)):
        process.kill()
    described = processing.ended(name)
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(
        "InternalServerError: the processing job was interrupted"
    )
