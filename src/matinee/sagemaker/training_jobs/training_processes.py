"""The processes of a training job's hosts and those that feed their pipes: their start and end.

A process that runs already is left alone, so a server may begin where another one was interrupted:
never does a host train twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker import containers, failures, host_processes
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.jobs import Job
from matinee.sagemaker.machine import commands, host, hosts
from matinee.sagemaker.machine.compute import ComputeError, Phase, Placement
from matinee.sagemaker.states import State
from matinee.sagemaker.training_jobs import pipes, training_inputs

GRACE_SECONDS = 120.0


def start(job: Job) -> None:
    """Start the processes that have not been started yet, and those that feed their pipes.

    Raises
    ------
    JobFailedError
        One cannot be started.
    """
    document = job.resource.document
    names = hosts.names(document["ResourceConfig"])
    specification = document["AlgorithmSpecification"]
    command = failures.command_of(
        job.context.algorithms, "train", specification["TrainingImage"], specification
    )
    compute, placement = job.context.compute, host_processes.place(job, names)
    try:
        for name in names:
            if compute.status(job.host_folder(name)).phase is Phase.ABSENT:
                compute.start(
                    job.host_folder(name),
                    command,
                    directory=containers.base_folder(job, name),
                    environment=_environment(job, name, placement),
                    limit_seconds=max(1.0, seconds_left(document)),
                    grace_seconds=GRACE_SECONDS,
                    addresses=placement.addresses if len(names) > 1 else {},
                    has_network=not document["EnableNetworkIsolation"],
                )
        for name in names:
            folder, host_folder = training_inputs.feeder_folder(job, name), job.host_folder(name)
            if compute.status(host_folder).phase is Phase.RUNNING:
                with failures.object_failures():
                    pipes.start(
                        compute, folder, host_folder, training_inputs.objects_of(job).settings
                    )
    except ComputeError as error:
        raise host_processes.failure(error) from error


def _environment(job: Job, name: str, placement: Placement) -> dict[str, str]:
    resource, folder = job.resource, containers.base_folder(job, name)
    document = resource.document
    with failures.object_failures():
        environment = containers.environment(job.context, folder, document["RoleArn"])
    # What one machine removes from storage that several share, another may still have mapped.
    if placement.port is None:
        environment[commands.DATA_CACHE] = str(job.context.folder / "data")
    environment |= {
        **document.get("Environment", {}),
        commands.BASE_DIRECTORY: str(folder),
        "TRAINING_JOB_NAME": resource.name,
        "TRAINING_JOB_ARN": resource.arn,
        "SM_HOSTS": json.dumps(list(placement.addresses)),
        "SM_CURRENT_HOST": name,
    }
    if len(placement.addresses) > 1:
        environment |= placement.environment()
        environment["MATINEE_JOB_SECRET"] = resource.private["secret"]
    return environment


def seconds_left(document: Mapping[str, Any]) -> float:
    """Return how much of MaxRuntimeInSeconds the attempts before this one have left."""
    limit = float(document["StoppingCondition"]["MaxRuntimeInSeconds"])
    attempts: list[float] = [
        (item["EndTime"] - item["StartTime"]).total_seconds()
        for item in document["SecondaryStatusTransitions"]
        if item["Status"] == State.TRAINING and "EndTime" in item
    ]
    return limit - sum(attempts)


def end_feeders(job: Job) -> list[pipes.FeederError]:
    """End what feeds the pipes of hosts that have ended; return why some had ended before."""
    errors = []
    for name in job.resource.private["hosts"]:
        try:
            pipes.end(job.context.compute, training_inputs.feeder_folder(job, name))
        except pipes.FeederError as error:
            errors.append(error)
    return errors


def stop_unfed(job: Job) -> None:
    """Tell every process to end if what feeds the pipes of one has broken: it would wait on."""
    folders = [training_inputs.feeder_folder(job, name) for name in job.resource.private["hosts"]]
    if any(pipes.has_failed(job.context.compute, folder) for folder in folders):
        host_processes.stop(job)


def check_ends(job: Job) -> None:
    """Judge how the processes have ended, and what fed their pipes.

    Raises
    ------
    JobFailedError
        The training has failed.
    """
    if unfed := end_feeders(job):
        raise JobFailedError(str(unfed[0])) from unfed[0]
    host_processes.check_ends(job)


def renew_keys(job: Job) -> None:
    """Let the feeders of pipes go on reading when the keys they have expire."""
    for name in job.resource.private["hosts"]:
        pipes.renew(
            training_inputs.feeder_folder(job, name), training_inputs.objects_of(job).settings
        )


def clear(job: Job) -> None:
    """Make room for another attempt: nothing runs any more, what was logged is kept.

    Raises
    ------
    ServerClosing
        This server ends before the processes do.
    """
    host_processes.stop(job)
    host_processes.wait(job)
    end_feeders(job)
    job.context.compute.release(job.folder)
    for name in job.resource.private["hosts"]:
        # The one that says that there was a process goes last.
        for file in (host.EXIT, host.PROCESS):
            (job.host_folder(name) / file).unlink(missing_ok=True)
