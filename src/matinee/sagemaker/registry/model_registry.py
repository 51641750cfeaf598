"""What the model registry keeps: groups, and packages, which may be versions of a group."""

from __future__ import annotations

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.registry.entities import Kind

GROUP = Kind(
    "ModelPackageGroup",
    "model-package-group",
    "ModelPackageGroupName",
    "ModelPackageGroupArn",
    missing=ValidationException,
    changes=False,
    quote="",
)
PACKAGE = Kind(
    "ModelPackage",
    "model-package",
    "ModelPackageName",
    "ModelPackageArn",
    missing=ValidationException,
    quote="",
)
