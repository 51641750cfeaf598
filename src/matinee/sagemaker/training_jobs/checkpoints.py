"""A host's checkpoints: what lies in S3 goes there before training, and comes back while it runs.

As on AWS a file that is written or changed in the folder is stored below the checkpoint's URI, and
one that is removed is removed there too; objects that came to S3 during training are left alone.
All hosts share the URI, so an algorithm gives their files different names. A file that is still
being written is stored when it rests, and at the end in any case.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from matinee.sagemaker.data.objects import ObjectMissingError, Objects, contained, join_uri
from matinee.sagemaker.machine import host

# How long a file must have been left alone to be stored before the end.
_RESTING_SECONDS = 1.0


class Checkpoints:
    """The checkpoints of one host.

    Parameters
    ----------
    folder
        Where the algorithm writes them.
    known
        The file that remembers what is in S3 already, for the next server.
    uri
        Where they are stored.
    """

    def __init__(self, folder: Path, known: Path, uri: str) -> None:
        self._folder = folder
        self._path = known
        self._uri = uri

    def download(self, objects: Objects, check: Callable[[], None]) -> None:
        """Write what lies in S3 into the folder, which is made if it is not there.

        Raises
        ------
        ObjectRefusedError, UnreachableError, UnsafeKeyError, ObjectMissingError
            ObjectMissingError if there is no such bucket.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            items = objects.inputs("S3Prefix", join_uri(self._uri, ""))
        except ObjectMissingError:
            # None yet; a bucket that is missing is told when the first one is stored.
            items = []
        for item in items:
            path = contained(self._folder, item.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            objects.download(item.bucket, item.key, path, check=check)
        self._remember(self._files())

    def upload(self, objects: Objects, *, is_over: bool) -> None:
        """Store what has changed since the last time.

        Parameters
        ----------
        objects
            S3.
        is_over
            Whether the algorithm has ended, so that every file is whole.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
        """
        if not self._folder.is_dir():
            return
        known, files = self._known(), self._files()
        before = dict(known)
        # A file's times are those of the wall clock.
        rested = time.time_ns() - int(_RESTING_SECONDS * 1e9)
        try:
            for name, state in files.items():
                if known.get(name) != state and (is_over or state[1] < rested):
                    # It may be gone by now: many write under another name first.
                    with contextlib.suppress(FileNotFoundError):
                        objects.upload(self._folder / name, join_uri(self._uri, name))
                        known[name] = state
            for name in known.keys() - files.keys():
                objects.delete(join_uri(self._uri, name))
                del known[name]
        finally:
            if known != before:
                self._remember(known)

    def _files(self) -> dict[str, list[int]]:
        """Return size and time of change of every file, by name."""
        found = {}
        for parent, _, names in os.walk(self._folder):
            for name in names:
                path = Path(parent, name)
                try:
                    status = path.lstat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    key = path.relative_to(self._folder).as_posix()
                    found[key] = [status.st_size, status.st_mtime_ns]
        return found

    def _known(self) -> dict[str, list[int]]:
        try:
            known: dict[str, list[int]] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        return known

    def _remember(self, known: dict[str, list[int]]) -> None:
        host.write_whole(self._path, known)
