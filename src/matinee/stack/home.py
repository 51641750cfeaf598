"""The folder that holds everything of one local stack (mode 700).

    credentials.json   the access key of this installation (mode 600)
    airflow.json       the password of Airflow's user `admin` (mode 600)
    console.json       the token that signs in to the console (mode 600)
    ports.json         the ports, chosen once and kept
    lock               held by the command that is starting or stopping the stack
    run/ logs/         process records and logs, one a service
    seaweedfs/ sagemaker/ airflow/ cache/

It refuses a folder that holds something else, because it makes the folder private.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from matinee.stack import seaweedfs
from matinee.stack.credentials import Credentials, write_private
from matinee.stack.errors import BusyError, NotAHomeError
from matinee.stack.ports import free_block
from matinee.stack.processes import ProcessRecord

LOCK_LIMIT_S = 300.0
LOCK_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Ports:
    """The first port of each service."""

    airflow: int
    sagemaker: int
    seaweedfs: int


@dataclass(frozen=True)
class Home:
    """An opened home folder; `Home.open` makes a new one."""

    path: Path
    credentials: Credentials
    airflow_password: str
    console_token: str
    ports: Ports

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Say whether a stack was ever started there."""
        return (path / "credentials.json").exists()

    @classmethod
    def open(cls, path: Path, rng: random.Random) -> Home:
        """Open a home, and make it first if need be.

        Parameters
        ----------
        path
            The folder; symbolic links and `~` are followed, so that it has one name.
        rng
            Where the search for free ports begins.

        Raises
        ------
        NotAHomeError
            When the folder holds something, and is not a home.
        """
        path = path.expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What a first start that broke off leaves, and data sets that were fetched before it.
        early = {"lock", "run", "logs", "credentials.json.partial", "cache"}
        names = {entry.name for entry in path.iterdir()}
        if not cls.exists(path) and (strange := names - early):
            raise NotAHomeError(
                f"{path} is no matinee home and not empty (it holds {sorted(strange)[0]!r});"
                " name an empty or a new folder with --home"
            )
        path.chmod(0o700)
        with _locked(path, lambda _: None):
            return cls._read_or_make(path, rng)

    @classmethod
    def _read_or_make(cls, path: Path, rng: random.Random) -> Home:
        for folder in ("run", "logs"):
            (path / folder).mkdir(mode=0o700, exist_ok=True)
        credentials_file = path / "credentials.json"
        if not credentials_file.exists():
            Credentials.generate().write(credentials_file)
        airflow_file = path / "airflow.json"
        if not airflow_file.exists():
            write_private(airflow_file, json.dumps({"admin": secrets.token_urlsafe(12)}))
        console_file = path / "console.json"
        if not console_file.exists():
            write_private(console_file, json.dumps({"token": secrets.token_urlsafe(24)}))
        ports_file = path / "ports.json"
        if not ports_file.exists():
            count = seaweedfs.PORT_COUNT
            first = free_block(count + 2, rng, grpc=range(count))
            ports = Ports(airflow=first + count, sagemaker=first + count + 1, seaweedfs=first)
            write_private(ports_file, json.dumps(asdict(ports)))
        return cls(
            path=path,
            credentials=Credentials.read(credentials_file),
            airflow_password=json.loads(airflow_file.read_text())["admin"],
            console_token=json.loads(console_file.read_text())["token"],
            ports=Ports(**json.loads(ports_file.read_text())),
        )

    @property
    def credentials_file(self) -> Path:
        """The JSON file of the key pair."""
        return self.path / "credentials.json"

    @property
    def console_token_file(self) -> Path:
        """The JSON file of the console's token."""
        return self.path / "console.json"

    @property
    def ports_file(self) -> Path:
        """The JSON file of the chosen ports."""
        return self.path / "ports.json"

    def log(self, service: str) -> Path:
        """Return the path of a service's log."""
        return self.path / "logs" / f"{service}.log"

    def put_log_aside(self, service: str) -> None:
        """Make way for the log of a new start; the one of the start before is kept."""
        with suppress(FileNotFoundError):
            self.log(service).replace(self.log(service).with_suffix(".log.1"))

    def record(self, service: str) -> ProcessRecord | None:
        """Return what was noted when the service was started last."""
        try:
            return ProcessRecord(**json.loads(self._record_file(service).read_text()))
        except FileNotFoundError:
            return None

    def write_record(self, service: str, record: ProcessRecord) -> None:
        """Note the process of a service."""
        write_private(self._record_file(service), json.dumps(asdict(record)))

    def clear_record(self, service: str) -> None:
        """Forget the process of a service."""
        self._record_file(service).unlink(missing_ok=True)

    @contextmanager
    def lock(self, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Keep every other command from starting or stopping this stack meanwhile.

        Parameters
        ----------
        on_wait
            Told once who holds the lock, when somebody does.

        Raises
        ------
        BusyError
            When it was not to be had in five minutes.
        """
        with _locked(self.path, on_wait):
            yield

    def _record_file(self, service: str) -> Path:
        return self.path / "run" / f"{service}.json"


@contextmanager
def _locked(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, path, on_wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, on_wait: Callable[[str], None]) -> None:
    deadline = time.monotonic() + LOCK_LIMIT_S
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            if time.monotonic() > deadline:
                raise BusyError(
                    f"process {holder} has been starting or stopping the stack in {path} for"
                    f" more than {LOCK_LIMIT_S:.0f} s"
                ) from None
            if not told:
                on_wait(holder)
                told = True
            time.sleep(LOCK_POLL_S)
        else:
            return
