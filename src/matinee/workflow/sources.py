"""Where ratings lie: objects in S3, or files on this machine's disk, by absolute path.

Either may be one or a folder of many. Each is read as a stream, so nothing needs room for it, but
Parquet, which is read out of order. Refuses what is not there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects

# What Spark and Hive write beside the data: _SUCCESS, .part.crc.
_HIDDEN = ("_", ".")


class Sources:
    """The ratings' objects or files, by URI or absolute path."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def find(self, ratings: str) -> list[str]:
        """Return the object or file itself, or all those of the folder, by name.

        Raises
        ------
        ObjectsError
            If there is neither.
        """
        if not is_local(ratings):
            return self._objects.find(ratings)
        path = Path(ratings)
        if path.is_file():
            return [ratings]
        found = sorted(
            str(file)
            for file in path.rglob("*")
            if file.is_file() and not file.name.startswith(_HIDDEN)
        )
        if not found:
            raise ObjectsError(f"there is no file {ratings}, nor any file under {path}/")
        return found

    def open(self, source: str) -> BinaryIO:
        """Return the bytes as a stream, which whoever asked for it closes.

        Raises
        ------
        ObjectsError
            If it cannot be read.
        """
        if not is_local(source):
            return self._objects.open(source)
        with _naming(source):
            return Path(source).open("rb")

    @contextmanager
    def as_file(self, source: str, scratch: Path) -> Iterator[Path]:
        """Give a file with the bytes: the file itself, or a copy that goes afterwards."""
        if is_local(source):
            yield Path(source)
            return
        path = scratch / "object"
        try:
            self._objects.download(source, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def delete_folder(self, folder: str) -> None:
        """Delete all that lies below a folder of results, if there is any."""
        if is_local(folder):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self._objects.delete_folder(folder)


def is_local(source: str) -> bool:
    """Tell an absolute path from a URI."""
    return source.startswith("/")


@contextmanager
def _naming(source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectsError(f"cannot read {source}: {error}") from error
