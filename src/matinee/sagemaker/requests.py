"""What requests of different operations have in common: refused members, S3 URIs, images.

Each check refuses with a ValidationException that names the offending member.
"""

from __future__ import annotations

from collections.abc import Collection

from matinee.sagemaker import algorithms
from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.objects import parse_uri


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
