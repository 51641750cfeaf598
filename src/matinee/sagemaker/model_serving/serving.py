"""A model behind HTTP: its data delivered, its images' ``serve`` processes started and healthy.

A job may have several instances, and its model several containers: each container of each instance
is a process of its own, known by the name of its folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matinee.sagemaker import containers, failures
from matinee.sagemaker.context import Context
from matinee.sagemaker.data.objects import UnreachableError
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job, work_folder
from matinee.sagemaker.machine import commands, compute
from matinee.sagemaker.machine.commands import NOTHING
from matinee.sagemaker.machine.compute import Phase
from matinee.sagemaker.model_serving import model_data
from matinee.sagemaker.model_serving.model_data import ModelDataError
from matinee.sagemaker.model_serving.model_server import HOST, ModelServer, Pipeline, free_port
from matinee.sagemaker.monitoring import log_events

GRACE_SECONDS = 30.0
# SageMaker Developer Guide: a container that does not answer pings in time fails.
HEALTH_SECONDS = 240
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5
_PORT_FILE = "port"

Container = Mapping[str, Any]


def processes(instance: str, count: int) -> list[str]:
    """Return the names of the processes of an instance's containers."""
    if count == 1:
        return [instance]
    return [f"{instance}-container-{number}" for number in range(1, count + 1)]


def serving(
    job: Job,
    instances: Sequence[str],
    model: Sequence[Container],
    environment: Mapping[str, str],
    timeout_seconds: float,
) -> list[Pipeline]:
    """Return the healthy servers of a job's model, by instance: those that run, or else new ones.

    Parameters
    ----------
    job
        Whose processes they are.
    instances
        Their names.
    model
        The containers of a SageMaker model: Image, model data, Environment.
    environment
        What the job adds to the containers' environments.
    timeout_seconds
        For the answer to an invocation.

    Raises
    ------
    JobFailedError
        The model cannot be had, or one of its processes ended or never answered.
    StopRequested, ServerClosing
    """
    names = [processes(instance, len(model)) for instance in instances]
    for container, same in zip(model, zip(*names, strict=True), strict=True):
        absent = [
            name for name in same if compute.status(job.host_folder(name)).phase is Phase.ABSENT
        ]
        if absent:
            _deliver_model(job, container, absent)
        for name in absent:
            base, port = containers.base_folder(job, name), free_port()
            (base / _PORT_FILE).write_text(str(port))
            start(
                job.context,
                job.host_folder(name),
                container,
                base=base,
                role=job.resource.private["role"],
                port=port,
                environment=environment,
            )
    job.check()
    pipelines = []
    for group in names:
        servers = [ModelServer(_port(job, name), timeout_seconds) for name in group]
        for name, server in zip(group, servers, strict=True):
            _wait_until_healthy(job, name, server)
        pipelines.append(Pipeline(servers))
    return pipelines


def _wait_until_healthy(job: Job, name: str, server: ModelServer) -> None:
    pause, waited = _FIRST_PAUSE_SECONDS, 0.0
    while not server.is_healthy():
        refuse_ended(job, [name])
        if waited > HEALTH_SECONDS:
            raise JobFailedError(
                f"AlgorithmError: the model server did not answer /ping with 200 within "
                f"{HEALTH_SECONDS} s"
            )
        job.wait_for_change(job.changes, pause)
        job.check()
        waited, pause = waited + pause, min(1.5 * pause, _LONGEST_PAUSE_SECONDS)


def refuse_ended(job: Job, names: Sequence[str], patience_seconds: float = 0.0) -> None:
    """Fail the job if one of its serve processes does not run any more.

    Parameters
    ----------
    job
        Whose processes they are.
    names
        Which ones.
    patience_seconds
        How long to wait for the end of one that was heard to break off.

    Raises
    ------
    JobFailedError
    StopRequested
        It was ended by a stop of the job.
    """
    for name in names:
        folder = job.host_folder(name)
        status = compute.wait(folder, patience_seconds)
        if status.phase is Phase.RUNNING:
            continue
        job.check()
        if status.phase is Phase.LOST or status.cause == "stopped":
            raise JobFailedError(
                "InternalServerError: the model server was interrupted (the machine restarted, the "
                "local services were shut down, or the process was killed)"
            )
        events = log_events.read(folder)
        last = f"; the last line of its log: {events[-1][1]}" if events else ""
        raise JobFailedError(
            f"AlgorithmError: the model server ended with exit code {status.code}{last}"
        )


def end(job: Job, names: Sequence[str]) -> None:
    """End the job's serve processes, and return when they have ended."""
    for name in names:
        compute.stop(job.host_folder(name))
    for name in names:
        containers.wait_for_end(job, name)


def _port(job: Job, name: str) -> int:
    return int((containers.base_folder(job, name) / _PORT_FILE).read_text())


def _deliver_model(job: Job, container: Container, names: Sequence[str]) -> None:
    """Give the model data of a container to several processes; they are fetched once."""
    first, *others = [containers.base_folder(job, name) for name in names]
    for folder in (first, *others):
        shutil.rmtree(folder, ignore_errors=True)
    objects = job.context.objects_for(job.resource.private["role"])
    work = work_folder(job.folder)
    work.mkdir(parents=True, exist_ok=True)
    try:
        model_data.deliver(objects, container, first / "model", scratch=work, check=job.check)
    except ModelDataError as error:
        cause = error.__cause__
        fault = "InternalServerError" if isinstance(cause, UnreachableError) else "ClientError"
        raise JobFailedError(f"{fault}: {error}") from error
    for folder in others:
        shutil.copytree(first / "model", folder / "model")


def start(
    context: Context,
    folder: Path,
    container: Container,
    *,
    base: Path,
    role: str,
    port: int,
    environment: Mapping[str, str] = NOTHING,
) -> None:
    """Start the serve process of a container.

    Parameters
    ----------
    context
        The server's surroundings.
    folder
        The process's own, for ``compute``.
    container
        Of a SageMaker model.
    base
        Its ``/opt/ml``.
    role
        ARN of the model's role; empty: it has none.
    port
        Where it shall listen.
    environment
        What is added to the container's.

    Raises
    ------
    JobFailedError
        The image is not there to serve, or S3 gives no credentials of the role.
    compute.ComputeError
        The process cannot be started.
    """
    image = container["Image"]
    algorithm = failures.algorithm_of(image, context.algorithms)
    if not algorithm.serve:
        raise JobFailedError(f"ClientError: image {image!r} is registered without a serve command")
    compute.start(
        folder,
        algorithm.serve,
        directory=base,
        environment={
            **containers.environment(context, base, role),
            **container.get("Environment", {}),
            **environment,
            commands.BASE_DIRECTORY: str(base),
            # Last: nobody's setting may open the process to the network.
            "MATINEE_BIND_HOST": HOST,
            "SAGEMAKER_BIND_TO_PORT": str(port),
        },
        limit_seconds=None,
        grace_seconds=GRACE_SECONDS,
    )
