"""What requests of different operations have in common: refused members, S3 URIs, images.

Each check refuses with a ValidationException that names the offending member.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from matinee.sagemaker import algorithms
from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.context import Context
from matinee.sagemaker.data.objects import parse_uri
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.machine import compute
from matinee.sagemaker.machine.commands import Command


def refuse(where: str, members: Collection[str], unsupported: Collection[str]) -> None:
    """Refuse members that this version would have to ignore.

    Raises
    ------
    ValidationException
        Some are there; it names them.
    """
    if found := sorted(set(members) & set(unsupported)):
        raise ValidationException(f"not implemented by matinee: {where} with {', '.join(found)}")


def check_s3_uri(member: str, uri: str) -> None:
    """Refuse what is not ``s3://bucket/..``.

    Raises
    ------
    ValidationException
    """
    try:
        parse_uri(uri)
    except ValueError as error:
        raise ValidationException(f"{member}: {error}") from error


def find_algorithm(context: Context, image: str) -> Algorithm:
    """Return the algorithm of an image.

    Raises
    ------
    ValidationException
        Its repository is not registered.
    """
    try:
        return algorithms.find(context.algorithms, image)
    except algorithms.UnknownImageError as error:
        raise ValidationException(str(error)) from error


def find_command(
    algorithm: Algorithm, verb: str, image: str, specification: Mapping[str, Any]
) -> Command:
    """Return what a training or processing job would run.

    Parameters
    ----------
    algorithm
        What ``find_algorithm`` returned.
    verb
        ``train`` or ``process``.
    image
        The job's.
    specification
        With its ContainerEntrypoint and ContainerArguments, if it has some.

    Raises
    ------
    ValidationException
        The image cannot do that, or takes no entrypoint.
    """
    try:
        return algorithm.command(
            verb,
            specification.get("ContainerEntrypoint", ()),
            specification.get("ContainerArguments", ()),
        )
    except algorithms.NoCommandError as error:
        raise ValidationException(f"The image {image!r} {error}.") from error


def check_isolation(command: Command, instances: int) -> None:
    """Refuse EnableNetworkIsolation where a job's processes cannot be without a network.

    Raises
    ------
    ValidationException
    """
    if instances > 1:
        raise ValidationException(
            f"not implemented by matinee: EnableNetworkIsolation with {instances} instances, which "
            "could not reach each other"
        )
    if not command.image and not compute.can_isolate():
        raise ValidationException(
            "not implemented by matinee: EnableNetworkIsolation on a machine whose kernel allows "
            "no network namespaces"
        )
