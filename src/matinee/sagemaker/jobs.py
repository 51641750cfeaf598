"""Who drives a job through its states, from its creation or from where the last server left it.

A driver is a function that reads the job's state, does what that state asks for and moves on, so
it may be started anew at any state. Each job's driver has a thread of its own. A server that starts
takes up every job that has not ended; one that closes lets go of all, and their processes run on.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.failures import REASON_LIMIT, JobFailedError
from matinee.sagemaker.machine import host
from matinee.sagemaker.machine.compute import Phase
from matinee.sagemaker.machine.interface import Compute
from matinee.sagemaker.registry import experiments
from matinee.sagemaker.states import (
    KINDS,
    TRANSITIONS,
    IllegalTransitionError,
    State,
    moved,
    state_of,
)
from matinee.sagemaker.store import Resource

log = logging.getLogger(__name__)

FIRST_HOST = "algo-1"
_RETRY_SECONDS = 5.0


class StopRequested(Exception):  # noqa: N818 - a turn of events, not an error
    """Somebody asked the job to stop; its driver goes on at the state Stopping."""


class ServerClosing(Exception):  # noqa: N818 - a turn of events, not an error
    """This server ends; the job is left for the next one to take up."""


class Job:
    """One job in the hands of its driver.

    Parameters
    ----------
    context
        The server's surroundings.
    resource
        The job as it was when it was taken up.
    runner
        Who runs it.

    Attributes
    ----------
    kind, name
        Which job.
    folder
        The job's own folder.
    """

    def __init__(self, context: Context, resource: Resource, runner: JobRunner) -> None:
        self.context = context
        self.kind = resource.kind
        self.name = resource.name
        self.folder = job_folder(context, resource)
        self._runner = runner

    @property
    def resource(self) -> Resource:
        """The job as it stands now."""
        resource = self.context.store.get(self.kind, self.name)
        if resource is None:
            raise KeyError(f"no {self.kind} {self.name!r}")
        return resource

    @property
    def state(self) -> State:
        """Where the job stands now.

        Raises
        ------
        ServerClosing
        """
        self.raise_if_closing()
        return state_of(self.resource)

    def host_folder(self, host: str = FIRST_HOST) -> Path:
        """Return the folder of one of the job's hosts: what `compute` is given."""
        return self.folder / host

    def raise_if_closing(self) -> None:
        """Raise ServerClosing if this server ends."""
        if self._runner.closing.is_set():
            raise ServerClosing

    def check(self) -> None:
        """Raise StopRequested or ServerClosing if the driver should not go on."""
        if self.state is State.STOPPING:
            raise StopRequested

    def move(self, state: State, message: str = "", **changes: Any) -> None:
        """Record a transition.

        Raises
        ------
        StopRequested
            Somebody asked the job to stop meanwhile.
        IllegalTransitionError
            The table does not have it.
        ServerClosing
        """
        self.raise_if_closing()

        def change(resource: Resource) -> Resource:
            current = state_of(resource)
            if current is State.STOPPING and state not in {current, *TRANSITIONS[current]}:
                raise StopRequested
            now = self.context.clock()
            return moved(resource, state, now=now, message=message, changes=changes)

        self.context.store.update(self.kind, self.name, change)
        self._runner.announce()

    def describe(self, **changes: Any) -> None:
        """Change members of the job's description, whatever state it is in.

        Raises
        ------
        ServerClosing
        """
        self.raise_if_closing()

        def change(resource: Resource) -> Resource:
            now = self.context.clock()
            return moved(resource, state_of(resource), now=now, message="", changes=changes)

        self.context.store.update(self.kind, self.name, change)
        self._runner.announce()

    @property
    def changes(self) -> int:
        """How many changes of any job's state this server has seen."""
        return self._runner.changes

    def wait_for_change(self, seen: int, seconds: float) -> None:
        """Return when there were more changes than those seen, or the time is over."""
        self._runner.wait_for_change(seen, seconds)


Driver = Callable[[Job], None]


class JobRunner:
    """Runs every job's driver in a thread of its own.

    Parameters
    ----------
    drivers
        By kind of job.
    """

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self.closing = threading.Event()
        self._drivers = drivers
        self._changed = threading.Condition()
        self.changes = 0
        self._threads: dict[Path, threading.Thread] = {}
        self._context: Context | None = None

    def start(self, context: Context) -> None:
        """Take up every job that has not ended, and remove what ended ones left behind."""
        self._context = context
        unfinished = [
            resource
            for kind in self._drivers
            for resource in context.store.find(kind, statuses=("InProgress", "Stopping"))
        ]
        _remove_leftovers(context, {resource.private["folder"] for resource in unfinished})
        for resource in unfinished:
            log.info("taking up %s %s (%s)", resource.kind, resource.name, state_of(resource))
            experiments.enrol(context, resource)
            self.submit(resource)

    def submit(self, resource: Resource) -> None:
        """Drive a job that is in the store."""
        if self._context is None:
            raise RuntimeError("the runner is not started")
        job = Job(self._context, resource, self)
        name = f"{job.kind} {job.name}"
        thread = threading.Thread(target=self._run, args=(job,), name=name, daemon=True)
        # The thread takes itself out again, and must not do so before it is in.
        with self._changed:
            thread.start()
            self._threads[job.folder] = thread

    def stop(self, kind: str, name: str) -> None:
        """Ask a job to stop; one that is stopping already stays as it is.

        Raises
        ------
        KeyError
            There is no such job.
        IllegalTransitionError
            It has ended.
        """
        if self._context is None:
            raise RuntimeError("the runner is not started")
        now = self._context.clock()

        def change(resource: Resource) -> Resource:
            message = f"Stopping the {KINDS[kind].words}"
            return moved(resource, State.STOPPING, now=now, message=message, changes={})

        resource = self._context.store.update(kind, name, change)
        for folder in host_folders(job_folder(self._context, resource)):
            self._context.compute.stop(folder)
        self.announce()

    def remove(self, resource: Resource) -> None:
        """Remove all that an ended job left on this machine; it is in the store no more.

        While its driver still clears away what ran, the driver does it.
        """
        if self._context is None:
            raise RuntimeError("the runner is not started")
        folder = job_folder(self._context, resource)
        with self._changed:
            is_driven = folder in self._threads
        if not is_driven:
            shutil.rmtree(folder, ignore_errors=True)

    def shutdown(self, timeout_seconds: float = 5.0) -> None:
        """Let go of all jobs; their processes run on, for the next server to take up."""
        self.closing.set()
        self.announce()
        with self._changed:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(timeout_seconds / len(threads))

    def announce(self) -> None:
        """Wake whoever waits for a change."""
        with self._changed:
            self.changes += 1
            self._changed.notify_all()

    def wait_for_change(self, seen: int, seconds: float) -> None:
        """Return when there were more changes than those seen, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.changes != seen, timeout=seconds)

    def _run(self, job: Job) -> None:
        try:
            self._drive(job)
        finally:
            with self._changed:
                del self._threads[job.folder]
        # After that, or a deletion at this moment would leave the folder to this driver for ever.
        if _left_of(job) is None:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _drive(self, job: Job) -> None:
        try:
            self._drivers[job.kind](job)
        except ServerClosing:
            return
        except JobFailedError as error:
            self._fail(job, str(error))
        except Exception as error:
            log.exception("the driver of %s %s broke", job.kind, job.name)
            self._fail(job, f"InternalServerError: {type(error).__name__}: {error}")
        left = _left_of(job)
        if left is None or state_of(left).is_terminal:
            self._clear(job.context.compute, job.folder)

    def _clear(self, compute: Compute, folder: Path) -> None:
        """End what still runs of an ended job, and remove what only its process needed."""
        hosts = host_folders(folder)
        for host_folder in hosts:
            compute.stop(host_folder)
        for host_folder in hosts:
            while compute.wait(host_folder, 1.0).phase is Phase.RUNNING:
                if self.closing.is_set():
                    return
        compute.release(folder)
        shutil.rmtree(work_folder(folder), ignore_errors=True)

    def _fail(self, job: Job, reason: str) -> None:
        if self.closing.is_set():
            # Whatever broke, broke because this server lets go of what the job needs.
            return
        message = f"{KINDS[job.kind].words.capitalize()} failed"
        while True:
            try:
                job.move(State.FAILED, message, FailureReason=reason[:REASON_LIMIT])
            except (IllegalTransitionError, KeyError, ServerClosing):
                return  # it has ended, or is no more
            except Exception:
                # The disk may be full, say; a job without an end would be worse than waiting.
                log.exception("%s %s: could not record %r", job.kind, job.name, reason)
                self.closing.wait(_RETRY_SECONDS)
            else:
                return


def _left_of(job: Job) -> Resource | None:
    """Return the job as it stands, or None when it was deleted."""
    left = job.context.store.get(job.kind, job.name)
    # Its name may be another job's by now.
    is_same = left is not None and job_folder(job.context, left) == job.folder
    return left if is_same else None


def job_folder(context: Context, resource: Resource) -> Path:
    """Return a job's own folder; its name is the job's id, never a caller's word."""
    name: str = resource.private["folder"]
    return context.folder / "jobs" / name


def host_folders(folder: Path) -> list[Path]:
    """Return the folders of those hosts of a job that have had a process."""
    return sorted(path.parent for path in folder.glob(f"*/{host.PROCESS}"))


def log_streams(resource: Resource) -> dict[str, str]:
    """Return a job's hosts by the names of their log streams."""
    seconds = int(resource.created.timestamp())
    return {f"{resource.name}/{name}-{seconds}": name for name in resource.private.get("hosts", ())}


def work_folder(folder: Path) -> Path:
    """Return where a job keeps what is not needed after its end."""
    return folder / "work"


def _remove_leftovers(context: Context, in_use: set[str]) -> None:
    folder = context.folder / "jobs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name in in_use:
            continue
        if work_folder(path).exists():
            for host_folder in host_folders(path):
                context.compute.stop(host_folder)
            shutil.rmtree(work_folder(path), ignore_errors=True)
        context.compute.release(path)
