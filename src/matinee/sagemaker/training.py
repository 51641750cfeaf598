"""Drive a training job: its channels to files, the algorithm's process, its model to S3.

The folders are those of SageMaker's container contract (Developer Guide, "How Amazon SageMaker
Provides Training Information"), below ``SAGEMAKER_BASE_DIR`` instead of ``/opt/ml``. A server that
takes a job up begins its download again, waits on for its process, or uploads again: never does it
train twice. Completed means that the model is in S3.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matinee.sagemaker import (
    archives,
    compute,
    containers,
    failures,
    job_metrics,
    log_events,
)
from matinee.sagemaker.compute import Phase, Status
from matinee.sagemaker.failures import REASON_LIMIT, JobFailedError
from matinee.sagemaker.jobs import FIRST_HOST, Job, StopRequested, work_folder
from matinee.sagemaker.objects import contained, join_uri
from matinee.sagemaker.states import State

GRACE_SECONDS = 120.0
_FAULTS = ("ClientError", "AlgorithmError", "InternalServerError")


def drive(job: Job) -> None:
    """Take a training job from the state it is in to its end."""
    while not (state := job.state).is_terminal:
        try:
            _STEPS[state](job)
        except StopRequested:
            continue


def _begin(job: Job) -> None:
    now = job.context.clock()
    job.move(State.DOWNLOADING, "Downloading input data", TrainingStartTime=now)


def _download(job: Job) -> None:
    folder, document = containers.base_folder(job), job.resource.document
    shutil.rmtree(work_folder(job.folder), ignore_errors=True)
    for name in ("input/config", "input/data", "model", "output/data"):
        (folder / name).mkdir(parents=True)
    _write_configuration(folder / "input/config", document)
    for channel in document.get("InputDataConfig", ()):
        _download_channel(job, channel, folder / "input/data" / channel["ChannelName"])
    job.move(State.TRAINING, "Training image download completed. Training in progress.")


def _write_configuration(folder: Path, document: Mapping[str, Any]) -> None:
    channels = {}
    for channel in document.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]
        channels[channel["ChannelName"]] = {
            "TrainingInputMode": "File",
            "S3DistributionType": source["S3DataDistributionType"],
            "RecordWrapperType": channel["RecordWrapperType"],
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
    resources = {
        "current_host": FIRST_HOST,
        "hosts": [FIRST_HOST],
        "network_interface_name": "lo",
    }
    for name, content in (
        ("hyperparameters", document["HyperParameters"]),
        ("inputdataconfig", channels),
        ("resourceconfig", resources),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))


def _download_channel(job: Job, channel: Mapping[str, Any], folder: Path) -> None:
    source, objects = channel["DataSource"]["S3DataSource"], job.context.objects
    uri, role = source["S3Uri"], job.resource.document["RoleArn"]
    with failures.input_failures(uri, region=job.context.region, role=role):
        for item in objects.inputs(source["S3DataType"], uri):
            path = contained(folder, item.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            objects.download(item.bucket, item.key, path, check=job.check)


def _train(job: Job) -> None:
    if compute.status(job.host_folder()).phase is Phase.ABSENT:
        _start(job)
        # A stop that came before there was a process to stop
        job.check()
    status = containers.wait_for_end(job)
    job.check()
    _refuse_interruption(status)
    if status.code != 0 and status.cause != "timed out":
        raise JobFailedError(_algorithm_failure(job, status.code))
    job.move(State.UPLOADING, "Uploading generated training model")


def _start(job: Job) -> None:
    resource, folder = job.resource, containers.base_folder(job)
    document = resource.document
    image = document["AlgorithmSpecification"]["TrainingImage"]
    algorithm = failures.algorithm_of(image, job.context.algorithms)
    environment = {
        **containers.environment(job.context, folder, document["RoleArn"]),
        containers.DATA_CACHE: str(job.context.folder / "data"),
        **document.get("Environment", {}),
        containers.BASE_DIRECTORY: str(folder),
        "TRAINING_JOB_NAME": resource.name,
        "TRAINING_JOB_ARN": resource.arn,
    }
    compute.start(
        job.host_folder(),
        algorithm.train,
        directory=folder,
        environment=environment,
        limit_seconds=document["StoppingCondition"]["MaxRuntimeInSeconds"],
        grace_seconds=GRACE_SECONDS,
    )


def _refuse_interruption(status: Status) -> None:
    if status.phase is Phase.LOST:
        raise JobFailedError(
            "InternalServerError: the training process was interrupted: it is gone and left no "
            "exit code (the machine restarted, or the process was killed)"
        )
    if status.cause == "stopped":
        raise JobFailedError(
            "InternalServerError: the training process was interrupted: it was told to end, but "
            "not by StopTrainingJob (the machine or the local services were shut down)"
        )


def _algorithm_failure(job: Job, code: int | None) -> str:
    path = containers.base_folder(job) / "output/failure"
    try:
        with path.open(errors="replace") as file:
            text = file.read(REASON_LIMIT).strip()
    except OSError:
        text = ""
    if not text:
        events = log_events.read(job.host_folder())
        text = f"no failure file; the last line of the log: {events[-1][1]}" if events else ""
    if not text.startswith(_FAULTS):
        text = f"AlgorithmError: {text}"
    return f"{text}, exit code: {code}"


def _upload(job: Job) -> None:
    exceeded = compute.status(job.host_folder()).cause == "timed out"
    _upload_results(job, even_empty=not exceeded)
    metrics = _final_metrics(job)
    if exceeded:
        message = "Training job runtime exceeded MaxRuntimeInSeconds provided"
        job.move(State.MAX_RUNTIME_EXCEEDED, message, FinalMetricDataList=metrics)
    else:
        job.move(State.COMPLETED, "Training job completed", FinalMetricDataList=metrics)


def _stop(job: Job) -> None:
    compute.stop(job.host_folder())
    if containers.wait_for_end(job).phase is not Phase.ABSENT:
        _upload_results(job, even_empty=False)
    job.move(State.STOPPED, "Training job stopped", FinalMetricDataList=_final_metrics(job))


def _upload_results(job: Job, *, even_empty: bool) -> None:
    folder, work = containers.base_folder(job), work_folder(job.folder)
    document = job.resource.document
    model = document["ModelArtifacts"]["S3ModelArtifacts"]
    output = join_uri(document["OutputDataConfig"]["S3OutputPath"], f"{job.name}/output")
    if even_empty or not archives.is_empty(folder / "model"):
        _pack_and_upload(job, folder / "model", work / "model.tar.gz", model)
    if not archives.is_empty(folder / "output/data"):
        name = "output.tar.gz"
        _pack_and_upload(job, folder / "output/data", work / name, join_uri(output, name))


def _pack_and_upload(job: Job, folder: Path, archive: Path, uri: str) -> None:
    try:
        archives.pack(folder, archive)
    except archives.ArchiveError as error:
        raise JobFailedError(f"AlgorithmError: {folder.name}: {error}") from error
    with failures.object_failures():
        job.context.objects.upload(archive, uri)


def _final_metrics(job: Job) -> list[dict[str, Any]]:
    definitions = job.resource.document["AlgorithmSpecification"]["MetricDefinitions"]
    points = job_metrics.points(log_events.read(job.host_folder()), definitions)
    return [
        {
            "MetricName": point.name,
            "Value": point.value,
            "Timestamp": datetime.fromtimestamp(point.timestamp_ms / 1000, UTC),
        }
        for point in job_metrics.last(points)
    ]


_STEPS: Mapping[State, Callable[[Job], None]] = {
    State.STARTING: _begin,
    State.DOWNLOADING: _download,
    State.TRAINING: _train,
    State.UPLOADING: _upload,
    State.STOPPING: _stop,
}
