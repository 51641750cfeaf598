"""What a training job is given: configuration files and channels, below a base folder.

File mode on one instance, channels `train` and `test` of RecordIO-protobuf. Anything else is
refused with an `InputError` that names the channel, the file and the record.
Source: SageMaker Developer Guide, "How Amazon SageMaker Provides Training Information".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm.data import Features, check_features, check_labels
from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import Hyperparameters
from matinee.recordio import RecordIOError, Records, decode

HYPERPARAMETERS = "input/config/hyperparameters.json"
CONTENT_TYPE = "application/x-recordio-protobuf"
# What a channel's configuration may say; a key that is absent means the first value.
_SUPPORTED = {
    "TrainingInputMode": ("File", "FastFile"),
    "ContentType": (CONTENT_TYPE,),
    "RecordWrapperType": ("None",),
    "CompressionType": ("None",),
}
_HOST = re.compile(r"algo-[1-9][0-9]*")


class InputError(ValueError):
    """The job's configuration or data cannot be trained on; its author can repair that."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel's records: features (n, feature_dim), labels float32 (n,), n > 0."""

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


def read_channel_names(base: Path) -> list[str]:
    """Read which channels there are.

    Raises
    ------
    InputError
        If `train` is missing, a channel is unknown, or one is configured in an unsupported way.
    """
    channels = _read_json(base / "input/config/inputdataconfig.json")
    if "train" not in channels:
        raise InputError(f"the channel 'train' is required; the job has {sorted(channels)}")
    for name, configuration in sorted(channels.items()):
        if name not in ("train", "test"):
            raise InputError(f"channel {name!r} isn't known: only 'train' and 'test' are")
        for key, supported in _SUPPORTED.items():
            value = configuration.get(key) or supported[0]
            if value not in supported:
                raise InputError(
                    f"channel {name!r}: {key} {value!r} isn't supported, only "
                    + " and ".join(supported)
                )
    return [name for name in ("train", "test") if name in channels]


def read_channel(base: Path, name: str, hyperparameters: Hyperparameters) -> Channel:
    """Read all files of a channel, in the sorted order of their paths.

    Parameters
    ----------
    base : Path
        The container's base folder.
    name : str
        `train` or `test`.
    hyperparameters : Hyperparameters
        Give the width of the features and what labels may be.

    Raises
    ------
    InputError
        If a file is malformed, has no labels or doesn't match the others, if there is no record,
        or if the features or labels don't fit the hyperparameters.
    """
    folder = base / "input/data" / name
    # S3 keeps a place for a "folder" as an empty object: files without content are no data.
    paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    parts = []
    for path in sorted(paths):
        where = f"channel {name!r}, file {path.relative_to(folder).as_posix()!r}"
        parts.append(_read_file(path, where, hyperparameters))
    if not parts:
        raise InputError(f"channel {name!r} has no records")
    if len({scipy.sparse.issparse(part.features) for part in parts}) > 1:
        raise InputError(f"channel {name!r} mixes files of dense and of sparse records")
    if len(parts) == 1:
        return parts[0]
    features: Any = [part.features for part in parts]
    stack = scipy.sparse.vstack if scipy.sparse.issparse(features[0]) else numpy.concatenate
    return Channel(stack(features), numpy.concatenate([part.labels for part in parts]))


def _read_file(path: Path, where: str, hyperparameters: Hyperparameters) -> Channel:
    with path.open("rb") as file:
        # Never closed by hand: an error's traceback may still refer to the mapped bytes.
        content = mmap(file.fileno(), 0, access=ACCESS_READ)
    try:
        records = decode(content)
        return _check(records, hyperparameters)
    except (RecordIOError, DataError) as error:
        raise InputError(f"{where}: {error}") from error


def _check(records: Records, hyperparameters: Hyperparameters) -> Channel:
    features = check_features(records.features, hyperparameters.feature_dim)
    labels = check_labels(records.labels, features.shape[0], hyperparameters.predictor_type)
    return Channel(features, labels)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} isn't JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold an object, not {type(content).__name__}")
    return content
