"""Image repositories, asked for with boto3."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sagemaker.conftest import Front

FM = "factorization-machines"
REGISTRY = "382416733822"


@pytest.fixture
def ecr(front: Front) -> Any:
    return front.client("ecr")


def test_every_registered_algorithm_has_a_repository(front: Front, ecr: Any) -> None:
    pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 1})
    names = [[item["repositoryName"] for item in page["repositories"]] for page in pages]
    assert names == [[name] for name in sorted(front.context.algorithms)]
    assert FM in front.context.algorithms


def test_a_repository_of_any_registry(ecr: Any) -> None:
    answer = ecr.describe_repositories(registryId=REGISTRY, repositoryNames=[FM])
    assert answer["repositories"] == [
        {
            "repositoryArn": f"arn:aws:ecr:us-east-1:{REGISTRY}:repository/{FM}",
            "registryId": REGISTRY,
            "repositoryName": FM,
            "repositoryUri": f"{REGISTRY}.dkr.ecr.us-east-1.amazonaws.com/{FM}",
            "imageTagMutability": "MUTABLE",
        }
    ]


def test_images_by_tag(ecr: Any) -> None:
    answer = ecr.describe_images(repositoryName=FM, imageIds=[{"imageTag": "1"}])
    assert answer["imageDetails"] == [
        {"registryId": "000000000000", "repositoryName": FM, "imageTags": ["1"]}
    ]
    (latest,) = ecr.describe_images(repositoryName=FM)["imageDetails"]
    assert latest["imageTags"] == ["latest"]


def test_what_is_not_there(ecr: Any) -> None:
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException, match="'nothing' does not"):
        ecr.describe_repositories(repositoryNames=["nothing"])
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
        ecr.describe_images(repositoryName="nothing")
    with pytest.raises(ecr.exceptions.ImageNotFoundException, match="sha256:0"):
        ecr.describe_images(repositoryName=FM, imageIds=[{"imageDigest": "sha256:0"}])
    with pytest.raises(ecr.exceptions.InvalidParameterException, match="nextToken"):
        ecr.describe_repositories(nextToken="nothing")
