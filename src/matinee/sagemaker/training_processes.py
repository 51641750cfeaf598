"""The processes of a training job's hosts: started together, ended together, judged together.

A host that fails ends the others, which get their grace to save what they can. A process that runs
already is left alone, so a server may begin where another one was interrupted: never does a host
train twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from matinee.sagemaker import (
    algorithms,
    compute,
    containers,
    failures,
    host,
    hosts,
    log_events,
    pipes,
    training_inputs,
)
from matinee.sagemaker.commands import Command
from matinee.sagemaker.compute import ComputeError, Phase, Status
from matinee.sagemaker.failures import REASON_LIMIT, JobFailedError
from matinee.sagemaker.jobs import Job
from matinee.sagemaker.states import State

GRACE_SECONDS = 120.0
_FAULTS = ("ClientError", "AlgorithmError", "InternalServerError")
# One process is waited for without looking again; of several each is looked at in turn.
_LOOK_SECONDS, _TURN_SECONDS = 1.0, 0.05


def start(job: Job) -> None:
    """Start the processes that have not been started yet, and those that feed their pipes.

    Raises
    ------
    JobFailedError
        One cannot be started.
    """
    document = job.resource.document
    names = hosts.names(document["ResourceConfig"])
    command = _command(job)
    addresses = hosts.addresses(job.resource.private["folder"], names)
    try:
        for name in names:
            if compute.status(job.host_folder(name)).phase is Phase.ABSENT:
                compute.start(
                    job.host_folder(name),
                    command,
                    directory=containers.base_folder(job, name),
                    environment=_environment(job, name, addresses),
                    limit_seconds=max(1.0, seconds_left(document)),
                    grace_seconds=GRACE_SECONDS,
                    addresses=addresses if len(names) > 1 else {},
                    has_network=not document["EnableNetworkIsolation"],
                )
        for name in names:
            folder, host_folder = training_inputs.feeder_folder(job, name), job.host_folder(name)
            if compute.status(host_folder).phase is Phase.RUNNING:
                with failures.object_failures():
                    pipes.start(folder, host_folder, training_inputs.objects_of(job).settings)
    except ComputeError as error:
        raise JobFailedError(f"InternalServerError: {error}") from error


def _command(job: Job) -> Command:
    specification = job.resource.document["AlgorithmSpecification"]
    image = specification["TrainingImage"]
    try:
        return failures.algorithm_of(image, job.context.algorithms).command(
            "train",
            specification.get("ContainerEntrypoint", ()),
            specification.get("ContainerArguments", ()),
        )
    except algorithms.NoCommandError as error:
        raise JobFailedError(f"ClientError: the image {image!r} {error}") from error


def _environment(job: Job, name: str, addresses: Mapping[str, str]) -> dict[str, str]:
    resource, folder = job.resource, containers.base_folder(job, name)
    document = resource.document
    with failures.object_failures():
        environment = containers.environment(job.context, folder, document["RoleArn"])
    environment |= {
        containers.DATA_CACHE: str(job.context.folder / "data"),
        **document.get("Environment", {}),
        containers.BASE_DIRECTORY: str(folder),
        "TRAINING_JOB_NAME": resource.name,
        "TRAINING_JOB_ARN": resource.arn,
        "SM_HOSTS": json.dumps(list(addresses)),
        "SM_CURRENT_HOST": name,
    }
    if len(addresses) > 1:
        environment["MATINEE_HOSTS"] = json.dumps(addresses)
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


def wait(job: Job, tend: Callable[[], None]) -> None:
    """Return when every process has ended; one that fails ends the others.

    Parameters
    ----------
    job
        The job.
    tend
        Called from time to time.

    Raises
    ------
    ServerClosing
        This server ends first.
    """
    folders = [job.host_folder(name) for name in job.resource.private["hosts"]]
    seconds = _LOOK_SECONDS if len(folders) == 1 else _TURN_SECONDS
    told = False
    while running := [path for path in folders if _is_running(compute.status(path))]:
        job.raise_if_closing()
        tend()
        compute.wait(running[0], seconds)
        # Waiting for the first host must not hide another's failure.
        ended = [compute.status(path) for path in folders if path not in running]
        if not told and any(map(_has_failed, ended)):
            told = True
            for path in running:
                compute.stop(path)


def _is_running(status: Status) -> bool:
    return status.phase is Phase.RUNNING


def _has_failed(status: Status) -> bool:
    # At their time limit all of them end by themselves.
    return status.phase is Phase.LOST or (status.cause == "exited" and status.code != 0)


def stop(job: Job) -> None:
    """Tell every process to end."""
    for name in job.resource.private["hosts"]:
        compute.stop(job.host_folder(name))


def end_feeders(job: Job) -> list[pipes.FeederError]:
    """End what feeds the pipes of hosts that have ended; return why some had ended before."""
    errors = []
    for name in job.resource.private["hosts"]:
        try:
            pipes.end(training_inputs.feeder_folder(job, name))
        except pipes.FeederError as error:
            errors.append(error)
    return errors


def check_ends(job: Job) -> None:
    """Judge how the processes have ended.

    Raises
    ------
    JobFailedError
        The training has failed; the reason is that of the host that failed first. The time limit
        is no failure.
    """
    if unfed := end_feeders(job):
        raise JobFailedError(str(unfed[0])) from unfed[0]
    ends = {name: compute.status(job.host_folder(name)) for name in job.resource.private["hosts"]}
    if lost := [name for name, status in ends.items() if status.phase is Phase.LOST]:
        raise JobFailedError(
            f"InternalServerError: {_of_host(job, lost[0])}the training process was interrupted: "
            "it is gone and left no exit code (the machine restarted, or the process was killed)"
        )
    # Whatever ended first ended the others, by a signal or because they missed it.
    wrong = [name for name, end in ends.items() if (end.cause, end.code) != ("exited", 0)]
    if not wrong:
        return
    first = min(wrong, key=lambda name: _ended_at(job, name))
    if ends[first].cause == "exited":
        raise JobFailedError(_reason(job, first, ends[first].code))
    if ends[first].cause == "stopped":
        raise JobFailedError(
            f"InternalServerError: {_of_host(job, first)}the training process was interrupted: it "
            "was told to end, but not by StopTrainingJob (the machine or the local services were "
            "shut down)"
        )


def renew_keys(job: Job) -> None:
    """Let the feeders of pipes go on reading when the keys they have expire."""
    for name in job.resource.private["hosts"]:
        pipes.renew(
            training_inputs.feeder_folder(job, name), training_inputs.objects_of(job).settings
        )


def has_trained(job: Job) -> bool:
    """Return whether any process was started."""
    folders = [job.host_folder(name) for name in job.resource.private["hosts"]]
    return any(compute.status(path).phase is not Phase.ABSENT for path in folders)


def has_timed_out(job: Job) -> bool:
    """Return whether the time limit has ended a process."""
    folders = [job.host_folder(name) for name in job.resource.private["hosts"]]
    return any(compute.status(path).cause == "timed out" for path in folders)


def clear(job: Job) -> None:
    """Make room for another attempt: nothing runs any more, what was logged is kept.

    Raises
    ------
    ServerClosing
        This server ends before the processes do.
    """
    stop(job)
    wait(job, lambda: None)
    for name in job.resource.private["hosts"]:
        # The one that says that there was a process goes last.
        for file in (host.LAUNCH, host.EXIT, host.PROCESS):
            (job.host_folder(name) / file).unlink(missing_ok=True)


def _ended_at(job: Job, name: str) -> float:
    return (job.host_folder(name) / host.EXIT).stat().st_mtime


def _of_host(job: Job, name: str) -> str:
    return f"{name}: " if len(job.resource.private["hosts"]) > 1 else ""


def _reason(job: Job, name: str, code: int | None) -> str:
    path = containers.base_folder(job, name) / "output/failure"
    try:
        with path.open(errors="replace") as file:
            text = file.read(REASON_LIMIT).strip()
    except OSError:
        text = ""
    if not text:
        events = log_events.read(job.host_folder(name))
        text = f"no failure file; the last line of the log: {events[-1][1]}" if events else ""
    fault, _, rest = text.partition(":")
    if fault not in _FAULTS:
        fault, rest = "AlgorithmError", text
    return f"{fault}: {_of_host(job, name)}{rest.strip()}, exit code: {code}"
