"""The endpoint that serves the approved model: what it serves, and putting another in its place.

Model and endpoint configuration are made from a model package, and named by it, so that a step
tried again finds what it made before. The endpoint is updated, never deleted and made anew, so no
request is dropped. Refuses endpoints that serve something else than one model of a model package:
they are not the workflow's.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import ClientError

from matinee.workflow.errors import PublishError
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE_S = 3600.0
VARIANT = "all"
_MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


class Hosting(NamedTuple):
    """What an endpoint runs on, and as whom: the ARN of the models' role."""

    role: str
    instance_type: str
    instance_count: int


class Served(NamedTuple):
    """What an endpoint serves, and how."""

    config: str
    model_package: str
    hosting: Hosting


class Endpoint:
    """One endpoint, by its name.

    Parameters
    ----------
    name : str
    sagemaker
        A boto3 SageMaker client.
    check_s : float
        Seconds between two looks at an endpoint that changes.
    patience_s : float
        How long to wait for it, in seconds.
    clock, sleep : callable
        Time, in seconds.
    """

    def __init__(
        self,
        name: str,
        sagemaker: Any,
        *,
        check_s: float,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._sagemaker = sagemaker
        self._check_s = check_s
        self._patience_s = patience_s
        self._clock = clock
        self._sleep = sleep

    def served(self) -> Served | None:
        """Return what the endpoint serves; None if it is missing or never came into service.

        Waits until it no longer changes.

        Raises
        ------
        PublishError
            If it serves several models, or one that is not of a model package.
        """
        described = self._settle()
        if described.get("EndpointStatus") in (None, "Failed"):
            return None
        return self._describe_config(described["EndpointConfigName"])

    def serve(self, model_package: str, hosting: Hosting) -> None:
        """Put a model package into service and wait until it is.

        Parameters
        ----------
        model_package : str
            ARN of an approved version.
        hosting : Hosting

        Raises
        ------
        PublishError
            If its instances do not come into service; what was in service stays so.
        """
        config = self._create_config(model_package, hosting)
        described = self._settle()
        if described.get("EndpointStatus") == "Failed":
            # One that never came into service can only be deleted.
            self.delete()
            described = {}
        if not described:
            self._sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=config)
        elif described["EndpointConfigName"] != config:
            self._sagemaker.update_endpoint(EndpointName=self.name, EndpointConfigName=config)
        self._require(config)

    def delete(self) -> None:
        """Delete the endpoint, if it is there, and wait until it is gone."""
        with _allowing("Could not find endpoint"):
            self._sagemaker.delete_endpoint(EndpointName=self.name)
            self._settle()

    def delete_replaced(self) -> list[str]:
        """Delete the configurations and models that the endpoint had before.

        What is in service stays, and so does the version that was approved before it, to go back
        to.

        Returns
        -------
        list of str
            Their names; a model and its configuration have the same.
        """
        served = self.served()
        if served is None:
            return []
        before = package_before(self._sagemaker, served.model_package)
        replaced = [
            name
            for name in self._configs()
            if name != served.config
            and _package_of(self._describe_model(name)) not in (served.model_package, before)
        ]
        for name in replaced:
            # A try that was cut off in between is done again: the configuration leads to the model.
            with _allowing("Could not find model"):
                self._sagemaker.delete_model(ModelName=name)
            self._sagemaker.delete_endpoint_config(EndpointConfigName=name)
        return replaced

    def _configs(self) -> Iterator[str]:
        """List the configurations that were made here for this endpoint."""
        ours = re.compile(rf"{re.escape(self.name)}-v\d+-[0-9a-f]{{8}}")
        pages = self._sagemaker.get_paginator("list_endpoint_configs")
        for page in pages.paginate(NameContains=f"{self.name}-v"):
            for config in page["EndpointConfigs"]:
                if ours.fullmatch(config["EndpointConfigName"]):
                    yield config["EndpointConfigName"]

    def _create_config(self, model_package: str, hosting: Hosting) -> str:
        """Make the model and the configuration, unless they are there; return their one name."""
        digest = hashlib.sha256(repr((model_package, *hosting)).encode()).hexdigest()
        name = f"{self.name}-v{model_package.rpartition('/')[2]}-{digest[:8]}"
        # Their name tells their content, so one that is there already is the same.
        with _allowing("already existing"):
            self._sagemaker.create_model(
                ModelName=name,
                PrimaryContainer={"ModelPackageName": model_package},
                ExecutionRoleArn=hosting.role,
            )
        variant = {
            "VariantName": VARIANT,
            "ModelName": name,
            "InstanceType": hosting.instance_type,
            "InitialInstanceCount": hosting.instance_count,
        }
        with _allowing("already existing"):
            self._sagemaker.create_endpoint_config(
                EndpointConfigName=name, ProductionVariants=[variant]
            )
        return name

    def _settle(self) -> dict[str, Any]:
        """Wait until the endpoint no longer changes and describe it; nothing if there is none."""
        give_up = self._clock() + self._patience_s
        while True:
            described = _described(
                "Could not find endpoint",
                self._sagemaker.describe_endpoint,
                EndpointName=self.name,
            )
            if described.get("EndpointStatus") not in _MOVING:
                return described
            if self._clock() >= give_up:
                raise PublishError(
                    f"endpoint {self.name} is still {described['EndpointStatus']} after"
                    f" {self._patience_s:.0f} s"
                )
            self._sleep(self._check_s)

    def _require(self, config: str) -> None:
        described = self._settle()
        if not described:
            raise PublishError(f"endpoint {self.name} was deleted while it was being changed")
        status, current = described["EndpointStatus"], described["EndpointConfigName"]
        if (status, current) != ("InService", config):
            reason = described.get("FailureReason", "no reason given")
            raise PublishError(
                f"endpoint {self.name} did not come into service with {config}; it is {status} with"
                f" {current}: {reason}"
            )
        logger.info("endpoint %s serves %s", self.name, config)

    def _describe_config(self, config: str) -> Served:
        described = _described(
            "Could not find endpoint configuration",
            self._sagemaker.describe_endpoint_config,
            EndpointConfigName=config,
        )
        variants = described.get("ProductionVariants", [])
        if len(variants) != 1 or "InstanceType" not in variants[0]:
            raise PublishError(
                f"endpoint {self.name} is configured by {config}, which is not one variant on"
                " instances, or deleted: the workflow publishes to an endpoint of its own"
            )
        [variant] = variants
        model = self._describe_model(variant["ModelName"])
        package = _package_of(model)
        if package is None:
            raise PublishError(
                f"endpoint {self.name} serves model {variant['ModelName']}, which is deleted or of"
                " no model package: the workflow publishes to an endpoint of its own"
            )
        hosting = Hosting(
            model["ExecutionRoleArn"], variant["InstanceType"], variant["InitialInstanceCount"]
        )
        return Served(config, package, hosting)

    def _describe_model(self, model: str) -> dict[str, Any]:
        """Describe a model; nothing if it is deleted."""
        return _described("Could not find model", self._sagemaker.describe_model, ModelName=model)


def package_before(sagemaker: Any, model_package: str) -> str | None:
    """Return the ARN of the version of a group that was approved before another; None if none was.

    Parameters
    ----------
    sagemaker
        A boto3 SageMaker client.
    model_package : str
        ARN of a version.
    """
    described = sagemaker.describe_model_package(ModelPackageName=model_package)
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=described["ModelPackageGroupName"], ModelApprovalStatus="Approved"
    )
    earlier = {
        package["ModelPackageVersion"]: package["ModelPackageArn"]
        for page in pages
        for package in page["ModelPackageSummaryList"]
        if package["ModelPackageVersion"] < described["ModelPackageVersion"]
    }
    return earlier[max(earlier)] if earlier else None


def hosting(settings: Settings) -> Hosting:
    """Return what a run's parameters say of the endpoint."""
    return Hosting(
        role_arn(settings.role), settings.endpoint_instance_type, settings.endpoint_instance_count
    )


def role_arn(role: str) -> str:
    """Return the ARN of a role given by name or ARN."""
    if role.startswith("arn:"):
        return role
    found: str = boto3.client("iam").get_role(RoleName=role.rpartition("/")[2])["Role"]["Arn"]
    return found


def _package_of(model: dict[str, Any]) -> str | None:
    package: str | None = model.get("PrimaryContainer", {}).get("ModelPackageName")
    return package


@contextmanager
def _allowing(message: str) -> Iterator[None]:
    """Go on where AWS refuses with this message."""
    try:
        yield
    except ClientError as error:
        if message not in error.response["Error"]["Message"]:
            raise


def _described(
    missing: str, describe: Callable[..., dict[str, Any]], **name: str
) -> dict[str, Any]:
    """Describe something; nothing where AWS says with this message that it is not there."""
    try:
        return describe(**name)
    except ClientError as error:
        if missing not in error.response["Error"]["Message"]:
            raise
        return {}
