"""A model behind HTTP: its archive unpacked, its image's ``serve`` process started and healthy."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matinee.sagemaker import archives, compute, containers, failures, log_events
from matinee.sagemaker.compute import Phase
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, work_folder
from matinee.sagemaker.model_server import HOST, ModelServer, free_port
from matinee.sagemaker.objects import parse_uri

GRACE_SECONDS = 30.0
# SageMaker Developer Guide: a container that does not answer pings in time fails.
HEALTH_SECONDS = 240.0
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5


def serving(
    job: Job, model: Mapping[str, Any], environment: Mapping[str, str], timeout_seconds: float
) -> ModelServer:
    """Return the healthy server of a job's model: the one that runs, or else a new one.

    Parameters
    ----------
    job
        Whose process it is.
    model
        The container of a SageMaker model: Image, ModelDataUrl, Environment.
    environment
        What the job adds to the model's environment.
    timeout_seconds
        For the answer to an invocation.

    Raises
    ------
    JobFailedError
        The model cannot be had, or its process ended or never answered.
    StopRequested, ServerClosing
    """
    if compute.status(job.host_folder()).phase is Phase.ABSENT:
        _unpack_model(job, model)
        _start(job, model, environment)
    job.check()
    server = ModelServer(int(_port_file(job).read_text()), timeout_seconds)
    pause, waited = _FIRST_PAUSE_SECONDS, 0.0
    while not server.is_healthy():
        refuse_ended(job)
        if waited > HEALTH_SECONDS:
            raise JobFailedError(
                f"AlgorithmError: the model server did not answer /ping with 200 within "
                f"{HEALTH_SECONDS:.0f} s"
            )
        job.wait_for_change(job.changes, pause)
        job.check()
        waited, pause = waited + pause, min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
    return server


def refuse_ended(job: Job) -> None:
    """Fail the job if its serve process does not run any more.

    Raises
    ------
    JobFailedError
    StopRequested
        It was ended by a stop of the job.
    """
    status = compute.status(job.host_folder())
    if status.phase is Phase.RUNNING:
        return
    job.check()
    if status.phase is Phase.LOST or status.cause == "stopped":
        raise JobFailedError(
            "InternalServerError: the model server was interrupted (the machine restarted, the "
            "local services were shut down, or the process was killed)"
        )
    events = log_events.read(job.host_folder())
    last = f"; the last line of its log: {events[-1][1]}" if events else ""
    raise JobFailedError(
        f"AlgorithmError: the model server ended with exit code {status.code}{last}"
    )


def end(job: Job) -> None:
    """End the job's serve process, and return when it has ended."""
    compute.stop(job.host_folder())
    containers.wait_for_end(job)


def _port_file(job: Job) -> Path:
    return work_folder(job.folder) / "port"


def _unpack_model(job: Job, model: Mapping[str, Any]) -> None:
    work, folder = work_folder(job.folder), containers.base_folder(job) / "model"
    shutil.rmtree(work, ignore_errors=True)
    folder.mkdir(parents=True)
    if "ModelDataUrl" not in model:
        return
    uri, archive = model["ModelDataUrl"], work / "model.tar.gz"
    with failures.object_failures():
        job.context.objects.download(*parse_uri(uri), archive, check=job.check)
    try:
        archives.unpack(archive, folder)
    except archives.ArchiveError as error:
        raise JobFailedError(f"ClientError: model data {uri}: {error}") from error
    archive.unlink()


def _start(job: Job, model: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    image = model["Image"]
    algorithm = failures.algorithm_of(image, job.context.algorithms)
    if not algorithm.serve:
        raise JobFailedError(f"ClientError: image {image!r} is registered without a serve command")
    folder, port = containers.base_folder(job), free_port()
    _port_file(job).write_text(str(port))
    compute.start(
        job.host_folder(),
        algorithm.serve,
        directory=folder,
        environment={
            **containers.environment(job.context, folder, job.resource.private["role"]),
            **model.get("Environment", {}),
            **environment,
            containers.BASE_DIRECTORY: str(folder),
            # Last: nobody's setting may open the process to the network.
            "MATINEE_BIND_HOST": HOST,
            "SAGEMAKER_BIND_TO_PORT": str(port),
        },
        limit_seconds=None,
        grace_seconds=GRACE_SECONDS,
    )
