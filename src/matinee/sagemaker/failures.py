"""Why a job failed, in the form of AWS's FailureReason: the class of the fault, then a sentence.

ClientError is the caller's doing (data, permissions, a model that is none), AlgorithmError the
algorithm's, InternalServerError this machine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from matinee.sagemaker import algorithms
from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.data.objects import (
    ObjectMissingError,
    ObjectsError,
    UnreachableError,
    parse_uri,
)
from matinee.sagemaker.machine.commands import Command

REASON_LIMIT = 1024


class JobFailedError(Exception):
    """The job cannot be completed; the message is its FailureReason."""


class HostLostError(JobFailedError):
    """A host of the job is gone, and not by its own doing."""


def algorithm_of(image: str, registered: Mapping[str, Algorithm]) -> Algorithm:
    """Return the algorithm of an image, or fail the job: it was registered when the job was made.

    Raises
    ------
    JobFailedError
    """
    try:
        return algorithms.find(registered, image)
    except algorithms.UnknownImageError as error:
        raise JobFailedError(f"ClientError: {error}") from error


def command_of(
    registered: Mapping[str, Algorithm], verb: str, image: str, specification: Mapping[str, Any]
) -> Command:
    """Return what a job runs, or fail the job: it could be run when the job was made.

    Parameters
    ----------
    registered
        The algorithms there are.
    verb
        ``train`` or ``process``.
    image
        The job's.
    specification
        With its ContainerEntrypoint and ContainerArguments, if it has some.

    Raises
    ------
    JobFailedError
    """
    try:
        return algorithm_of(image, registered).command(
            verb,
            specification.get("ContainerEntrypoint", ()),
            specification.get("ContainerArguments", ()),
        )
    except algorithms.NoCommandError as error:
        raise JobFailedError(f"ClientError: image {image!r} {error}") from error


def object_reason(error: ObjectsError) -> str:
    """Return the reason for a failure at S3."""
    fault = "InternalServerError" if isinstance(error, UnreachableError) else "ClientError"
    return f"{fault}: {error}"


@contextmanager
def object_failures() -> Iterator[None]:
    """Let a failure at S3 fail the job."""
    try:
        yield
    except ObjectsError as error:
        raise JobFailedError(object_reason(error)) from error


@contextmanager
def input_failures(uri: str, *, region: str, role: str) -> Iterator[None]:
    """Let a failure at a job's input fail the job; nothing there is told in AWS's words."""
    try:
        with object_failures():
            yield
    except JobFailedError as error:
        if not isinstance(error.__cause__, ObjectMissingError):
            raise
        raise JobFailedError(
            f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. '
            f"Please ensure that the bucket exists in the selected region ({region}), that objects "
            f'exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" '
            f'permissions on bucket "{parse_uri(uri)[0]}". Error message from S3: {error.__cause__}'
        ) from error
