"""A training job's input channels: which objects each host gets, in which order, and as what.

In File mode a channel is a folder of files; so it is in FastFile mode, where the files are
read-only and all there from the start. In Pipe mode it is a stream of its objects (``pipes.py``).
Every key becomes a file name through ``objects.contained`` alone, and data that would not fit the
job's volume is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from matinee.sagemaker.data.objects import InputObject, Objects, contained
from matinee.sagemaker.machine import hosts

AUGMENTED_MANIFEST = "AugmentedManifestFile"
SHARDED = "ShardedByS3Key"
_READ_ONLY = 0o444

Item = TypeVar("Item")


class TooMuchDataError(Exception):
    """A host's input is larger than its volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel of a job.

    Attributes
    ----------
    name
        Its folder, or the beginning of its pipes' names.
    mode
        ``File``, ``FastFile`` or ``Pipe``.
    data_type, uri
        Where its objects are.
    receivers
        The hosts that get it.
    is_sharded
        Whether each of them gets a part.
    seed
        What its order follows from; None: the order of the keys, or of the manifest.
    is_gzipped
        Whether a pipe decompresses its objects.
    is_wrapped
        Whether a pipe makes a RecordIO record of each object.
    attributes
        Names of what an augmented manifest gives.
    configuration
        What ``inputdataconfig.json`` says about it.
    """

    name: str
    mode: str
    data_type: str
    uri: str
    receivers: Sequence[str]
    is_sharded: bool
    seed: int | None
    is_gzipped: bool
    is_wrapped: bool
    attributes: Sequence[str]
    configuration: Mapping[str, str]

    @property
    def is_piped(self) -> bool:
        """Whether it is a stream."""
        return self.mode == "Pipe"

    def shard(self, host: str) -> tuple[int, int]:
        """Return which shard of the channel a receiver gets, and of how many."""
        if not self.is_sharded:
            return 0, 1
        return self.receivers.index(host), len(self.receivers)


def part(
    items: Sequence[Item], seed: int | None, epoch: int, shard: int, shards: int
) -> list[Item]:
    """Return one of so many shards of a sequence, in the order of an epoch."""
    ordered = list(items)
    if seed is not None:
        random.Random(f"{seed}/{epoch}").shuffle(ordered)  # noqa: S311 - an order, not a secret
    return ordered[shard::shards]


def of_job(document: Mapping[str, Any]) -> list[Channel]:
    """Return the channels of a training job."""
    default_mode = document["AlgorithmSpecification"]["TrainingInputMode"]
    found = []
    for channel in document.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]
        mode = channel.get("InputMode", default_mode)
        shuffled = channel.get("ShuffleConfig")
        found.append(
            Channel(
                name=channel["ChannelName"],
                mode=mode,
                data_type=source["S3DataType"],
                uri=source["S3Uri"],
                receivers=hosts.receivers(
                    document["ResourceConfig"], source.get("InstanceGroupNames", ())
                ),
                is_sharded=source["S3DataDistributionType"] == SHARDED,
                seed=None if shuffled is None else shuffled["Seed"],
                is_gzipped=channel["CompressionType"] == "Gzip",
                is_wrapped=channel["RecordWrapperType"] == "RecordIO",
                attributes=source.get("AttributeNames", ()),
                configuration={
                    "TrainingInputMode": mode,
                    "S3DistributionType": source["S3DataDistributionType"],
                    "RecordWrapperType": channel["RecordWrapperType"],
                    **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
                },
            )
        )
    return found


def download(
    items: Sequence[InputObject],
    folder: Path,
    objects: Objects,
    *,
    room: int,
    check: Callable[[], None],
    is_read_only: bool = False,
) -> int:
    """Write a host's objects of a data source as files, and return how many bytes they have.

    Parameters
    ----------
    items
        What the host gets.
    folder
        Where they belong; made if it is not there.
    objects
        S3.
    room
        How many bytes there may be.
    check
        Called before every piece; what it raises ends the download.
    is_read_only
        Whether the files are, as those of FastFile mode.

    Raises
    ------
    TooMuchDataError
        There are more.
    ObjectMissingError, ObjectRefusedError, UnreachableError, UnsafeKeyError
    """
    folder.mkdir(parents=True, exist_ok=True)
    used = 0
    # Sizes may be unknown, or not those the objects have by now.
    _check_room(sum(item.size or 0 for item in items), room)
    for item in items:
        path = contained(folder, item.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        objects.download(item.bucket, item.key, path, check=check)
        used += path.stat().st_size
        _check_room(used, room)
        if is_read_only:
            path.chmod(_READ_ONLY)
    return used


def _check_room(size: int, room: int) -> None:
    if size > room:
        raise TooMuchDataError(
            f"at least {size} bytes, and the volume of VolumeSizeInGB has room for {room} more"
        )
