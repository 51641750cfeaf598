"""The data of a SageMaker model, from S3 into its container's ``/opt/ml/model``.

A ``.tar.gz`` is unpacked with the limits of ``archives``; uncompressed model data are the objects
below a prefix, or one object, as they are. Nothing is written outside of the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.sagemaker.data import archives
from matinee.sagemaker.data.objects import (
    ObjectMissingError,
    Objects,
    ObjectsError,
    contained,
    parse_uri,
    relative_name,
)


class ModelDataError(Exception):
    """The model data cannot be had, or are damaged; the message says where and why."""


@dataclass(frozen=True, slots=True)
class ModelData:
    """Where a container's model data are.

    Attributes
    ----------
    uri
        S3 URI.
    is_archive
        Whether it is one ``.tar.gz``.
    is_prefix
        Whether it is a prefix of objects, not one object.
    """

    uri: str
    is_archive: bool
    is_prefix: bool


def of_container(container: Mapping[str, Any]) -> ModelData | None:
    """Return where a container's model data are; None when it has none.

    Parameters
    ----------
    container
        A ContainerDefinition: ModelDataUrl or ModelDataSource.
    """
    if "ModelDataUrl" in container:
        return ModelData(container["ModelDataUrl"], is_archive=True, is_prefix=False)
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source is None:
        return None
    return ModelData(
        source["S3Uri"],
        is_archive=source["CompressionType"] == "Gzip",
        is_prefix=source["S3DataType"] == "S3Prefix",
    )


def exist(objects: Objects, data: ModelData) -> bool:
    """Return whether there is anything at the URI.

    Raises
    ------
    ObjectsError
        S3 does not say.
    ValueError
        It is not an S3 URI.
    """
    bucket, key = parse_uri(data.uri)
    found = objects.find(bucket, key)
    return bool(found) if data.is_prefix else any(item.key == key for item in found)


def deliver(
    objects: Objects,
    container: Mapping[str, Any],
    folder: Path,
    *,
    scratch: Path,
    check: Callable[[], None],
) -> None:
    """Put a container's model data into a new folder.

    Parameters
    ----------
    objects
        S3 as the model's role may use it.
    container
        A ContainerDefinition.
    folder
        Made here; stays empty when the container has no model data.
    scratch
        A folder for the archive on its way; the archive is removed.
    check
        Called now and then; what it raises ends the delivery.

    Raises
    ------
    ModelDataError
    """
    folder.mkdir(parents=True)
    data = of_container(container)
    if data is None:
        return
    try:
        if data.is_archive:
            _deliver_archive(objects, data, folder, scratch / "model.tar.gz", check)
        else:
            _deliver_objects(objects, data, folder, check)
    except (ObjectsError, archives.ArchiveError, ValueError) as error:
        raise ModelDataError(f"model data {data.uri}: {error}") from error


def _deliver_archive(
    objects: Objects, data: ModelData, folder: Path, archive: Path, check: Callable[[], None]
) -> None:
    try:
        objects.download(*parse_uri(data.uri), archive, check=check)
        archives.unpack(archive, folder)
    finally:
        archive.unlink(missing_ok=True)


def _deliver_objects(
    objects: Objects, data: ModelData, folder: Path, check: Callable[[], None]
) -> None:
    bucket, prefix = parse_uri(data.uri)
    found = [
        item
        for item in objects.find(bucket, prefix)
        if not item.key.endswith("/") and (data.is_prefix or item.key == prefix)
    ]
    if not found:
        raise ObjectMissingError(f"{data.uri}: there is no object")
    for item in found:
        path = contained(folder, relative_name(prefix, item.key))
        path.parent.mkdir(parents=True, exist_ok=True)
        objects.download(bucket, item.key, path, check=check)
