"""The process that writes the pipes of one host, run as a module of its own.

Its folder holds ``plan.json``: the folder of the pipes and, for each channel, the stream in it::

    {"channel": "train", "items": [[bucket, key], ..], "seed": null, "shard": 0, "shards": 1,
     "is_gzipped": false, "is_wrapped": false, "attributes": null}

The lines of an augmented manifest take the place of bucket and key where ``attributes`` names what
to send of them. Each epoch is written when the algorithm opens its pipe; memory holds a piece of an
object at a time, and what has to be measured before it is wrapped is spooled to a file. Who stops
reading before the end gets the next epoch. When the data cannot be read, the reason is left in
``failure.json`` and the host is told to end while the pipe is still open: a reader never takes a
broken stream for a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from matinee.sagemaker.data.decompression import unzipped
from matinee.sagemaker.data.objects import Objects, ObjectsError, parse_uri
from matinee.sagemaker.failures import object_reason
from matinee.sagemaker.machine import compute, host
from matinee.sagemaker.machine.compute import Phase
from matinee.sagemaker.training_jobs import channels, pipes

# RecordIO of Apache MXNet; the upper three bits of the length would say that the record goes on.
_HEADER = struct.Struct("<II")
_MAGIC, _LENGTH_LIMIT = 0xCED7230A, 1 << 29
_PIECE_BYTES = 1024**2
_SPOOL_BYTES = 16 * 1024**2
_LOOK_SECONDS = 0.2
_PAUSES_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
# An attribute of an augmented manifest whose name ends so is an object's URI.
_REFERENCE = "-ref"


class UnreadableError(Exception):
    """The data are not what the channel says; the message is a reason as in ``failures.py``."""


class _ReaderGoneError(Exception):
    """Nobody reads the pipe any more."""


class Feeder:
    """Writes the pipes of a host.

    Parameters
    ----------
    folder
        With ``plan.json`` and ``keys.json``.
    host_folder
        Of the process that reads.
    """

    def __init__(self, folder: Path, host_folder: Path) -> None:
        self._folder = folder
        self._host_folder = host_folder
        plan = json.loads((folder / pipes.PLAN).read_text())
        self._data = Path(plan["data"])
        self._streams: list[dict[str, Any]] = plan["streams"]
        self._lock = threading.Lock()
        self._keys = ""
        self._objects: Objects | None = None
        self._failed = threading.Event()

    def run(self) -> int:
        """Feed until the host has ended; return the exit code."""
        for stream in self._streams:
            name = stream["channel"]
            threading.Thread(target=self._feed, args=(stream,), name=name, daemon=True).start()
        while compute.status(self._host_folder).phase is Phase.RUNNING:
            if self._failed.wait(_LOOK_SECONDS):
                compute.stop(self._host_folder)
                compute.wait(self._host_folder, _LOOK_SECONDS)
        return 1 if self._failed.is_set() else 0

    def _feed(self, stream: dict[str, Any]) -> None:
        with self._failures():
            for epoch in itertools.count():
                path = self._pipe(stream, epoch)
                with opened_by_reader(path) as pipe:
                    # The next one is there before this one ends: nobody has to wait for it.
                    self._pipe(stream, epoch + 1)
                    path.unlink()
                    with self._failures(), contextlib.suppress(_ReaderGoneError):
                        for piece in self._epoch(stream, epoch):
                            write_all(pipe, piece)

    def _pipe(self, stream: dict[str, Any], epoch: int) -> Path:
        path = pipes.pipe(self._data, stream["channel"], epoch)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        return path

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Let a failure end the host; then never go on, so that nothing is closed before."""
        try:
            yield
        except UnreadableError as error:
            reason = str(error)
        except ObjectsError as error:
            reason = object_reason(error)
        except Exception as error:  # noqa: BLE001 - it is told as the job's reason
            reason = f"InternalServerError: {type(error).__name__}: {error}"
        else:
            return
        with self._lock:
            if not self._failed.is_set():
                host.write_whole(self._folder / pipes.FAILURE, {"reason": reason})
                self._failed.set()
        threading.Event().wait()

    def _epoch(self, stream: dict[str, Any], epoch: int) -> Iterator[bytes]:
        """Yield the stream of an epoch, piece by piece."""
        seed, shard, shards = (stream[name] for name in ("seed", "shard", "shards"))
        wrap = stream["is_wrapped"]
        for item in channels.part(stream["items"], seed, epoch, shard, shards):
            for pieces in self._contents(stream, item):
                yield from self._wrapped(pieces) if wrap else pieces

    def _contents(self, stream: dict[str, Any], item: Any) -> Iterator[Iterable[bytes]]:
        """Yield what an item gives: an object, or the attributes of a manifest's line."""
        if stream["attributes"] is None:
            bucket, key = item
            yield self._object(bucket, key, stream["is_gzipped"])
            return
        for name, value in attributes(item, stream["attributes"]):
            if name.endswith(_REFERENCE):
                yield self._object(*_location(value), stream["is_gzipped"])
            else:
                yield [value.encode()]

    def _object(self, bucket: str, key: str, is_gzipped: bool) -> Iterator[bytes]:
        pieces = self._current_objects().chunks(bucket, key)
        return decompressed(pieces, f"s3://{bucket}/{key}") if is_gzipped else pieces

    def _current_objects(self) -> Objects:
        with self._lock:
            keys = (self._folder / pipes.KEYS).read_text()
            if self._objects is None or keys != self._keys:
                self._objects, self._keys = Objects.of_settings(json.loads(keys)), keys
            return self._objects

    def _wrapped(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield one RecordIO record of a content."""
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(self._folder)) as spool:
            for piece in pieces:
                spool.write(piece)
                if spool.tell() >= _LENGTH_LIMIT:
                    raise UnreadableError(
                        f"ClientError: an object has over {_LENGTH_LIMIT - 1} bytes, too many for "
                        "one RecordIO record"
                    )
            length = spool.tell()
            spool.seek(0)
            yield _HEADER.pack(_MAGIC, length)
            while piece := spool.read(_PIECE_BYTES):
                yield piece
            yield bytes(-length % 4)


@contextlib.contextmanager
def opened_by_reader(path: Path) -> Iterator[int]:
    """Wait until somebody reads a pipe; give the file to write to."""
    pauses = itertools.chain(_PAUSES_SECONDS, itertools.repeat(_PAUSES_SECONDS[-1]))
    while True:
        try:
            # Without a reader this is refused, where a blocking open would wait in the kernel.
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        time.sleep(next(pauses))
    try:
        os.set_blocking(pipe, True)
        with contextlib.suppress(OSError):
            # As much as the system allows; it also works with less.
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIECE_BYTES)
        yield pipe
    finally:
        os.close(pipe)


def write_all(pipe: int, data: bytes) -> None:
    """Write all of the data, however slowly it is read."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(pipe, view) :]
        except BrokenPipeError as error:
            raise _ReaderGoneError from error


def decompressed(pieces: Iterable[bytes], uri: str) -> Iterator[bytes]:
    """Yield what an object's gzip data hold, piece by piece.

    Raises
    ------
    UnreadableError
        They are not gzip data, or not all of them.
    """
    try:
        # It goes through a pipe, so its size is only its reader's affair.
        yield from unzipped(pieces, limits=None)
    except (zlib.error, EOFError) as error:
        raise UnreadableError(
            f"ClientError: {uri} is not whole gzip data, as the channel's CompressionType says: "
            f"{error}"
        ) from error


def attributes(line: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the named attributes of an augmented manifest's line, each with its text.

    Raises
    ------
    UnreadableError
        The line is no JSON object, or has no such attribute.
    """
    try:
        values = json.loads(line)
        found = [(name, values[name]) for name in names]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnreadableError(
            f"ClientError: the line {line[:200]!r} of the augmented manifest is not a JSON object "
            f"with the attributes {list(names)}: {error!r}"
        ) from error
    for name, value in found:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _location(uri: str) -> tuple[str, str]:
    try:
        return parse_uri(uri)
    except ValueError as error:
        raise UnreadableError(f"ClientError: augmented manifest: {error}") from error


if __name__ == "__main__":
    sys.exit(Feeder(Path(sys.argv[1]), Path(sys.argv[2])).run())
