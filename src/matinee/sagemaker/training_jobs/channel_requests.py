"""What an InputDataConfig may ask for, beyond what the service's model says.

Refused by name: file systems, data sets of a hub, accepted licences, Converse. What only Pipe mode
has (decompression, wrapping, augmented manifests) is refused in the others, as on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.requests import check_s3_uri, refuse
from matinee.sagemaker.training_jobs.channels import AUGMENTED_MANIFEST

_OTHER_SOURCES = {"FileSystemDataSource", "DatasetSource"}


def check_channels(
    channels: Sequence[Mapping[str, Any]], default_mode: str, groups: Sequence[str]
) -> None:
    """Check the channels of a training job.

    Parameters
    ----------
    channels
        Its InputDataConfig.
    default_mode
        Of channels without an InputMode.
    groups
        The names of the job's instance groups.

    Raises
    ------
    ValidationException
    """
    names = [channel["ChannelName"] for channel in channels]
    for name, channel in zip(names, channels, strict=True):
        where, mode = f"channel {name!r}", channel.get("InputMode", default_mode)
        if names.count(name) > 1:
            raise ValidationException(f"{where} is there twice; the names of channels are unique")
        if name in {".", ".."}:
            raise ValidationException(f"{where} cannot be the name of a folder")
        if mode == "Pipe":
            pipe = re.compile(rf"{re.escape(name)}_[0-9]+")
            if clashes := [other for other in names if pipe.fullmatch(other)]:
                raise ValidationException(
                    f"channel {clashes[0]!r} has the name of a pipe of {where}"
                )
        for member in ("CompressionType", "RecordWrapperType"):
            if mode != "Pipe" and channel.get(member, "None") != "None":
                raise ValidationException(
                    f"{where}: {member} {channel[member]} is for Pipe input mode; in {mode} mode "
                    "leave it unset or set it to None"
                )
        refuse(f"{where}: DataSource", channel["DataSource"], _OTHER_SOURCES)
        if "S3DataSource" not in channel["DataSource"]:
            raise ValidationException(f"{where} must have an S3DataSource")
        _check_source(where, channel["DataSource"]["S3DataSource"], mode, groups)


def _check_source(where: str, source: Mapping[str, Any], mode: str, groups: Sequence[str]) -> None:
    data_type, attributes = source["S3DataType"], source.get("AttributeNames", ())
    if data_type == AUGMENTED_MANIFEST:
        if mode != "Pipe":
            raise ValidationException(
                f"{where}: S3DataType {data_type} is for Pipe input mode, not {mode}"
            )
        if not attributes:
            raise ValidationException(f"{where}: S3DataType {data_type} needs AttributeNames")
    else:
        check_data_type(where, data_type)
        if attributes:
            raise ValidationException(
                f"{where}: AttributeNames are for S3DataType {AUGMENTED_MANIFEST}"
            )
    check_s3_uri(f"{where}: S3Uri", source["S3Uri"])
    refuse(where, source, {"ModelAccessConfig", "HubAccessConfig"})
    if unknown := sorted(set(source.get("InstanceGroupNames", ())) - set(groups)):
        raise ValidationException(
            f"{where}: InstanceGroupNames {unknown} are not among the job's groups {list(groups)}"
        )


def check_data_type(where: str, data_type: str) -> None:
    """Refuse kinds of data source that are not read here.

    Raises
    ------
    ValidationException
    """
    if data_type not in {"S3Prefix", "ManifestFile"}:
        raise ValidationException(
            f"not implemented by matinee: {where} with S3DataType {data_type}; "
            "use S3Prefix or ManifestFile"
        )


def with_defaults(channel: Mapping[str, Any]) -> dict[str, Any]:
    """Return a channel as DescribeTrainingJob shows it."""
    source = channel["DataSource"]["S3DataSource"]
    return {
        "CompressionType": "None",
        "RecordWrapperType": "None",
        **channel,
        "DataSource": {"S3DataSource": {"S3DataDistributionType": "FullyReplicated", **source}},
    }
