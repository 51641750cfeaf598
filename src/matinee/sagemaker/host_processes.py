"""The processes of a job's hosts: waited for together, ended together, judged together.

A host that fails ends the others, which get their grace to save what they can. Why the job failed
is what the host that failed first says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from matinee.sagemaker import containers
from matinee.sagemaker.failures import REASON_LIMIT, HostLostError, JobFailedError
from matinee.sagemaker.jobs import Job
from matinee.sagemaker.machine import host
from matinee.sagemaker.machine.compute import ComputeError, Phase, Placement, Status
from matinee.sagemaker.machine.interface import LostPlaceError, NoCapacityError
from matinee.sagemaker.monitoring import log_events
from matinee.sagemaker.states import KINDS

_FAULTS = ("ClientError", "AlgorithmError", "InternalServerError")
# One process is waited for without looking again; of several each is looked at in turn.
_LOOK_SECONDS, _TURN_SECONDS = 1.0, 0.05


def place(job: Job, names: Sequence[str]) -> Placement:
    """Return where the hosts run, as soon as there is room for all of them.

    Raises
    ------
    JobFailedError
        There was none for too long, or they cannot run there.
    StopRequested, ServerClosing
    """
    try:
        while (placement := job.context.compute.place(job.folder, names)) is None:
            job.check()
    except NoCapacityError as error:
        raise JobFailedError(f"CapacityError: {error}") from error
    except ComputeError as error:
        raise failure(error) from error
    return placement


def failure(error: ComputeError) -> JobFailedError:
    """Return the end of a job whose process could not be started."""
    kind = HostLostError if isinstance(error, LostPlaceError) else JobFailedError
    return kind(f"InternalServerError: {error}")


def wait(job: Job, tend: Callable[[], None] = lambda: None) -> None:
    """Return when every process has ended; one that fails ends the others.

    Parameters
    ----------
    job
        The job.
    tend
        Called about once a second; what it raises ends the wait.

    Raises
    ------
    ServerClosing
        This server ends first.
    """
    compute = job.context.compute
    folders = [job.host_folder(name) for name in job.resource.private["hosts"]]
    seconds = _LOOK_SECONDS if len(folders) == 1 else _TURN_SECONDS
    told, tend_at = False, monotonic()
    while running := [path for path in folders if _is_running(compute.status(path))]:
        job.raise_if_closing()
        if monotonic() >= tend_at:
            tend()
            tend_at = monotonic() + _LOOK_SECONDS
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
        job.context.compute.stop(job.host_folder(name))


def have_started(job: Job) -> bool:
    """Return whether any process was started."""
    return any(status.phase is not Phase.ABSENT for status in _statuses(job).values())


def have_timed_out(job: Job) -> bool:
    """Return whether the time limit has ended a process."""
    return any(status.cause == "timed out" for status in _statuses(job).values())


def check_ends(job: Job) -> None:
    """Judge how the processes have ended.

    Raises
    ------
    JobFailedError
        One has failed; the reason is that of the host that failed first. The time limit is no
        failure.
    HostLostError
        One is gone without an exit.
    """
    ends = _statuses(job)
    interrupted = f"the {KINDS[job.kind].words} was interrupted"
    if lost := [name for name, status in ends.items() if status.phase is Phase.LOST]:
        detail = ends[lost[0]].detail or (
            "its process is gone and left no exit code (the machine restarted, or the process was "
            "killed)"
        )
        raise HostLostError(f"InternalServerError: {_of_host(job, lost[0])}{interrupted}: {detail}")
    # Whatever ended first ended the others, by a signal or because they missed it.
    wrong = [name for name, end in ends.items() if (end.cause, end.code) != ("exited", 0)]
    if not wrong:
        return
    first = min(wrong, key=lambda name: (job.host_folder(name) / host.EXIT).stat().st_mtime)
    if ends[first].cause == "exited":
        raise JobFailedError(_reason(job, first, ends[first].code))
    if ends[first].cause == "stopped":
        raise JobFailedError(
            f"InternalServerError: {_of_host(job, first)}{interrupted}: its process was told to "
            f"end, but not by Stop{job.kind} (the machine or the local services were shut down)"
        )


def _statuses(job: Job) -> dict[str, Status]:
    status = job.context.compute.status
    return {name: status(job.host_folder(name)) for name in job.resource.private["hosts"]}


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
        said = f"the last line of the log: {events[-1][1]}" if events else "the log is empty"
        text = f"no failure file; {said}"
    fault, _, rest = text.partition(":")
    if fault not in _FAULTS:
        fault, rest = "AlgorithmError", text
    # The end of a long reason is cut off, and the code is worth more than that.
    ending = f", exit code: {code}"
    return f"{fault}: {_of_host(job, name)}{rest.strip()}"[: REASON_LIMIT - len(ending)] + ending
