"""The local SageMaker as a service of the stack: `python -m matinee.sagemaker`.

Its jobs outlive it: a server that starts again adopts those that still run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from matinee.stack.service import REGION


@dataclass(frozen=True)
class SageMaker:
    """A local SageMaker server.

    Parameters
    ----------
    folder
        Its database and job folders.
    port
        Where it listens, for all of its AWS services.
    credentials_file
        The JSON key pair that callers must sign with.
    s3_endpoint
        The S3 server that its jobs read and write.
    console_token_file
        The JSON token that signs in to its console; None: it has none.
    console_tag_links
        Where the tags of its jobs lead, each ``TAG=URL``.
    console_pages
        That the console has besides its own, each ``NAME=module:factory``.
    """

    folder: Path
    port: int
    credentials_file: Path
    s3_endpoint: str
    console_token_file: Path | None = None
    console_tag_links: tuple[str, ...] = ()
    console_pages: tuple[str, ...] = ()

    name = "sagemaker"
    ready_limit_s = 60.0
    stop_grace_s = 6.0  # jobs that do not end by then are killed

    @property
    def ports(self) -> list[int]:
        """Its one port."""
        return [self.port]

    @property
    def address(self) -> str:
        """The endpoint URL of SageMaker, CloudWatch, IAM and STS."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make its folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """The server, as a module of this Python."""
        console = []
        if self.console_token_file is not None:
            console = [
                f"--console-token={self.console_token_file}",
                *(f"--console-tag-link={link}" for link in self.console_tag_links),
                *(f"--console-page={page}" for page in self.console_pages),
            ]
        return [
            sys.executable,
            "-m",
            "matinee.sagemaker",
            f"--state={self.folder}",
            "--host=127.0.0.1",
            f"--port={self.port}",
            f"--credentials={self.credentials_file}",
            f"--s3-endpoint-url={self.s3_endpoint}",
            f"--region={REGION}",
            *console,
        ]

    def environment(self) -> dict[str, str]:
        """Nothing: all it needs to know stands in its arguments."""
        return {}

    def waiting_for(self) -> str | None:
        """Ask its health page."""
        try:
            answer = httpx.get(f"{self.address}/_matinee/health", timeout=5, trust_env=False)
        except httpx.TransportError as error:
            return f"its health page ({type(error).__name__})"
        return None if answer.status_code == 200 else f"its health page ({answer.status_code})"
