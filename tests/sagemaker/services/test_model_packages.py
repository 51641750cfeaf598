"""The model registry, asked with boto3."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.services.model_packages import container_of
from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.jobs.conftest import refusal

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
CONTAINER = {"Image": IMAGE, "Environment": {"a": "b"}}
SPECIFICATION = {
    "Containers": [CONTAINER],
    "SupportedContentTypes": ["application/json"],
    "SupportedResponseMIMETypes": ["application/json"],
}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture
def registry(front: Front) -> Any:
    client = front.client("sagemaker")
    client.create_model_package_group(
        ModelPackageGroupName="Stars", ModelPackageGroupDescription="of books"
    )
    return client


def add_version(client: Any, **changes: Any) -> str:
    arn: str = client.create_model_package(
        ModelPackageGroupName="Stars", InferenceSpecification=SPECIFICATION, **changes
    )["ModelPackageArn"]
    return arn


def test_a_group(registry: Any) -> None:
    described = registry.describe_model_package_group(ModelPackageGroupName="Stars")
    described.pop("ResponseMetadata")
    assert described == {
        "ModelPackageGroupName": "Stars",
        "ModelPackageGroupArn": f"{ARN}:model-package-group/stars",
        "ModelPackageGroupDescription": "of books",
        "CreationTime": NOON,
        "CreatedBy": {},
        "ModelPackageGroupStatus": "Completed",
    }
    arn = described["ModelPackageGroupArn"]
    assert registry.describe_model_package_group(ModelPackageGroupName=arn)["CreationTime"] == NOON


def test_a_groups_name_is_taken_in_any_case(registry: Any) -> None:
    code, message = refusal(registry.create_model_package_group, ModelPackageGroupName="sTARS")
    assert code == "ValidationException"
    assert message == f"Model Package Group already exists: {ARN}:model-package-group/stars"


def test_lists_groups(registry: Any) -> None:
    registry.create_model_package_group(ModelPackageGroupName="other")
    answer = registry.list_model_package_groups(SortBy="Name", SortOrder="Descending")
    names = [group["ModelPackageGroupName"] for group in answer["ModelPackageGroupSummaryList"]]
    assert names == ["other", "Stars"]
    found = registry.list_model_package_groups(NameContains="STAR")["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupDescription"] for group in found] == ["of books"]
    shared = registry.list_model_package_groups(CrossAccountFilterOption="CrossAccount")
    assert shared["ModelPackageGroupSummaryList"] == []


def test_a_group_with_versions_is_not_deleted(registry: Any) -> None:
    package = add_version(registry)
    with pytest.raises(registry.exceptions.ConflictException, match="still contains"):
        registry.delete_model_package_group(ModelPackageGroupName="Stars")
    registry.delete_model_package(ModelPackageName=package)
    registry.delete_model_package_group(ModelPackageGroupName="Stars")
    assert refusal(registry.describe_model_package_group, ModelPackageGroupName="Stars") == (
        "ValidationException",
        f"ModelPackageGroup {ARN}:model-package-group/stars does not exist.",
    )


def test_a_groups_policy(registry: Any) -> None:
    code, message = refusal(registry.get_model_package_group_policy, ModelPackageGroupName="Stars")
    assert (code, message[:35]) == ("ValidationException", "Cannot find resource policy for: ar")
    registry.put_model_package_group_policy(ModelPackageGroupName="Stars", ResourcePolicy=POLICY)
    answer = registry.get_model_package_group_policy(ModelPackageGroupName="Stars")
    assert answer["ResourcePolicy"] == POLICY
    registry.delete_model_package_group_policy(ModelPackageGroupName="Stars")
    assert refusal(registry.get_model_package_group_policy, ModelPackageGroupName="Stars")[0] == (
        "ValidationException"
    )
    for text in ("{", "[" * 20_000):
        bad = refusal(
            registry.put_model_package_group_policy,
            ModelPackageGroupName="Stars",
            ResourcePolicy=text,
        )
        assert bad[1].startswith("ResourcePolicy is not JSON")


def test_versions_count_up_and_are_never_given_again(registry: Any) -> None:
    assert add_version(registry) == f"{ARN}:model-package/stars/1"
    second = add_version(registry)
    registry.delete_model_package(ModelPackageName=second)
    assert add_version(registry) == f"{ARN}:model-package/stars/3"
    assert refusal(registry.describe_model_package, ModelPackageName="Stars/2") == (
        "ValidationException",
        f"ModelPackage {ARN}:model-package/stars/2 does not exist.",
    )


def test_describes_a_version(registry: Any) -> None:
    arn = add_version(
        registry,
        ModelPackageDescription="first",
        CustomerMetadataProperties={"rmse": "1.0"},
        ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "a/b", "S3Uri": "s3://a/b"}}},
        MetadataProperties={"GeneratedBy": "me"},
    )
    described = registry.describe_model_package(ModelPackageName=arn)
    assert described["ModelPackageVersion"] == 1
    assert described["ModelPackageGroupName"] == "Stars"
    assert described["ModelApprovalStatus"] == "PendingManualApproval"
    assert described["ModelPackageStatus"] == "Completed"
    assert described["ModelPackageStatusDetails"]["ValidationStatuses"] == []
    assert described["InferenceSpecification"] == SPECIFICATION
    assert described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"] == "s3://a/b"
    assert described["MetadataProperties"] == {"GeneratedBy": "me"}
    same = registry.describe_model_package(ModelPackageName="stars/1")
    assert same["ModelPackageDescription"] == "first"


def test_the_same_request_again_makes_no_second_version(registry: Any) -> None:
    first = add_version(registry, ClientToken="t")
    assert add_version(registry, ClientToken="t") == first
    with pytest.raises(registry.exceptions.ConflictException, match="another request"):
        add_version(registry, ClientToken="t", ModelPackageDescription="x")


def test_versions_made_at_once_are_numbered_once(registry: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        arns = list(pool.map(lambda _: add_version(registry), range(12)))
    assert sorted(int(arn.rpartition("/")[2]) for arn in arns) == list(range(1, 13))
    answer = registry.list_model_packages(
        ModelPackageGroupName="Stars", SortBy="Name", SortOrder="Descending", MaxResults=3
    )
    versions = [item["ModelPackageVersion"] for item in answer["ModelPackageSummaryList"]]
    assert versions == [12, 11, 10]


def test_changes_a_version(registry: Any) -> None:
    arn = add_version(registry, CustomerMetadataProperties={"a": "1", "b": "2"})
    more = {"Name": "small", "Containers": [CONTAINER]}
    registry.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="good",
        CustomerMetadataProperties={"c": "3"},
        CustomerMetadataPropertiesToRemove=["a"],
        AdditionalInferenceSpecificationsToAdd=[more],
    )
    described = registry.describe_model_package(ModelPackageName=arn)
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["ApprovalDescription"] == "good"
    assert described["CustomerMetadataProperties"] == {"b": "2", "c": "3"}
    assert described["AdditionalInferenceSpecifications"] == [more]
    code, message = refusal(
        registry.update_model_package,
        ModelPackageArn=arn,
        AdditionalInferenceSpecificationsToAdd=[more],
    )
    assert code == "ValidationException"
    assert "twice: small" in message


def test_lists_packages(registry: Any) -> None:
    registry.create_model_package(ModelPackageName="alone", InferenceSpecification=SPECIFICATION)
    add_version(registry)
    add_version(registry, ModelApprovalStatus="Approved")

    def listed(**request: Any) -> list[str]:
        pages = registry.get_paginator("list_model_packages").paginate(
            PaginationConfig={"PageSize": 1}, **request
        )
        return [
            item["ModelPackageArn"].partition("model-package/")[2]
            for page in pages
            for item in page["ModelPackageSummaryList"]
        ]

    assert listed() == ["alone"]
    assert sorted(listed(ModelPackageType="Both")) == ["alone", "stars/1", "stars/2"]
    assert listed(ModelPackageGroupName="Stars") == ["stars/1", "stars/2"]
    assert listed(ModelPackageType="Versioned", ModelApprovalStatus="Approved") == ["stars/2"]
    assert listed(ModelPackageType="Both", NameContains="tar") == ["stars/1", "stars/2"]


def test_describes_many(registry: Any) -> None:
    arn, missing = add_version(registry), f"{ARN}:model-package/stars/7"
    answer = registry.batch_describe_model_package(ModelPackageArnList=[arn, missing])
    summary = answer["ModelPackageSummaries"][arn]
    assert (summary["ModelPackageVersion"], summary["ModelApprovalStatus"]) == (
        1,
        "PendingManualApproval",
    )
    assert answer["BatchDescribeModelPackageErrorMap"] == {
        missing: {
            "ErrorCode": "ValidationException",
            "ErrorResponse": f"ModelPackage {missing} does not exist.",
        }
    }


def test_a_package_of_its_own(registry: Any) -> None:
    request = {"ModelPackageName": "alone", "InferenceSpecification": SPECIFICATION}
    arn = registry.create_model_package(**request)["ModelPackageArn"]
    assert arn == f"{ARN}:model-package/alone"
    assert refusal(registry.create_model_package, **request) == (
        "ValidationException",
        f"Model Package already exists: {arn}",
    )
    code, message = refusal(registry.update_model_package, ModelPackageArn=arn)
    assert (code, message) == (
        "ValidationException",
        f"ModelPackage {arn} is not a version of a group.",
    )


def test_a_clone(registry: Any) -> None:
    arn = add_version(registry)
    clone = registry.create_model_package(ModelPackageGroupName="Stars", SourceUri=arn)
    described = registry.describe_model_package(ModelPackageName=clone["ModelPackageArn"])
    assert described["InferenceSpecification"] == SPECIFICATION


def test_from_a_model(registry: Any) -> None:
    model = registry.create_model(ModelName="m", PrimaryContainer=CONTAINER)["ModelArn"]
    package = registry.create_model_package(ModelPackageGroupName="Stars", SourceUri=model)
    described = registry.describe_model_package(ModelPackageName=package["ModelPackageArn"])
    assert described["InferenceSpecification"] == {"Containers": [CONTAINER]}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "Missing ARN."),
        ({"ModelPackageName": "a", "ModelPackageGroupName": "Stars"}, "Cannot determine which"),
        ({"ModelPackageGroupName": "other"}, "model-package-group/other does not exist."),
        ({"ModelPackageName": "a"}, "must have an InferenceSpecification"),
        ({"ModelPackageName": "a", "ModelApprovalStatus": "Approved"}, "does not apply"),
        (
            {"ModelPackageGroupName": "Stars", "SecurityConfig": {"KmsKeyId": "k"}},
            "not implemented by matinee: a model package with SecurityConfig",
        ),
        (
            {"ModelPackageGroupName": "Stars", "SourceUri": f"{ARN}:model/none"},
            "is no model and no model package here",
        ),
        (
            {
                "ModelPackageGroupName": "Stars",
                "InferenceSpecification": {
                    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://matinee/no/model.tar.gz"}]
                },
            },
            "Could not find model data at s3://matinee/no/model.tar.gz.",
        ),
    ],
)
def test_packages_that_are_refused(registry: Any, request_: dict[str, Any], words: str) -> None:
    code, message = refusal(registry.create_model_package, **request_)
    assert code == "ValidationException"
    assert words in message


def test_an_approved_version_gives_a_models_container(registry: Any, front: Front) -> None:
    arn = add_version(registry)
    with pytest.raises(ValidationException, match="must be Approved"):
        container_of(front.context, arn)
    registry.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert container_of(front.context, arn) == CONTAINER
    with pytest.raises(ValidationException, match="has no small"):
        container_of(front.context, arn, "small")
