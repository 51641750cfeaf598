"""The servers of the fault tests: real processes, on a folder of their own."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from matinee.stack.credentials import Credentials
from matinee.stack.ports import free_block
from matinee.stack.seaweedfs import PORT_COUNT, SeaweedFS
from tests.conftest import ObjectStore
from tests.conftest import running as service_running
from tests.sagemaker.jobs.conftest import Server


class FaultServer(Server):
    """A server of the job tests, with more to say about how it is started.

    Parameters
    ----------
    folder
        Gets the state folder and the log.
    object_store
        Whose keys it uses.
    s3_endpoint
        The S3 it is given.
    words
        Further words of its command.
    program
        The module that is run instead of the server's own.
    """

    def __init__(
        self,
        folder: Path,
        object_store: ObjectStore,
        s3_endpoint: str,
        words: Sequence[str] = (),
        program: str = "matinee.sagemaker",
    ) -> None:
        super().__init__(folder, object_store, s3_endpoint)
        self._command = [program if w == "matinee.sagemaker" else w for w in self._command]
        self._command += words

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def command(self) -> list[str]:
        return list(self._command)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log)  # noqa: S603 - our own words
        return self._process

    def strays(self) -> list[psutil.Process]:
        """Return the living processes that name the state folder."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ", "status"]):
            if process.info["status"] == psutil.STATUS_ZOMBIE:
                continue
            words = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
            if any(str(self.state) in word for word in words):
                found.append(process)
        return found

    def close(self) -> None:
        super().close()
        for process in self.strays():
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def object_store_running(folder: Path) -> Iterator[ObjectStore]:
    """Run an S3 server outside of pytest."""
    first_port = free_block(PORT_COUNT, random.SystemRandom(), grpc=range(PORT_COUNT))
    credentials = Credentials.generate()
    server = SeaweedFS(folder, first_port, credentials, bucket="matinee")
    with service_running(server, folder):
        yield ObjectStore(server, credentials)
