"""ECR: the images this server can run, one repository for each registered algorithm.

No image has layers or a digest here: a repository's name alone says which algorithm it is, so every
tag exists. Nothing can be pushed or pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.errors import (
    ImageNotFoundException,
    RepositoryNotFoundException,
)
from matinee.sagemaker.registry import sequences

MAX_RESULTS = 100
_LATEST = "latest"


def describe_repositories(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe the named repositories, or all of them by name.

    Raises
    ------
    RepositoryNotFoundException
        No registered algorithm has this name.
    InvalidParameterException
        The token is none of this operation.
    """
    registry = request.get("registryId", context.account_id)
    if "repositoryNames" in request:
        names = request["repositoryNames"]
        for name in names:
            _require(context, name, registry)
        return {"repositories": [_repository(context, name, registry) for name in names]}
    shown, rest = sequences.names_after(
        sorted(context.algorithms),
        request.get("nextToken"),
        request.get("maxResults", MAX_RESULTS),
    )
    return {"repositories": [_repository(context, name, registry) for name in shown], **rest}


def describe_images(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe the images of a repository: those of the tags asked for, or the latest.

    Raises
    ------
    RepositoryNotFoundException
        No registered algorithm has this name.
    ImageNotFoundException
        An image is asked for by digest: none has one.
    """
    name = request["repositoryName"]
    registry = request.get("registryId", context.account_id)
    _require(context, name, registry)
    wanted = request.get("imageIds", [{"imageTag": _LATEST}])
    for identifier in wanted:
        if "imageDigest" in identifier:
            raise ImageNotFoundException(
                f"The image with imageId {{imageDigest:'{identifier['imageDigest']}'}} does not "
                f"exist within the repository with name '{name}' in the registry with id "
                f"'{registry}'"
            )
    return {
        "imageDetails": [
            {
                "registryId": registry,
                "repositoryName": name,
                "imageTags": [identifier.get("imageTag", _LATEST)],
            }
            for identifier in wanted
        ]
    }


def _require(context: Context, name: str, registry: str) -> None:
    if name not in context.algorithms:
        raise RepositoryNotFoundException(
            f"The repository with name '{name}' does not exist in the registry with id '{registry}'"
        )


def _repository(context: Context, name: str, registry: str) -> dict[str, Any]:
    return {
        "repositoryArn": f"arn:aws:ecr:{context.region}:{registry}:repository/{name}",
        "registryId": registry,
        "repositoryName": name,
        "repositoryUri": f"{registry}.dkr.ecr.{context.region}.amazonaws.com/{name}",
        "imageTagMutability": "MUTABLE",
    }


OPERATIONS: Mapping[str, Operation] = {
    "DescribeImages": describe_images,
    "DescribeRepositories": describe_repositories,
}
