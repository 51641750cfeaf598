"""Model archives: the files of folders to a ``.tar.gz`` and back.

The same files give the same bytes, whoever packs them and when. Unpacking trusts nothing: a member
that is no plain file or folder, or lies outside, and an archive that is larger than the limits, are
refused, before they are written.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from matinee.sagemaker.data.objects import UnsafeKeyError, contained

# Learned parameters hardly compress, so more effort costs time and saves little.
_COMPRESSION = 1


class ArchiveError(Exception):
    """A folder cannot be packed, or an archive is damaged, unsafe or too large."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to.

    Attributes
    ----------
    total_bytes
        All of it, uncompressed.
    members
        Number of files and folders.
    ratio
        Uncompressed to compressed size, for archives that unpack to over ``ratio_from_bytes``.
    """

    total_bytes: int = 30 * 1024**3
    members: int = 100_000
    ratio: int = 200
    ratio_from_bytes: int = 256 * 1024**2

    def bytes_for(self, compressed_bytes: int) -> int:
        """Return how many bytes an archive of this size may unpack to."""
        by_ratio = max(self.ratio_from_bytes, self.ratio * compressed_bytes)
        return min(self.total_bytes, by_ratio)


DEFAULT_LIMITS = Limits()


def contents(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files of several folders, put together, in the order of their names.

    Parameters
    ----------
    folders
        By what an error calls them.

    Raises
    ------
    ArchiveError
        Two of them have the same name, or one holds something else than files and folders.
    """
    found: dict[str, tuple[str, Path]] = {}
    parents: dict[str, str] = {}
    for owner, folder in folders.items():
        for path in folder.rglob("*"):
            name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
            if stat.S_ISDIR(mode):
                parents[name] = owner
            elif not stat.S_ISREG(mode):
                raise ArchiveError(f"{name!r} is neither a file nor a folder")
            elif name in found:
                raise ArchiveError(f"both {found[name][0]} and {owner} have a file {name!r}")
            else:
                found[name] = owner, path
    for name in sorted(found.keys() & parents.keys()):
        raise ArchiveError(
            f"{name!r} is a file of {found[name][0]} and a folder of {parents[name]}"
        )
    names = sorted(found, key=lambda name: PurePosixPath(name).parts)
    return {name: found[name][1] for name in names}


def pack(files: Mapping[str, Path], archive: Path) -> None:
    """Write files as a ``.tar.gz`` of reproducible bytes, in the order they come in."""
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=_COMPRESSION, fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in files.items():
            member = tarfile.TarInfo(name)
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
                member.size = status.st_size
                tar.addfile(member, file)


def unpack(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
    """Write the members of a ``.tar.gz`` into a folder.

    Raises
    ------
    ArchiveError
        It is damaged, goes over a limit, or a member is no plain file or folder inside.
    """
    capacity = limits.bytes_for(archive.stat().st_size)
    try:
        with (
            gzip.open(archive, "rb") as stream,
            tarfile.open(fileobj=_Counted(stream, capacity), mode="r|") as tar,
        ):
            for count, member in enumerate(tar, 1):
                if count > limits.members:
                    raise ArchiveError(f"the archive has over {limits.members} members")
                _extract(tar, member, folder)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ArchiveError(f"not a .tar.gz archive, or a damaged one: {error}") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = member.name.rstrip("/")
    if member.isdir() and name in {"", "."}:
        return
    try:
        path = contained(folder, name)
    except UnsafeKeyError as error:
        raise ArchiveError(
            f"member {member.name!r} would lie outside of the archive, or cannot be a file's name"
        ) from error
    source = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if source is None and not member.isdir():
        raise ArchiveError(f"member {member.name!r} is neither a plain file nor a folder")
    try:
        if source is None:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with source, path.open("xb") as target:
            shutil.copyfileobj(source, target, 1024**2)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise ArchiveError(f"member {member.name!r} is there twice") from error
    if member.mode & stat.S_IXUSR:
        path.chmod(0o700)


class _Counted(io.BufferedIOBase):
    """A stream that refuses to give more than so many bytes."""

    def __init__(self, stream: gzip.GzipFile, capacity: int) -> None:
        self._stream = stream
        self._capacity = capacity
        self._left = capacity

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ArchiveError(f"the archive unpacks to over {self._capacity} bytes")
        return data
