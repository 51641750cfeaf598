"""A channel's records, decoded once into arrays on disk that processes map into memory and share.

Memory holds one block of records while they are decoded and none of them afterwards: the arrays are
read from their files as training needs them. With a cache folder, jobs that have the same files
share one decoded data set, found by the hash of what is in the files; it appears whole or not at
all, and the data sets used last are kept up to a limit. Without one, or when it cannot be used, the
arrays lie in the job's own folder and vanish with the process.
"""

import fcntl
import gzip
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy
from numpy.lib import format as npy
from numpy.typing import NDArray

from matinee.fm.data import NO_LABELS, SparseRows, check_width, in_key_order
from matinee.fm.errors import DataError
from matinee.recordio import Block, RecordIOError, decode_blocks, decode_stream

LOGGER = logging.getLogger(__name__)

CACHE_LIMIT_BYTES = 8 << 30

# Part of every key: another number makes all cached data sets unknown.
_FORMAT = 1
_DESCRIPTION = "dataset.json"
_GZIP = b"\x1f\x8b"


class NoRecordsError(DataError):
    """None of the files holds a record."""


@dataclass(frozen=True, slots=True)
class Part:
    """The records of one file.

    Attributes
    ----------
    name
        The file's, below its channel's folder.
    features : SparseRows or ndarray of float32, shape (n, width)
        In key order, but otherwise unchecked.
    labels : ndarray of float32, shape (n,)
        Unchecked.
    """

    name: str
    features: SparseRows | NDArray[numpy.float32]
    labels: NDArray[numpy.float32]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The records of all files of a channel, in arrays mapped from files.

    Attributes
    ----------
    features : SparseRows or ndarray of float32, shape (n, largest width)
        As for `Part`.
    labels : ndarray of float32, shape (n,)
    files : sequence of (str, int, int)
        Name, number of records and width of each file.
    """

    features: SparseRows | NDArray[numpy.float32]
    labels: NDArray[numpy.float32]
    files: Sequence[tuple[str, int, int]]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map the arrays of a folder; they outlive it."""
        description = json.loads((folder / _DESCRIPTION).read_bytes())
        files = [(name, records, width) for name, records, width in description["files"]]
        labels = _map(folder / "labels.npy")
        if description["dense"]:
            return cls(_map(folder / "data.npy"), labels, files)
        indptr, indices, data = (
            _map(folder / f"{name}.npy") for name in ("indptr", "indices", "data")
        )
        shape = (len(labels), max(width for *_, width in files))
        return cls(SparseRows(indptr, indices, data, shape), labels, files)

    def parts(self) -> Iterator[Part]:
        """Return the records file by file, without copying them."""
        first = 0
        for name, records, width in self.files:
            rows = slice(first, first + records)
            features = self.features[rows]
            if isinstance(features, SparseRows):
                features = replace(features, shape=(records, width))
            yield Part(name, features, self.labels[rows])
            first += records


def open_dataset(
    files: Mapping[str, Path],
    feature_dim: int,
    *,
    scratch: Path,
    cache: Path | None = None,
    limit_bytes: int = CACHE_LIMIT_BYTES,
) -> Dataset:
    """Decode files of RecordIO-protobuf, or find them decoded in the cache.

    What is compressed by gzip is decompressed; a pipe is read once, to its end.

    Parameters
    ----------
    files : mapping
        Path of each file by its name, in the order in which their records follow each other; none
        is empty, and none is a pipe if there is a cache.
    feature_dim : int
        Wider records are refused before they are decoded; below 2**31.
    scratch : Path
        Folder for what isn't kept.
    cache : Path, optional
        Folder that jobs share.
    limit_bytes : int
        The cache's size; the data sets that weren't used for longest are removed above it.

    Raises
    ------
    NoRecordsError
        If there are no records.
    DataError
        If a file is malformed, has no labels or is too wide, or if dense and sparse records are
        mixed; the message names the file.
    """
    if cache is not None:
        try:
            return _open_cached(files, feature_dim, cache, limit_bytes)
        except OSError as error:
            LOGGER.warning("the data cache %s cannot be used: %s", cache, error)
    with tempfile.TemporaryDirectory(prefix="data-", dir=scratch) as name:
        _decode(files, feature_dim, Path(name))
        return Dataset.load(Path(name))


def _open_cached(
    files: Mapping[str, Path], feature_dim: int, cache: Path, limit_bytes: int
) -> Dataset:
    folder = cache / _key(files)
    dataset = _find(folder)
    if dataset is not None:
        return dataset
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(cache):
        # Another process may have decoded the same files meanwhile.
        dataset = _find(folder)
        if dataset is None:
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
            try:
                _decode(files, feature_dim, partial)
                _sync(partial)
                _remove(folder)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            dataset = Dataset.load(folder)
            _make_room(cache, limit_bytes)
    return dataset


def _find(folder: Path) -> Dataset | None:
    """Map a data set of the cache; None if it isn't there, is being removed or is damaged."""
    try:
        dataset = Dataset.load(folder)
        # Marks it as used.
        os.utime(folder)
    except FileNotFoundError:
        return None
    except (EOFError, ValueError) as error:
        LOGGER.warning("%s is damaged and will be decoded again: %s", folder, error)
        return None
    return dataset


def _key(files: Mapping[str, Path]) -> str:
    """Hash the names and contents of files."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name, path in files.items():
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(json.dumps([name, content]).encode())
    return digest.hexdigest()[:32]


@contextmanager
def _lock(cache: Path) -> Iterator[None]:
    """Let one process at a time change the cache; the system frees the lock of one that dies."""
    with (cache / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_room(cache: Path, limit_bytes: int) -> None:
    """Remove what a killed process left, then the data sets not used for longest."""
    for leftover in cache.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folders = [folder for folder in cache.iterdir() if folder.is_dir()]
    folders.sort(key=lambda folder: folder.stat().st_mtime_ns)
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) for folder in folders]
    total = sum(sizes)
    for folder, size in zip(folders, sizes, strict=True):
        if total <= limit_bytes:
            break
        _remove(folder)
        total -= size


def _remove(folder: Path) -> None:
    """Remove a data set in one step for those who look for it; who has mapped it keeps it."""
    gone = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        folder.rename(gone)
    except FileNotFoundError:
        pass
    finally:
        shutil.rmtree(gone, ignore_errors=True)


class _ArrayFile:
    """A .npy file that grows along its first axis."""

    def __init__(self, file: BinaryIO, dtype: str, *row: int) -> None:
        self._file, self._dtype, self._row, self._length = file, numpy.dtype(dtype), row, 0
        self.write_header()

    def append(self, array: NDArray[Any]) -> None:
        self._file.write(numpy.ascontiguousarray(array, dtype=self._dtype).data)
        self._length += len(array)

    def write_header(self) -> None:
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._row),
        }
        # NumPy leaves room in it for the first axis to grow.
        self._file.seek(0)
        npy.write_array_header_1_0(self._file, header)


class _Writer:
    """The arrays of a data set, growing block by block."""

    def __init__(self, folder: Path, opened: ExitStack, first: Block) -> None:
        self.dense = first.keys is None
        kinds: dict[str, tuple[Any, ...]] = {"labels": ("<f4",), "data": ("<f4",)}
        if self.dense:
            kinds["data"] = ("<f4", first.width)
        else:
            kinds |= {"indices": ("<i4",), "indptr": ("<i8",)}
        self._arrays = {
            name: _ArrayFile(opened.enter_context((folder / f"{name}.npy").open("xb")), *kind)
            for name, kind in kinds.items()
        }
        self.records, self._stored = 0, 0
        if not self.dense:
            self._arrays["indptr"].append(numpy.zeros(1, dtype=numpy.int64))

    def append(self, block: Block) -> None:
        if block.labels is None:
            raise DataError(NO_LABELS)
        if (block.keys is None) != self.dense:
            kinds = ("sparse", "dense") if self.dense else ("dense", "sparse")
            raise DataError(f"{kinds[0]} records in a channel of {kinds[1]} ones")
        self._arrays["labels"].append(block.labels)
        self.records += len(block.labels)
        if block.counts is None or block.keys is None:
            self._arrays["data"].append(block.values.reshape(-1, block.width))
            return
        indptr = numpy.zeros(len(block.counts) + 1, dtype=numpy.int64)
        numpy.cumsum(block.counts, out=indptr[1:])
        shape = (len(block.counts), block.width)
        keys = block.keys.astype(numpy.int32)
        rows = in_key_order(SparseRows(indptr, keys, block.values, shape))
        self._arrays["data"].append(rows.data)
        self._arrays["indices"].append(rows.indices)
        self._arrays["indptr"].append(self._stored + rows.indptr[1:])
        self._stored += len(rows.data)

    def finish(self) -> None:
        for array in self._arrays.values():
            array.write_header()


def _decode(files: Mapping[str, Path], feature_dim: int, folder: Path) -> None:
    """Write the data set of files into an empty folder."""
    writer: _Writer | None = None
    described = []
    with ExitStack() as opened:
        for name, path in files.items():
            before, width = writer.records if writer else 0, 0
            try:
                for block in _blocks(path):
                    width = max(width, block.width)
                    check_width(block.width, feature_dim, dense=block.keys is None)
                    writer = writer or _Writer(folder, opened, block)
                    writer.append(block)
            except (RecordIOError, DataError) as error:
                raise DataError(f"file {name!r}: {error}") from error
            described.append((name, writer.records - before if writer else 0, width))
        if writer is None:
            raise NoRecordsError("there are no records")
        writer.finish()
    description = {"dense": writer.dense, "files": described}
    (folder / _DESCRIPTION).write_text(json.dumps(description))


def _blocks(path: Path) -> Iterator[Block]:
    """Decode a file: mapped into memory, or read once if it is a pipe or compressed by gzip.

    Raises
    ------
    RecordIOError, DataError
        If it is malformed.
    """
    # Opening a pipe waits until somebody writes to it.
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield from decode_stream(file)
        elif not file.peek(len(_GZIP)).startswith(_GZIP):
            # Never closed by hand: an error's traceback may still refer to the mapped bytes.
            yield from decode_blocks(mmap(file.fileno(), 0, access=ACCESS_READ))
        else:
            try:
                yield from decode_stream(gzip.GzipFile(fileobj=file))
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"its gzip data are damaged: {error}") from error


def _sync(folder: Path) -> None:
    """Bring files to disk: after a power failure a data set must not be there but full of zeros."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _map(path: Path) -> NDArray[Any]:
    return numpy.asarray(numpy.load(path, mmap_mode="r"))
