"""What a training job is given: configuration files and channels, below a base folder.

File mode on one instance; channels of RecordIO-protobuf, and `model` of a model trained before.
Anything else is refused with an `InputError` that names the channel, the file and the record.
Source: SageMaker Developer Guide, "How Amazon SageMaker Provides Training Information".
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from matinee.fm import artifact
from matinee.fm.container.datasets import open_dataset
from matinee.fm.data import Features, check_features, check_labels
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
    "TrainingInputMode": ("File", "FastFile"),
    "RecordWrapperType": ("None",),
    "CompressionType": ("None",),
}
_HOST = re.compile(r"algo-[1-9][0-9]*")


class InputError(ValueError):
    """The job's configuration or data cannot be trained on; its author can repair that."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's records: features (n, at most feature_dim), labels float32 (n,), n > 0."""

    features: Features
    labels: NDArray[numpy.float32]


def read_hyperparameters(base: Path) -> Mapping[str, object]:
    """Read the job's hyperparameters, as given."""
    return _read_json(base / HYPERPARAMETERS)


def read_host(base: Path) -> str:
    """Read this instance's name.

    Raises
    ------
    InputError
        If there are other instances.
    """
    resources = _read_json(base / "input/config/resourceconfig.json")
    host, hosts = str(resources["current_host"]), resources["hosts"]
    if hosts != [host]:
        raise InputError(f"the job has the instances {hosts}: InstanceCount must be 1")
    if not _HOST.fullmatch(host):
        raise ValueError(f"resourceconfig.json: current_host {host!r} isn't algo-<number>")
    return host


def read_channel_names(base: Path, known: Sequence[str]) -> list[str]:
    """Read which channels there are, in the order of those that the algorithm knows.

    Raises
    ------
    InputError
        If `train` is missing, a channel is unknown, or one is configured in an unsupported way.
    """
    channels = _read_json(base / "input/config/inputdataconfig.json")
    if "train" not in channels:
        raise InputError(f"the channel 'train' is required; the job has {sorted(channels)}")
    for name, configuration in sorted(channels.items()):
        if name not in known:
            listed = " and ".join(repr(name) for name in known)
            raise InputError(f"channel {name!r} isn't known: only {listed} are")
        content_type = MODEL_CONTENT_TYPE if name == MODEL_CHANNEL else CONTENT_TYPE
        for key, supported in {**_SUPPORTED, "ContentType": (content_type,)}.items():
            value = configuration.get(key) or supported[0]
            if value not in supported:
                raise InputError(
                    f"channel {name!r}: {key} {value!r} isn't supported, only "
                    + " and ".join(supported)
                )
    return [name for name in known if name in channels]


def read_model(base: Path) -> Model:
    """Read the model of the channel `model`: a `model.tar.gz` or the `model_algo-1` inside it.

    Raises
    ------
    InputError
        If there isn't exactly one file, or it isn't a model.
    """
    folder = base / "input/data" / MODEL_CHANNEL
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    if len(paths) != 1:
        names = [path.relative_to(folder).as_posix() for path in paths]
        raise InputError(f"channel {MODEL_CHANNEL!r} must hold one model.tar.gz, but has {names}")
    try:
        return artifact.read(paths[0])
    except ArtifactError as error:
        raise InputError(f"channel {MODEL_CHANNEL!r}: {error}") from error


def read_channel(
    base: Path, name: str, hyperparameters: MatineeHyperparameters, cache: Path | None = None
) -> Channel:
    """Read all files of a channel, in the sorted order of their paths.

    Parameters
    ----------
    base : Path
        The container's base folder.
    name : str
        Of the channel.
    hyperparameters : MatineeHyperparameters
        Give the width of the features and what labels may be.
    cache : Path, optional
        Folder where jobs with the same files share their decoded records.

    Raises
    ------
    InputError
        If a file is malformed, has no labels or doesn't match the others, if there is no record,
        or if the features or labels don't fit the hyperparameters.
    """
    folder = base / "input/data" / name
    # S3 keeps a place for a "folder" as an empty object: files without content are no data.
    paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    if not paths:
        raise InputError(f"channel {name!r} has no records")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(paths)}
    width, predictor_type = hyperparameters.feature_dim, hyperparameters.predictor_type
    try:
        dataset = open_dataset(files, width, scratch=base, cache=cache)
        for part in dataset.parts():
            try:
                check_features(part.features, width)
                check_labels(part.labels, len(part.labels), predictor_type)
            except DataError as error:
                raise DataError(f"file {part.name!r}: {error}") from error
    except DataError as error:
        raise InputError(f"channel {name!r}, {error}") from error
    return Channel(dataset.features, dataset.labels)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} isn't JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold an object, not {type(content).__name__}")
    return content
