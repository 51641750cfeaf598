"""The model registry's packages: versions of a group, or packages of their own.

A package says how a model is served (image, model data) and what is known of it (approval, metrics,
metadata); CreateModel can take its container from an approved version. Packages made from algorithm
resources, validation by transform jobs and the marketplace are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from matinee.sagemaker.context import Context, Operation
from matinee.sagemaker.data.objects import ObjectMissingError, ObjectRefusedError, parse_uri
from matinee.sagemaker.errors import (
    ConflictException,
    ServiceError,
    ValidationException,
)
from matinee.sagemaker.listing import members, page
from matinee.sagemaker.registry.entities import MEMBERSHIP, check_tags, without
from matinee.sagemaker.registry.model_registry import GROUP, PACKAGE
from matinee.sagemaker.store import Resource

MAX_ADDITIONAL_SPECIFICATIONS = 15

_UNSUPPORTED = (
    "ManagedStorageType",
    "SecurityConfig",
    "SourceAlgorithmSpecification",
    "ValidationSpecification",
)
# What a container of a package says that a container of a model says too.
_CONTAINER_MEMBERS = (
    "AdditionalModelDataSources",
    "ContainerHostname",
    "Environment",
    "Image",
    "ModelDataSource",
    "ModelDataUrl",
)


def container_of(
    context: Context, name: str, specification_name: str | None = None
) -> dict[str, Any]:
    """Return the container a model package describes, as CreateModel takes one.

    Parameters
    ----------
    context
        The server's surroundings.
    name
        Name or ARN of a package: ``model-package/<group>/<version>``.
    specification_name
        One of its AdditionalInferenceSpecifications instead of its InferenceSpecification.

    Raises
    ------
    ValidationException
        There is no such package or specification, the version is not approved, or the package
        does not have exactly one container.
    """
    package = PACKAGE.get(context, name)
    document = package.document
    approval = document.get("ModelApprovalStatus", "Approved")
    if approval != "Approved":
        raise ValidationException(
            f"ModelPackage {package.arn} cannot be deployed: its ModelApprovalStatus is "
            f"{approval}, and must be Approved"
        )
    if specification_name is None:
        specification = document.get("InferenceSpecification")
    else:
        more = document.get("AdditionalInferenceSpecifications", ())
        specification = next((item for item in more if item["Name"] == specification_name), None)
    if specification is None:
        wanted = specification_name or "InferenceSpecification"
        raise ValidationException(f"ModelPackage {package.arn} has no {wanted}.")
    containers = specification["Containers"]
    if len(containers) != 1:
        raise ValidationException(
            f"ModelPackage {package.arn} has {len(containers)} containers; "
            "a model's container takes the place of exactly one"
        )
    return {
        member: containers[0][member] for member in _CONTAINER_MEMBERS if member in containers[0]
    }


def create_model_package(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep a package: the next version of a group, or one with a name of its own.

    A request repeated with its ClientToken gets the package it made the first time.

    Raises
    ------
    ValidationException
        Name and group are both given or both missing, the name is taken, the group, the source or
        the model data does not exist, or the request asks for what is not implemented.
    ConflictException
        The ClientToken was used for another request.
    """
    _check(request)
    check_tags(request.get("Tags", ()))
    document = without(request, ["ClientToken", "Tags"])
    _take_from_source(context, document)
    if request.get("SkipModelValidation") != "All":
        _check_model_data(context, document)
    with MEMBERSHIP:
        if "ModelPackageGroupName" in request:
            package = _create_version(context, request, document)
        else:
            package = _create_unversioned(context, request, document)
    return {"ModelPackageArn": package.arn}


def _check(request: Mapping[str, Any]) -> None:
    named, grouped = "ModelPackageName" in request, "ModelPackageGroupName" in request
    if named and grouped:
        raise ValidationException(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. "
            "Cannot determine which one to use."
        )
    if not named and not grouped:
        raise ValidationException("Missing ARN.")
    if found := [member for member in _UNSUPPORTED if member in request]:
        raise ValidationException(
            f"not implemented by matinee: a model package with {', '.join(found)}"
        )
    if request.get("CertifyForMarketplace", False):
        raise ValidationException(
            "not implemented by matinee: a model package with CertifyForMarketplace"
        )
    if grouped and "Tags" in request:
        raise ValidationException(
            "Tags cannot be given to a version of a model package group: it uses the group's"
        )
    if named and "ModelApprovalStatus" in request:
        raise ValidationException("ModelApprovalStatus does not apply to unversioned models")
    _check_names(request.get("AdditionalInferenceSpecifications", ()))


def _check_names(specifications: Any) -> None:
    names = [item["Name"] for item in specifications]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationException(
            f"AdditionalInferenceSpecifications: the names must differ; twice: {', '.join(twice)}"
        )
    if len(names) > MAX_ADDITIONAL_SPECIFICATIONS:
        raise ValidationException(
            f"a model package would have {len(names)} AdditionalInferenceSpecifications; "
            f"the limit is {MAX_ADDITIONAL_SPECIFICATIONS}"
        )


def _take_from_source(context: Context, document: dict[str, Any]) -> None:
    """Give a package without containers those of the package or model it is made from."""
    uri = document.get("SourceUri", "")
    if "InferenceSpecification" in document or not uri.startswith("arn:"):
        return
    source = context.store.by_arn(uri.lower())
    if source is None or source.kind not in {PACKAGE.name, "Model"}:
        raise ValidationException(f"SourceUri {uri!r} is no model and no model package here")
    if source.kind == PACKAGE.name:
        if "InferenceSpecification" in source.document:
            document["InferenceSpecification"] = source.document["InferenceSpecification"]
        return
    given = source.document.get("Containers") or [source.document["PrimaryContainer"]]
    # Those given as packages are looked up already.
    containers = source.private.get("containers", given)
    document["InferenceSpecification"] = {
        "Containers": [
            {member: item[member] for member in _CONTAINER_MEMBERS if member in item}
            for item in containers
        ]
    }


def _check_model_data(context: Context, document: Mapping[str, Any]) -> None:
    for container in document.get("InferenceSpecification", {}).get("Containers", ()):
        url = container.get("ModelDataUrl")
        if url is None:
            continue
        try:
            bucket, key = parse_uri(url)
            found = any(item.key == key for item in context.objects.find(bucket, key))
        except ObjectRefusedError as error:
            raise ValidationException(f"Could not access model data at {url}: {error}") from error
        except (ValueError, ObjectMissingError):
            found = False
        if not found:
            raise ValidationException(f"Could not find model data at {url}.")


def _create_version(
    context: Context, request: Mapping[str, Any], document: Mapping[str, Any]
) -> Resource:
    group = GROUP.get(context, request["ModelPackageGroupName"])
    for package in context.store.find(PACKAGE.name, parent=group.arn):
        if _is_repetition(package, request):
            return package
    # Counted, not looked up: the number of a deleted version is not given again.
    version = group.private.get("versions", 0) + 1
    context.store.update(
        GROUP.name,
        group.name,
        lambda group: dataclasses.replace(group, private={**group.private, "versions": version}),
    )
    name, now = f"{group.name}/{version}", context.clock()
    arn = PACKAGE.arn(context, name)
    described = {
        "ModelApprovalStatus": "PendingManualApproval",
        **document,
        **_described(context, arn, name),
        "ModelPackageGroupName": group.name,
        "ModelPackageVersion": version,
    }
    # The key sorts as the versions were made; the tenth does not come before the second.
    key = f"{group.name}/{version:09d}"
    kept = _identity(request)
    package = Resource(PACKAGE.name, key, arn, "Completed", now, now, described, kept, group.arn)
    context.store.insert(package)
    return package


def _create_unversioned(
    context: Context, request: Mapping[str, Any], document: Mapping[str, Any]
) -> Resource:
    if "InferenceSpecification" not in document:
        raise ValidationException(
            "An unversioned model package must have an InferenceSpecification"
        )
    name, now = request["ModelPackageName"], context.clock()
    existing = PACKAGE.find(context, name)
    if existing is not None:
        if _is_repetition(existing, request):
            return existing
        raise ValidationException(f"Model Package already exists: {existing.arn}")
    arn = PACKAGE.arn(context, name)
    described = {**document, **_described(context, arn, name)}
    kept = _identity(request)
    package = Resource(PACKAGE.name, name, arn, "Completed", now, now, described, kept)
    context.store.insert(package, request.get("Tags", ()))
    return package


def _described(context: Context, arn: str, name: str) -> dict[str, Any]:
    now = context.clock()
    return {
        "ModelPackageName": name,
        "ModelPackageArn": arn,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": now,
        "CreatedBy": {},
        "LastModifiedTime": now,
        "LastModifiedBy": {},
    }


def _identity(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells a repeated request from a new one."""
    text = json.dumps(without(request, ["ClientToken"]), sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"token": request.get("ClientToken", ""), "request": digest}


def _is_repetition(package: Resource, request: Mapping[str, Any]) -> bool:
    asked = _identity(request)
    if not asked["token"] or package.private.get("token") != asked["token"]:
        return False
    if package.private["request"] != asked["request"]:
        raise ConflictException(f"ClientToken {asked['token']!r} was used for another request")
    return True


def describe_model_package(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe a package by its ARN, its name, or its group and version.

    Raises
    ------
    ValidationException
        There is no such package.
    """
    return PACKAGE.get(context, request["ModelPackageName"]).document


def update_model_package(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change a version's approval, metadata or specifications.

    Raises
    ------
    ValidationException
        There is no such version, or it would have too many specifications or two of one name.
    """
    arn = request["ModelPackageArn"]
    package = PACKAGE.get(context, arn)
    if "ModelPackageVersion" not in package.document:
        raise ValidationException(f"ModelPackage {package.arn} is not a version of a group.")
    special = {
        "AdditionalInferenceSpecificationsToAdd",
        "ClientToken",
        "CustomerMetadataProperties",
        "CustomerMetadataPropertiesToRemove",
        "ModelPackageArn",
    }

    def change(document: dict[str, Any]) -> dict[str, Any]:
        document.update(without(request, special))
        metadata = {
            **document.get("CustomerMetadataProperties", {}),
            **request.get("CustomerMetadataProperties", {}),
        }
        removed = request.get("CustomerMetadataPropertiesToRemove", ())
        document["CustomerMetadataProperties"] = without(metadata, removed)
        added = request.get("AdditionalInferenceSpecificationsToAdd", ())
        if added:
            present = document.get("AdditionalInferenceSpecifications", ())
            _check_names([*present, *added])
            document["AdditionalInferenceSpecifications"] = [*present, *added]
        if not document["CustomerMetadataProperties"]:
            del document["CustomerMetadataProperties"]
        return document

    return {"ModelPackageArn": PACKAGE.change(context, arn, change).arn}


def list_model_packages(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """List packages, the oldest first unless asked otherwise.

    Without a group and a type, those that belong to no group, as on AWS.

    Raises
    ------
    ValidationException
        There is no such group.
    """
    group = None
    if "ModelPackageGroupName" in request:
        group = GROUP.get(context, request["ModelPackageGroupName"]).arn
    kind = request.get("ModelPackageType", "Unversioned" if group is None else "Versioned")
    approval = request.get("ModelApprovalStatus")
    part = request.get("NameContains", "").lower()

    def wanted(package: Resource) -> bool:
        document = package.document
        versioned = "ModelPackageVersion" in document
        name = document["ModelPackageGroupName" if versioned else "ModelPackageName"]
        return (
            kind in {"Both", "Versioned" if versioned else "Unversioned"}
            and approval in {None, document.get("ModelApprovalStatus")}
            and part in name.lower()
        )

    return page(
        context.store,
        without(request, ["NameContains"]),
        PACKAGE.name,
        summary_key="ModelPackageSummaryList",
        summarise=_summary,
        parent=group,
        wanted=wanted,
    )


def _summary(package: Resource) -> dict[str, Any]:
    # AWS's summary of a version has no name.
    versioned = "ModelPackageVersion" in package.document
    return members(
        package,
        "ModelPackageGroupName" if versioned else "ModelPackageName",
        "ModelPackageVersion",
        "ModelPackageArn",
        "ModelPackageDescription",
        "CreationTime",
        "ModelPackageStatus",
        "ModelApprovalStatus",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
    )


def batch_describe_model_package(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Describe many versions; what cannot be described is said for each ARN."""
    found: dict[str, Any] = {}
    failed: dict[str, Any] = {}
    for arn in request["ModelPackageArnList"]:
        try:
            package = PACKAGE.get(context, arn)
        except ServiceError as error:
            failed[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
            continue
        if "ModelPackageVersion" in package.document:
            found[arn] = members(
                package,
                "ModelPackageGroupName",
                "ModelPackageVersion",
                "ModelPackageArn",
                "ModelPackageDescription",
                "CreationTime",
                "InferenceSpecification",
                "ModelPackageStatus",
                "ModelApprovalStatus",
                "ModelPackageRegistrationType",
            )
        else:
            reason = f"ModelPackage {arn} is not a version of a group."
            failed[arn] = {"ErrorCode": ValidationException.code, "ErrorResponse": reason}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": failed}


def delete_model_package(context: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Forget a package; models made from it stay as they are.

    Raises
    ------
    ValidationException
        There is no such package.
    """
    with MEMBERSHIP:
        package = PACKAGE.get(context, request["ModelPackageName"])
        context.store.delete(PACKAGE.name, package.name)
    return {}


OPERATIONS: Mapping[str, Operation] = {
    "CreateModelPackage": create_model_package,
    "DescribeModelPackage": describe_model_package,
    "UpdateModelPackage": update_model_package,
    "ListModelPackages": list_model_packages,
    "BatchDescribeModelPackage": batch_describe_model_package,
    "DeleteModelPackage": delete_model_package,
}
