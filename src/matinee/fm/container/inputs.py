"""What a training job is given: configuration files and channels, below a base folder.

Channels of RecordIO-protobuf in files, which gzip may have compressed, or in a pipe; and `model` of
a model trained before. Anything else is refused with an `InputError` that names the channel, the
file and the record.
Source: SageMaker Developer Guide, "How Amazon SageMaker Provides Training Information".
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy
from numpy.typing import NDArray

from matinee.fm import artifact
from matinee.fm.container.datasets import NoRecordsError, open_dataset
from matinee.fm.data import Features, SparseRows, check_features, check_labels
from matinee.fm.errors import ArtifactError, DataError
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.fm.model import Model

HYPERPARAMETERS = "input/config/hyperparameters.json"
CONTENT_TYPE = "application/x-recordio-protobuf"
# SageMaker Developer Guide, "Use Incremental Training".
MODEL_CHANNEL = "model"
MODEL_CONTENT_TYPE = "application/x-sagemaker-model"
# What a channel's configuration may say besides its content type; a key that is absent means the
# first value.
_SUPPORTED = {
    "TrainingInputMode": ("File", "FastFile", "Pipe"),
    "RecordWrapperType": ("None",),
    # In a pipe data arrive decompressed; files are looked into.
    "CompressionType": ("None", "Gzip"),
    "S3DistributionType": ("FullyReplicated", "ShardedByS3Key"),
}
# SageMaker wraps objects that are one record each, and only on their way into a pipe.
_OF_PIPES = {"RecordWrapperType": ("None", "RecordIO")}
_OF_MODELS = {"TrainingInputMode": ("File", "FastFile"), "CompressionType": ("None",)}
# A pipe may be made after the container's start.
_PIPE_SECONDS = 300.0
_RETRY_SECONDS = 0.05
_HOST = re.compile(r"algo-[1-9][0-9]*")


class InputError(ValueError):
    """The job's configuration or data cannot be trained on; its author can repair that."""


@dataclass(frozen=True, slots=True)
class ChannelSource:
    """Where a channel's records come from.

    Attributes
    ----------
    name
        Of the channel.
    is_pipe
        Whether it is a pipe, not a folder of files.
    is_sharded
        Whether each host has its own part of the records, not all of them.
    """

    name: str
    is_pipe: bool
    is_sharded: bool


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's records: features (n, at most feature_dim), labels float32 (n,)."""

    features: Features
    labels: NDArray[numpy.float32]

    @classmethod
    def empty(cls, width: int) -> Self:
        """Return a channel without records."""
        keys, values = numpy.zeros(0, dtype=numpy.int32), numpy.zeros(0, dtype=numpy.float32)
        starts = numpy.zeros(1, dtype=numpy.int64)
        return cls(SparseRows(starts, keys, values, (0, width)), values)


def read_hyperparameters(base: Path) -> Mapping[str, object]:
    """Read the job's hyperparameters, as given."""
    return _read_json(base / HYPERPARAMETERS)


def read_hosts(base: Path) -> tuple[str, list[str]]:
    """Read this instance's name and those of all, in the order of their numbers."""
    resources = _read_json(base / "input/config/resourceconfig.json")
    host, hosts = str(resources["current_host"]), [str(name) for name in resources["hosts"]]
    for name in (host, *hosts):
        if not _HOST.fullmatch(name):
            raise ValueError(f"resourceconfig.json: host {name!r} isn't algo-<number>")
    if host not in hosts or len(set(hosts)) != len(hosts):
        raise ValueError(f"resourceconfig.json: current_host {host!r} isn't one of {hosts}, once")
    return host, sorted(hosts, key=lambda name: int(name.removeprefix("algo-")))


def read_sources(base: Path, known: Sequence[str]) -> list[ChannelSource]:
    """Read which channels there are, in the order of those that the algorithm knows.

    Raises
    ------
    InputError
        If `train` is missing, a channel is unknown, or one is configured in an unsupported way.
    """
    channels = _read_json(base / "input/config/inputdataconfig.json")
    if "train" not in channels:
        raise InputError(f"the channel 'train' is required; the job has {sorted(channels)}")
    sources = {}
    for name, configuration in sorted(channels.items()):
        if name not in known:
            listed = " and ".join(repr(name) for name in known)
            raise InputError(f"channel {name!r} isn't known: only {listed} are")
        sources[name] = _source(name, configuration)
    return [sources[name] for name in known if name in sources]


def _source(name: str, configuration: Mapping[str, Any]) -> ChannelSource:
    supported = {**_SUPPORTED, "ContentType": (CONTENT_TYPE,)}
    if name == MODEL_CHANNEL:
        supported |= {**_OF_MODELS, "ContentType": (MODEL_CONTENT_TYPE,)}
    elif configuration.get("TrainingInputMode") == "Pipe":
        supported |= _OF_PIPES
    given = {key: configuration.get(key) or values[0] for key, values in supported.items()}
    for key, values in supported.items():
        if given[key] not in values:
            listed = " and ".join(values)
            raise InputError(
                f"channel {name!r}: {key} {given[key]!r} isn't supported, only {listed}"
            )
    return ChannelSource(
        name,
        is_pipe=given["TrainingInputMode"] == "Pipe",
        is_sharded=given["S3DistributionType"] == "ShardedByS3Key",
    )


def read_model(base: Path) -> Model:
    """Read the model of the channel `model`: a `model.tar.gz` or the `model_algo-1` inside it.

    Raises
    ------
    InputError
        If there isn't exactly one file, or it isn't a model.
    """
    files = _files(base / "input/data" / MODEL_CHANNEL)
    if len(files) != 1:
        raise InputError(
            f"channel {MODEL_CHANNEL!r} must hold one model.tar.gz, but has {list(files)}"
        )
    (path,) = files.values()
    try:
        return artifact.read(path)
    except ArtifactError as error:
        raise InputError(f"channel {MODEL_CHANNEL!r}: {error}") from error


def read_channel(
    base: Path,
    source: ChannelSource,
    hyperparameters: MatineeHyperparameters,
    cache: Path | None = None,
    *,
    may_be_empty: bool = False,
) -> Channel:
    """Read all files of a channel, in the sorted order of their paths, or its pipe, once.

    Parameters
    ----------
    base : Path
        The container's base folder.
    source : ChannelSource
        Of the channel.
    hyperparameters : MatineeHyperparameters
        Give the width of the features and what labels may be.
    cache : Path, optional
        Folder where jobs with the same files share their decoded records.
    may_be_empty : bool
        Whether other hosts may have all of the records.

    Raises
    ------
    InputError
        If a file is malformed, has no labels or doesn't match the others, if there is no record,
        or if the features or labels don't fit the hyperparameters.
    """
    name, width = source.name, hyperparameters.feature_dim
    if source.is_pipe:
        # A cache is searched by what is in files, which is not known of a pipe before its end.
        files, cache = _pipe(base, name), None
    else:
        files = _files(base / "input/data" / name)
    try:
        if not files:
            raise NoRecordsError
        dataset = open_dataset(files, width, scratch=base, cache=cache)
        for part in dataset.parts():
            try:
                check_features(part.features, width)
                check_labels(part.labels, len(part.labels), hyperparameters.predictor_type)
            except DataError as error:
                raise DataError(f"file {part.name!r}: {error}") from error
    except NoRecordsError as error:
        if not may_be_empty:
            raise InputError(f"channel {name!r} has no records") from error
        return Channel.empty(width)
    except DataError as error:
        raise InputError(f"channel {name!r}, {error}") from error
    return Channel(dataset.features, dataset.labels)


def _files(folder: Path) -> dict[str, Path]:
    # S3 keeps a place for a "folder" as an empty object: files without content are no data.
    paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths)}


def _pipe(base: Path, channel: str) -> dict[str, Path]:
    """Wait for the pipe of a channel's first epoch: its records are kept for the others."""
    path = base / "input/data" / f"{channel}_0"
    deadline = time.monotonic() + _PIPE_SECONDS
    while not path.exists():
        if time.monotonic() >= deadline:
            raise FileNotFoundError(f"channel {channel!r}: there is no pipe {path.name}")
        time.sleep(_RETRY_SECONDS)
    return {path.name: path}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} isn't JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold an object, not {type(content).__name__}")
    return content
