"""The model file ``model_algo-1``: an MXNet checkpoint (``symbol.json`` and ``params``) in a ZIP.

``write`` is deterministic and whole or nothing; MXNet's ``Module.load`` takes what it writes.
``read`` takes that ZIP, or the ``model.tar.gz`` around it, from SageMaker or from here; nothing is
unpacked to disk, and malformed, oversized and foreign files are refused by name. Samples of a
posterior stand in a third member, ``samples``, which others ignore.
"""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from matinee.fm import ndarrays, symbol
from matinee.fm.errors import ArtifactError
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model

MEMBER = "model_algo-1"
"""Name of the ZIP inside ``model.tar.gz``."""

LARGEST_BYTES = 16 * 2**30
"""How much a file may unpack to, unless the caller says otherwise."""

MOST_SAMPLES = 300
"""How many samples of a posterior a file may hold."""

_SAMPLES = "samples"
_LARGEST_SYMBOL = 2**20
_MOST_MEMBERS = 1000

Kept = TypeVar("Kept")


def write(model: Model, path: str | Path, samples: Sequence[Model] = ()) -> None:
    """Write a model as the ZIP ``model_algo-1``.

    The file appears under its name only when it is complete. The same model gives the same bytes.

    Parameters
    ----------
    model
        What to write.
    path
        The file, replaced if it exists; its folder must exist.
    samples
        Models of the posterior that the model is the mean of; at most ``MOST_SAMPLES``.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    members = {"params": _arrays(model, "arg:")}
    if samples:
        members[_SAMPLES] = {
            name: array
            for number, sample in enumerate(samples)
            for name, array in _arrays(sample, f"{number}:").items()
        }
    try:
        with partial.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                text = symbol.dumps(model.feature_dim, model.num_factors, model.predictor_type)
                with archive.open(_entry("symbol.json", len(text)), "w") as member:
                    member.write(text)
                for name, arrays in members.items():
                    with archive.open(_entry(name, ndarrays.size(arrays)), "w") as member:
                        ndarrays.write(member, arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: str | Path, *, largest: int = LARGEST_BYTES) -> Model:
    """Read a model from a ``model_algo-1`` ZIP or from a ``model.tar.gz`` that holds one.

    Parameters
    ----------
    path
        The file.
    largest
        Bytes that the file may unpack to.

    Raises
    ------
    ArtifactError
        If the file is malformed, too large or not a Factorization Machines model.
    OSError
        If the file cannot be read.
    """
    return _read(path, largest, _read_model)


def read_samples(path: str | Path, *, largest: int = LARGEST_BYTES) -> tuple[Model, ...]:
    """Read the samples of a model file, as ``read`` reads the model; () if it has none.

    Raises
    ------
    ArtifactError
        If the file is malformed, too large or not a Factorization Machines model.
    OSError
        If the file cannot be read.
    """
    return _read(path, largest, _read_samples)


def _read(path: str | Path, largest: int, take: "Callable[[_Members], Kept]") -> Kept:
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start == b"PK":
                return _read_zip(file, largest, take)
            if start == b"\x1f\x8b":
                return _read_zip(_find_in_tar(file, largest), largest, take)
        raise ArtifactError(f"neither a ZIP nor a gzipped tar file: it starts with {start!r}")
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error.__cause__
    # What zipfile, tarfile and json raise on hostile bytes; BadGzipFile is an OSError.
    except (
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        gzip.BadGzipFile,
        struct.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ArtifactError(f"{path}: {error}") from error


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    # Everything that zipfile would take from the clock or the system.
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    entry.file_size = size
    return entry


def _arrays(model: Model, prefix: str) -> dict[str, NDArray[np.float32]]:
    return {
        f"{prefix}v": model.factors,
        f"{prefix}w1_weight": model.linear.reshape(-1, 1),
        f"{prefix}w0_weight": np.full((1, 1), model.bias, dtype=np.float32),
    }


@dataclass(frozen=True, slots=True)
class _Members:
    """The members of an open ZIP, none of which may unpack to too much."""

    archive: zipfile.ZipFile
    largest: int

    def __contains__(self, name: str) -> bool:
        return name in self.archive.NameToInfo

    def text(self, name: str) -> bytes:
        self._check(name, _LARGEST_SYMBOL)
        return self.archive.read(name)

    def arrays(self, name: str) -> dict[str, NDArray[np.float32]]:
        size = self._check(name, self.largest)
        with self.archive.open(name) as stream:
            return ndarrays.read(stream, size, self.largest)

    def _check(self, name: str, limit: int) -> int:
        if name not in self:
            raise ArtifactError(f"the ZIP has no member {name!r}")
        member = self.archive.getinfo(name)
        if member.file_size > limit:
            raise ArtifactError(f"{name!r} unpacks to more than {limit} bytes")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArtifactError(f"{name!r} is compressed by an unsupported method")
        return member.file_size


def _read_zip(file: IO[bytes], largest: int, take: Callable[[_Members], Kept]) -> Kept:
    with zipfile.ZipFile(file) as archive:
        return take(_Members(archive, largest))


def _predictor_type(members: _Members) -> PredictorType:
    return symbol.predictor_type(json.loads(members.text("symbol.json")))


def _read_model(members: _Members) -> Model:
    predictor_type = _predictor_type(members)
    bias, linear, factors = _parameters(members.arrays("params"))
    return Model(bias, linear, factors, predictor_type)


def _read_samples(members: _Members) -> tuple[Model, ...]:
    predictor_type = _predictor_type(members)
    if _SAMPLES not in members:
        return ()
    samples: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, array in members.arrays(_SAMPLES).items():
        number, _, parameter = name.partition(":")
        samples.setdefault(number, {})[parameter] = array
    return tuple(Model(*_parameters(arrays), predictor_type) for arrays in samples.values())


def _parameters(
    arrays: Mapping[str, NDArray[np.float32]],
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    arrays = {name.removeprefix("arg:"): array for name, array in arrays.items()}
    for name in ("v", "w1_weight", "w0_weight"):
        if name not in arrays:
            raise ArtifactError(f"'params' has no array {name!r}, only {sorted(arrays)}")
        if not np.isfinite(arrays[name]).all():
            raise ArtifactError(f"array {name!r} holds NaN or infinity")
    factors, linear, bias = arrays["v"], arrays["w1_weight"], arrays["w0_weight"]
    if factors.ndim != 2 or 0 in factors.shape:
        raise ArtifactError(f"array 'v' has shape {factors.shape}, not (feature_dim, num_factors)")
    d = len(factors)
    if linear.shape not in ((d,), (d, 1)):
        raise ArtifactError(f"array 'w1_weight' has shape {linear.shape}, not ({d}, 1)")
    if bias.shape not in ((), (1,), (1, 1)):
        raise ArtifactError(f"array 'w0_weight' has shape {bias.shape}, not (1, 1)")
    return float(bias.item()), linear.reshape(d), factors


class _Bounded(io.BufferedIOBase):
    """Reads a stream up to a number of bytes, then refuses: an unpacking bomb goes no further."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._left = limit

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._stream.read(-1 if size is None else size)
        self._left -= len(data)
        if self._left < 0:
            raise ArtifactError(f"the tar file unpacks to more than {self._limit} bytes")
        return data


def _find_in_tar(file: IO[bytes], largest: int) -> IO[bytes]:
    # One pass, never seeking: tarfile would otherwise skip over bytes uncounted.
    with (
        gzip.GzipFile(fileobj=file) as unpacked,
        tarfile.open(fileobj=_Bounded(unpacked, largest), mode="r|") as tar,
    ):
        for count, member in enumerate(tar):
            if count == _MOST_MEMBERS:
                raise ArtifactError(f"the tar file has more than {_MOST_MEMBERS} members")
            if member.name.removeprefix("./") != MEMBER:
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise ArtifactError(f"tar member {MEMBER!r} is not a regular file")
            return io.BytesIO(content.read())
    raise ArtifactError(f"the tar file has no member {MEMBER!r}")
