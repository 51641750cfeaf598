"""What the hosts of a training job find when they start: configuration, data, checkpoints.

The folders are those of SageMaker's container contract (Developer Guide, "How Amazon SageMaker
Provides Training Information"). Nothing here is taken up half-way: a download that was interrupted
begins again with empty folders.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from matinee.sagemaker import containers, failures, host_processes
from matinee.sagemaker.data import data_hashes
from matinee.sagemaker.data.objects import (
    MANIFEST_LIMIT_BYTES,
    ObjectMissingError,
    Objects,
    contained,
    parse_uri,
)
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, work_folder
from matinee.sagemaker.machine import hosts
from matinee.sagemaker.training_jobs import channels, pipes
from matinee.sagemaker.training_jobs.channels import Channel
from matinee.sagemaker.training_jobs.checkpoints import Checkpoints

CHECKPOINT_FOLDER = "/opt/ml/checkpoints"
_FOLDERS = ("input/config", "input/data", "model", "output/data")
_GIBIBYTE = 1024**3


def deliver(job: Job) -> None:
    """Write everything that the job's hosts start with.

    Raises
    ------
    JobFailedError
        Something of its input cannot be had.
    StopRequested, ServerClosing
    """
    document = job.resource.document
    objects = objects_of(job)
    shutil.rmtree(work_folder(job.folder), ignore_errors=True)
    sources = [(channel, _items(job, channel, objects)) for channel in channels.of_job(document)]
    seen = {
        channel.name: data_hashes.of_objects(items)
        for channel, items in sources
        if channel.data_type != channels.AUGMENTED_MANIFEST
    }
    data_hashes.remember(job, "inputs", seen)
    names = hosts.names(document["ResourceConfig"])
    interfaces = host_processes.place(job, names).interfaces
    for host in names:
        folder = containers.base_folder(job, host)
        for name in _FOLDERS:
            (folder / name).mkdir(parents=True)
        own = [(channel, items) for channel, items in sources if host in channel.receivers]
        resources = hosts.resource_configuration(document["ResourceConfig"], host, interfaces[host])
        _configure(folder / "input/config", document, resources, [channel for channel, _ in own])
        _download(job, host, own, folder / "input/data", objects)
        streams = [_stream(channel, host, items) for channel, items in own if channel.is_piped]
        if streams:
            pipes.prepare(feeder_folder(job, host), folder / "input/data", streams)
        if (checkpoints := checkpoints_of(job, host)) is not None:
            with failures.object_failures():
                checkpoints.download(objects, job.check)


def objects_of(job: Job) -> Objects:
    """Return S3 as the job's role may use it."""
    return job.context.objects_for(job.resource.document["RoleArn"])


def feeder_folder(job: Job, host: str) -> Path:
    """Return the folder of the process that feeds a host's pipes."""
    return work_folder(job.folder) / host / "feeder"


def checkpoints_of(job: Job, host: str) -> Checkpoints | None:
    """Return a host's checkpoints, if the job has any."""
    configuration = job.resource.document.get("CheckpointConfig")
    if configuration is None:
        return None
    local = PurePosixPath(configuration.get("LocalPath", CHECKPOINT_FOLDER))
    folder = contained(containers.base_folder(job, host), str(local.relative_to("/opt/ml")))
    known = work_folder(job.folder) / host / "checkpoints.json"
    return Checkpoints(folder, known, configuration["S3Uri"])


def _configure(
    folder: Path,
    document: Mapping[str, Any],
    resources: Mapping[str, Any],
    own: Sequence[Channel],
) -> None:
    for name, content in (
        ("hyperparameters", document["HyperParameters"]),
        ("inputdataconfig", {channel.name: channel.configuration for channel in own}),
        ("resourceconfig", resources),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))


def _items(job: Job, channel: Channel, objects: Objects) -> list[Any]:
    """Return the objects of a channel, or the lines of its augmented manifest."""
    role = job.resource.document["RoleArn"]
    with failures.input_failures(channel.uri, region=job.context.region, role=role):
        if channel.data_type != channels.AUGMENTED_MANIFEST:
            return objects.inputs(channel.data_type, channel.uri)
        text = objects.read(*parse_uri(channel.uri), limit=MANIFEST_LIMIT_BYTES)
        lines = [line for line in text.decode(errors="replace").split("\n") if line.strip()]
        if not lines:
            raise ObjectMissingError(f"the augmented manifest {channel.uri} has no lines")
        return lines


def _download(
    job: Job,
    host: str,
    own: Sequence[tuple[Channel, list[Any]]],
    folder: Path,
    objects: Objects,
) -> None:
    document = job.resource.document
    volume = document["ResourceConfig"].get("VolumeSizeInGB", sys.maxsize)
    room = volume * _GIBIBYTE
    for channel, items in own:
        if channel.is_piped:
            continue
        role, region = document["RoleArn"], job.context.region
        try:
            with failures.input_failures(channel.uri, region=region, role=role):
                room -= channels.download(
                    channels.part(items, channel.seed, 0, *channel.shard(host)),
                    folder / channel.name,
                    objects,
                    room=room,
                    check=job.check,
                    is_read_only=channel.mode == "FastFile",
                )
        except channels.TooMuchDataError as error:
            raise JobFailedError(
                f"ClientError: channel {channel.name!r} ({channel.uri}) has {error}"
            ) from error


def _stream(channel: Channel, host: str, items: Sequence[Any]) -> dict[str, Any]:
    """Return a channel as ``pipe_feeder.py`` wants to know it."""
    augmented = channel.data_type == channels.AUGMENTED_MANIFEST
    shard, shards = channel.shard(host)
    return {
        "channel": channel.name,
        "items": list(items) if augmented else [[item.bucket, item.key] for item in items],
        "seed": channel.seed,
        "shard": shard,
        "shards": shards,
        "is_gzipped": channel.is_gzipped,
        "is_wrapped": channel.is_wrapped,
        "attributes": list(channel.attributes) if augmented else None,
    }
