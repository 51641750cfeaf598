"""The three services together: start what is not running, stop everything, tell how it stands.

`up` and `down` hold the home's lock, so two of them never race. What a failed `up` started is
stopped again; what ran before it is left alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psutil

from matinee.stack import ports, processes
from matinee.stack.airflow import DAG_ID, Airflow
from matinee.stack.clients import client
from matinee.stack.errors import PortTakenError, StillRunningError
from matinee.stack.home import Home
from matinee.stack.sagemaker import SageMaker
from matinee.stack.seaweedfs import SeaweedFS
from matinee.stack.service import (
    POLL_S,
    REGION,
    Service,
    base_environment,
    check_progress,
)

BUCKET = "matinee"
# The console's page of recommendations, which the server imports and the stack need not.
EXPLORER = "recommendations=matinee.explorer.pages:create"


class Phase(StrEnum):
    """How a service stands while the stack starts or stops."""

    UP_ALREADY = "is already up"
    STARTING = "starts"
    WAITING = "waits for"
    READY = "is ready"
    STOPPING = "stops"
    STOPPED = "is stopped"


@dataclass(frozen=True, slots=True)
class Event:
    """A change worth showing: `detail` says what is waited for, `seconds` since its start."""

    service: str
    phase: Phase
    detail: str = ""
    seconds: float = 0.0


Observer = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: `state` is running, stopped, or what it is waiting for."""

    service: str
    state: str
    address: str
    pid: int | None
    memory: int  # bytes, proportional share (PSS) of all its processes
    uptime_s: float


class Stack:
    """The stack of one home.

    Parameters
    ----------
    home
        Where its state lies.
    surroundings
        The environment variables that its processes inherit, but for AWS's and Airflow's.
    """

    def __init__(self, home: Home, surroundings: Mapping[str, str]) -> None:
        self.home = home
        self._surroundings = surroundings
        self.seaweedfs = SeaweedFS(
            home.path / "seaweedfs", home.ports.seaweedfs, home.credentials, BUCKET
        )
        runs = f"http://127.0.0.1:{home.ports.airflow}/dags/{DAG_ID}/runs/{{}}"
        self.sagemaker = SageMaker(
            home.path / "sagemaker",
            home.ports.sagemaker,
            home.credentials_file,
            self.seaweedfs.address,
            home.console_token_file,
            console_tag_links=(f"airflow-run={runs}",),
            console_pages=(EXPLORER,),
        )
        self.airflow = Airflow(
            home.path / "airflow",
            home.ports.airflow,
            home.airflow_password,
            self.client_environment(),
        )

    @property
    def services(self) -> tuple[Service, ...]:
        """All services, each after those that it needs."""
        return (self.seaweedfs, self.sagemaker, self.airflow)

    @property
    def console_address(self) -> str:
        """Where a browser signs in to the console."""
        return f"{self.sagemaker.address}/console/sign-in?token={self.home.console_token}"

    def client_environment(self) -> dict[str, str]:
        """Return the variables by which any AWS client finds this stack."""
        return {
            "AWS_ENDPOINT_URL": self.sagemaker.address,
            "AWS_ENDPOINT_URL_S3": self.seaweedfs.address,
            "AWS_ACCESS_KEY_ID": self.home.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.home.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client of this stack."""
        endpoint = self.seaweedfs.address if service == "s3" else self.sagemaker.address
        return client(service, endpoint, self.home.credentials)

    def up(
        self,
        observe: Observer,
        on_wait: Callable[[str], None],
        services: Sequence[Service] | None = None,
    ) -> list[str]:
        """Start what is not running and return when all of it is ready.

        Parameters
        ----------
        observe
            Told of each change.
        on_wait
            Told the pid of another command that holds the lock.
        services
            Those that are needed, in the order of `services`; None: all.

        Returns
        -------
        list of str
            The services that this call started.

        Raises
        ------
        PortTakenError
            Before anything is started, when a port is somebody else's.
        ServiceFailedError
            When a service ends or is not ready in time; what this call started is stopped then.
        """
        with self.home.lock(on_wait):
            needed = self.services if services is None else services
            dead = [service for service in needed if self._process(service) is None]
            for service in dead:
                self._clear_away(service)
            for service in dead:
                self._require_ports(service)
            try:
                self._start_and_wait(needed, dead, observe)
            except BaseException:
                for service in reversed(dead):
                    self._stop(service, observe)
                raise
            return [service.name for service in dead]

    def down(self, observe: Observer, on_wait: Callable[[str], None]) -> None:
        """Stop every process of the stack, running jobs too.

        Raises
        ------
        StillRunningError
            When one of them is still there afterwards.
        """
        with self.home.lock(on_wait):
            for service in reversed(self.services):
                self._stop(service, observe)
            # A process without the mark of a service, or started while the others were stopped.
            processes.stop(processes.members(self.home.path), grace_s=2.0)
            if left := processes.members(self.home.path):
                raise StillRunningError(f"processes {[p.pid for p in left]} are still running")

    def status(self) -> list[ServiceStatus]:
        """Ask every service how it is."""
        return [self._status(service) for service in self.services]

    def _start_and_wait(
        self, needed: Sequence[Service], dead: Sequence[Service], observe: Observer
    ) -> None:
        began = time.monotonic()
        # The local SageMaker takes up interrupted jobs as it starts, and needs S3 for that.
        later = [service for service in dead if service is self.sagemaker]
        for service in dead:
            if service not in later:
                self._start(service, observe)
        waiting = [service for service in needed if service not in later]
        shown: dict[str, str] = {}
        while waiting:
            for service in waiting.copy():
                seconds = time.monotonic() - began
                missing = service.waiting_for()
                if missing is None:
                    phase = Phase.READY if service in dead else Phase.UP_ALREADY
                    observe(Event(service.name, phase, service.address, seconds))
                    waiting.remove(service)
                    if service is self.seaweedfs:
                        for late in later:
                            self._start(late, observe)
                        waiting += later
                    continue
                if shown.get(service.name) != missing:
                    observe(Event(service.name, Phase.WAITING, missing, seconds))
                    shown[service.name] = missing
                log = self.home.log(service.name)
                check_progress(service, self.home.record(service.name), log, missing, seconds)
            if waiting:
                time.sleep(POLL_S)

    def _start(self, service: Service, observe: Observer) -> None:
        observe(Event(service.name, Phase.STARTING))
        self.home.put_log_aside(service.name)
        service.prepare()
        environment = base_environment(self.home.path, service.name, self._surroundings)
        record = processes.start(
            service.command(),
            environment=environment | service.environment(),
            folder=service.folder,
            log=self.home.log(service.name),
        )
        self.home.write_record(service.name, record)

    def _process(self, service: Service) -> psutil.Process | None:
        record = self.home.record(service.name)
        return None if record is None else processes.find(record)

    def _members(self, service: Service) -> list[psutil.Process]:
        return processes.members(self.home.path, service.name, self.home.record(service.name))

    def _clear_away(self, service: Service) -> None:
        """End what a dead service left behind. Jobs are not left behind: they are adopted."""
        if service is not self.sagemaker:
            processes.stop(self._members(service), grace_s=service.stop_grace_s)
        self.home.clear_record(service.name)

    def _require_ports(self, service: Service) -> None:
        for port in service.ports:
            if not ports.is_free(port):
                raise PortTakenError(service.name, port, ports.holder(port), self.home.ports_file)

    def _stop(self, service: Service, observe: Observer) -> None:
        if members := self._members(service):
            observe(Event(service.name, Phase.STOPPING))
            processes.stop(members, grace_s=service.stop_grace_s)
            processes.stop(self._members(service), grace_s=0.0)
            observe(Event(service.name, Phase.STOPPED))
        self.home.clear_record(service.name)

    def _status(self, service: Service) -> ServiceStatus:
        process = self._process(service)
        if process is None:
            return ServiceStatus(service.name, "stopped", service.address, None, 0, 0.0)
        missing = service.waiting_for()
        return ServiceStatus(
            service=service.name,
            state="running" if missing is None else f"waiting for {missing}",
            address=service.address,
            pid=process.pid,
            memory=sum(_memory(self._members(service))),
            uptime_s=time.time() - process.create_time(),
        )


def _memory(members: Iterable[psutil.Process]) -> Iterator[int]:
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            yield process.memory_full_info().pss
