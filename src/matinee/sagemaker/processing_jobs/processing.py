"""Drive a processing job: its inputs to files, its program on each host, its outputs to S3.

The folders are those of SageMaker's processing containers (Developer Guide, "Build Your Own
Processing Container"): inputs and outputs below ``/opt/ml/processing``, settings in
``/opt/ml/config``. On a machine that can give a process its own ``/opt/ml``, they are there; on
others, and for all who ask for it, ``SAGEMAKER_BASE_DIR`` says where they are, and words of the
entrypoint, the arguments and the environment that begin with ``/opt/ml/`` are changed accordingly.
A server that takes a job up prepares it again, waits on for its processes, or uploads again: a
program is started once. Completed means that every output is in S3.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from matinee.sagemaker import containers, failures, host_processes
from matinee.sagemaker.data.objects import ObjectMissingError, Objects, contained, join_uri
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, StopRequested, work_folder
from matinee.sagemaker.machine import commands, compute
from matinee.sagemaker.machine.compute import ComputeError, Phase, Placement
from matinee.sagemaker.processing_jobs.processing_requests import (
    BASE,
    managed_inputs,
    managed_outputs,
)
from matinee.sagemaker.states import State
from matinee.sagemaker.training_jobs import channels

GRACE_SECONDS = 120.0
EXIT_MESSAGE_BYTES = 1024
_NOT_CONFIGURATION = {"CreationTime", "LastModifiedTime", "ProcessingJobStatus"}

# Of each file sent to S3 while the job runs: its time and size when it was.
_Sent = dict[Path, tuple[int, int]]


def drive(job: Job) -> None:
    """Take a processing job from where it stands to its end."""
    # There from the first step, and gone when nothing of the job is at work any more.
    work_folder(job.folder).mkdir(parents=True, exist_ok=True)
    sent: _Sent = {}
    try:
        job.check()
        placement = host_processes.place(job, _hosts(job))
        if not _ready_mark(job).exists():
            _prepare(job, placement)
        _start(job, placement)
        _run(job, sent)
    except StopRequested:
        host_processes.stop(job)
        host_processes.wait(job)
        _finish_outputs(job, sent)
        job.move(State.STOPPED)


def _hosts(job: Job) -> list[str]:
    names: list[str] = job.resource.private["hosts"]
    return names


def _ready_mark(job: Job) -> Path:
    return work_folder(job.folder) / "ready"


def _objects(job: Job) -> Objects:
    return job.context.objects_for(job.resource.document["RoleArn"])


def _local(job: Job, host: str, path: str) -> Path:
    """Return where a path in the container of a host is on this machine."""
    relative = PurePosixPath(path).relative_to(BASE)
    return contained(containers.base_folder(job, host), str(relative))


def _prepare(job: Job, placement: Placement) -> None:
    document, work = job.resource.document, work_folder(job.folder)
    shutil.rmtree(work)
    work.mkdir()
    for host in _hosts(job):
        base = containers.base_folder(job, host)
        for name in ("config", "output", "processing"):
            (base / name).mkdir(parents=True)
        for output in managed_outputs(document):
            _local(job, host, output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        _write_configuration(base / "config", job, host, placement.interfaces[host])
    volume = document["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"]
    room = dict.fromkeys(_hosts(job), volume * 1024**3)
    for source in managed_inputs(document):
        _download(job, source, room)
    _ready_mark(job).touch()


def _write_configuration(folder: Path, job: Job, host: str, interface: str) -> None:
    document, names = job.resource.document, _hosts(job)
    cluster = document["ProcessingResources"]["ClusterConfig"]
    resources = {
        "current_host": host,
        "hosts": names,
        "current_instance_type": cluster.get("InstanceType", cluster.get("SelectedInstanceType")),
        "network_interface_name": interface,
    }
    configuration = {k: v for k, v in document.items() if k not in _NOT_CONFIGURATION}
    (folder / "processingjobconfig.json").write_text(json.dumps(configuration))
    (folder / "resourceconfig.json").write_text(json.dumps(resources))


def _download(job: Job, source: Mapping[str, Any], room: dict[str, int]) -> None:
    """Give an input to the hosts, and take its size from the room each of them has left."""
    document, objects, names = job.resource.document, _objects(job), _hosts(job)
    uri, role = source["S3Uri"], document["RoleArn"]
    shards = len(names) if source["S3DataDistributionType"] == channels.SHARDED else 1
    with failures.input_failures(uri, region=job.context.region, role=role):
        items = objects.inputs(source["S3DataType"], uri)
        for number, host in enumerate(names):
            folder = _local(job, host, source["LocalPath"])
            own = channels.part(items, None, 0, number % shards, shards)
            try:
                used = channels.download(own, folder, objects, room=room[host], check=job.check)
            except channels.TooMuchDataError as error:
                raise JobFailedError(f"ClientError: {host}: {uri} has {error}") from error
            room[host] -= used


def _start(job: Job, placement: Placement) -> None:
    """Start the program on every host that has not had it yet."""
    for host in _hosts(job):
        if job.context.compute.status(job.host_folder(host)).phase is Phase.ABSENT:
            try:
                _start_host(job, host, placement)
            except ComputeError as error:
                raise host_processes.failure(error) from error
    if "ProcessingStartTime" not in job.resource.document:
        job.describe(ProcessingStartTime=job.context.clock())
    # A stop that came before there was a process to stop
    job.check()


def _start_host(job: Job, host: str, placement: Placement) -> None:
    resource, base = job.resource, containers.base_folder(job, host)
    document = resource.document
    application = document["AppSpecification"]
    command = failures.command_of(
        job.context.algorithms, "process", application["ImageUri"], application
    )
    network = document.get("NetworkConfig", {})
    is_isolated = network.get("EnableNetworkIsolation", False)
    # AWS gives a container without a network no credentials.
    with failures.object_failures():
        shared = containers.environment(
            job.context, base, "" if is_isolated else document["RoleArn"]
        )
    environment = {
        **shared,
        **placement.environment(),
        **document.get("Environment", {}),
        commands.BASE_DIRECTORY: str(base),
        "PROCESSING_JOB_NAME": resource.name,
        "PROCESSING_JOB_ARN": resource.arn,
    }
    if not command.image and not compute.can_be_in_place(job.host_folder(host)):
        words = tuple(_moved(word, base) for word in command.words)
        command = dataclasses.replace(command, words=words)
        environment = {name: _moved(value, base) for name, value in environment.items()}
    job.context.compute.start(
        job.host_folder(host),
        command,
        directory=base,
        environment=environment,
        limit_seconds=document["StoppingCondition"]["MaxRuntimeInSeconds"],
        grace_seconds=GRACE_SECONDS,
        addresses=placement.addresses,
        has_network=not is_isolated,
    )


def _moved(text: str, base: Path) -> str:
    """Return a word with a path in the container, if it is one, as the path on this machine."""
    prefix = f"{BASE}/"
    return f"{base}/{text.removeprefix(prefix)}" if text.startswith(prefix) else text


def _run(job: Job, sent: _Sent) -> None:
    """Wait for the program to end on every host, and go by how it did."""

    def tend() -> None:
        _upload(job, sent, is_last=False)
        job.check()

    host_processes.wait(job, tend)
    job.check()
    is_utf_8 = _finish_outputs(job, sent)
    host_processes.check_ends(job)
    if host_processes.have_timed_out(job):
        job.move(State.STOPPING)
        job.move(State.STOPPED)
        return
    if not is_utf_8:
        raise JobFailedError("ClientError: the file /opt/ml/output/message is not UTF-8")
    for output in managed_outputs(job.resource.document):
        _upload_output(job, output, sent)
    job.move(State.COMPLETED)


def _finish_outputs(job: Job, sent: _Sent) -> bool:
    """Keep what an ended program said and what it gave so far; return whether it spoke UTF-8."""
    texts, is_utf_8 = [], True
    for host in _hosts(job):
        with contextlib.suppress(OSError):
            path = containers.base_folder(job, host) / "output/message"
            with path.open("rb") as file:
                data = file.read(EXIT_MESSAGE_BYTES + 1)
            decoder = codecs.getincrementaldecoder("utf-8")()
            try:
                whole = len(data) <= EXIT_MESSAGE_BYTES
                texts.append(decoder.decode(data[:EXIT_MESSAGE_BYTES], final=whole))
            except UnicodeDecodeError:
                is_utf_8 = False
    if message := "".join(texts)[:EXIT_MESSAGE_BYTES]:
        job.describe(ExitMessage=message)
    _upload(job, sent, is_last=True)
    return is_utf_8


def _upload(job: Job, sent: _Sent, *, is_last: bool) -> None:
    """Send what is new of the outputs that are uploaded while the job runs."""
    for output in managed_outputs(job.resource.document):
        if output["S3UploadMode"] == "Continuous":
            # A file may be written to, or vanish, at the same time; the next look sees to it.
            unfinished = () if is_last else (ObjectMissingError, FileNotFoundError)
            _upload_output(job, output, sent, unfinished)


def _upload_output(
    job: Job,
    output: Mapping[str, Any],
    sent: _Sent,
    unfinished: tuple[type[Exception], ...] = (),
) -> None:
    objects = _objects(job)
    for host in _hosts(job):
        folder = _local(job, host, output["LocalPath"])
        for path in sorted(folder.rglob("*")):
            # Links are not followed, as on AWS.
            if path.is_symlink() or not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            if not name.isprintable():
                raise JobFailedError(
                    f"AlgorithmError: the output file {name!r} cannot be the name of an object"
                )
            with failures.object_failures(), contextlib.suppress(*unfinished):
                stat = path.stat()
                state = stat.st_mtime_ns, stat.st_size
                if sent.get(path) != state:
                    objects.upload(path, join_uri(output["S3Uri"], name))
                    sent[path] = state
