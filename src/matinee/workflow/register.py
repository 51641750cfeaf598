"""The register step: a run's model as the next version in the model registry.

The version carries what one needs to judge it, to serve it and to make it again: its metrics, its
hyperparameters, the SHA-256 of the data and of the artifact, matinee's version and the SHA-256 of
its source, and where the run's summary lies. It waits for approval. A step tried again finds the
version that it made before.
"""

from __future__ import annotations

import hashlib
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import boto3
from botocore.exceptions import ClientError

import matinee
from matinee.workflow.jobs import Trained
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.requests import JSON, JSON_LINES, RECORDIO
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

# By which a group is known for the workflow's.
GROUP_DESCRIPTION = "Recommenders trained by matinee's workflow"
_BLOCK_BYTES = 2**20
# AWS's limit for the values of CustomerMetadataProperties.
_LONGEST_VALUE = 256


class Registered(TypedDict):
    """The ARN of the new version."""

    run: str
    model_package: str


def register(settings: Settings, inputs: dict[str, Any]) -> Registered:
    """Create a version of the model package group, and the group if it is missing.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed`, `trained` and `evaluated`, as those steps returned them, and `image`, the
        URI of the algorithm's image.

    Returns
    -------
    Registered

    Raises
    ------
    ObjectsError
        If what is to be registered is missing.
    """
    objects = Objects()
    sagemaker = boto3.client("sagemaker")
    request = package_request(settings, inputs, objects)
    _create_group(sagemaker, settings.model_package_group)
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    arn = sagemaker.create_model_package(**request, ClientToken=digest[:36])["ModelPackageArn"]
    run = inputs["preprocessed"]["run"]
    logger.info("registered the model of %s as %s", run, arn)
    return {"run": run, "model_package": arn}


def package_request(settings: Settings, inputs: dict[str, Any], objects: Objects) -> dict[str, Any]:
    """Build the request of CreateModelPackage; parameters as of `register`."""
    preprocessed: Preprocessed = inputs["preprocessed"]
    trained: Trained = inputs["trained"]
    evaluated = inputs["evaluated"]
    run = preprocessed["run"]
    metrics = objects.read_json(evaluated["metrics"])
    rmse, rows = metrics["model"]["rmse"], metrics["rows"]
    metadata = {
        "run": run,
        "folder": settings.folder(run),
        "summary": evaluated["summary"],
        "training_job": trained["job"],
        "seed": str(settings.seed),
        "rmse": f"{rmse:.6f}",
        "mae": f"{metrics['model']['mae']:.6f}",
        "test_rows": str(rows),
        "matinee_version": version("matinee"),
        "source_sha256": source_digest(Path(matinee.__file__).parent),
        "model_sha256": _digest(objects, [trained["model"]]),
        "customers_sha256": _digest(objects, [preprocessed["customers"]]),
        "videos_sha256": _digest(objects, [preprocessed["videos"]]),
        **{
            f"{split}_sha256": _digest(objects, [part["uri"] for part in parts])
            for split, parts in preprocessed["ratings"].items()
        },
        **{
            f"hyperparameter.{name}": value
            for name, value in sorted(trained["hyperparameters"].items())
        },
    }
    return {
        "ModelPackageGroupName": settings.model_package_group,
        "ModelPackageDescription": f"{run}: RMSE {rmse:.4f} on {rows:,} test ratings",
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": inputs["image"], "ModelDataUrl": trained["model"]}],
            "SupportedContentTypes": [RECORDIO, JSON],
            "SupportedResponseMIMETypes": [JSON, JSON_LINES],
            "SupportedRealtimeInferenceInstanceTypes": [settings.endpoint_instance_type],
            "SupportedTransformInstanceTypes": [settings.transform_instance_type],
        },
        "ModelMetrics": {
            "ModelQuality": {"Statistics": _json_document(evaluated["metrics"])},
            "ModelDataQuality": {"Statistics": _json_document(preprocessed["report"])},
        },
        "MetadataProperties": {"GeneratedBy": f"matinee {version('matinee')}"},
        "CustomerMetadataProperties": {
            name: _metadata_value(value) for name, value in metadata.items()
        },
    }


def _metadata_value(text: str) -> str:
    """Return a text as the registry takes it: a comma, as between a list's numbers, it refuses."""
    return text.replace(",", " ")[:_LONGEST_VALUE]


def source_digest(package: Path) -> str:
    """Return the SHA-256 of a package's Python source: names and contents, in the names' order."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _create_group(sagemaker: Any, name: str) -> None:
    try:
        sagemaker.describe_model_package_group(ModelPackageGroupName=name)
        return
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
    try:
        sagemaker.create_model_package_group(
            ModelPackageGroupName=name,
            ModelPackageGroupDescription=GROUP_DESCRIPTION,
        )
    except ClientError as error:
        # Another run was a moment faster.
        if "already exists" not in error.response["Error"]["Message"]:
            raise


def _digest(objects: Objects, uris: list[str]) -> str:
    """Return the SHA-256 of objects' bytes, one after the other."""
    digest = hashlib.sha256()
    for uri in uris:
        with objects.open(uri) as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _json_document(uri: str) -> dict[str, str]:
    return {"ContentType": JSON, "S3Uri": uri}
