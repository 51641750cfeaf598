"""Where a command writes its files: paths of this machine and S3 alike, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import click

from matinee.workflow.objects import Objects, split_uri

PART_BYTES: Final = 2**20


class Store(Protocol):
    """Where files can be written, by name."""

    def any_below(self, folder: str) -> bool:
        """Tell whether a folder holds anything."""

    def write(self, content: BinaryIO, name: str) -> int:
        """Write a file whole or not at all; return its bytes."""


class LocalFiles:
    """Paths of this machine."""

    def any_below(self, folder: str) -> bool:
        """Tell whether a folder holds anything, or is no folder."""
        path = Path(folder)
        return path.exists() and (not path.is_dir() or any(path.iterdir()))

    def write(self, content: BinaryIO, name: str) -> int:
        """Write beside the file and put it into its place at the end; make folders as needed.

        Raises
        ------
        click.ClickException
            If it cannot be written.
        """
        path = Path(name)
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with partial.open("wb") as file:
                    shutil.copyfileobj(content, file, PART_BYTES)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            return path.stat().st_size
        except OSError as error:
            raise click.ClickException(f"cannot write {name}: {error}") from error


class S3:
    """s3:// URIs.

    Parameters
    ----------
    client
        boto3's.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def any_below(self, folder: str) -> bool:
        """Tell whether there are objects below a URI."""
        return bool(Objects(self._client).list(folder))

    def write(self, content: BinaryIO, name: str) -> int:
        """Upload in parts; the object appears when all of them are there."""
        bucket, key = split_uri(name)
        self._client.upload_fileobj(content, bucket, key)
        return int(self._client.head_object(Bucket=bucket, Key=key)["ContentLength"])
