"""What a stack's runs made in SageMaker: jobs, endpoints, models and registered models.

CloudFormation knows nothing of them, so whoever deletes a stack has to. The names alone do not tell
whose something is, since two stacks of an account may use the same ones: jobs and models are of the
stack whose role they have, what serves is of the stack whose model it serves, a registered model is
of the stack in whose bucket it lies. Everything else is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from matinee.cloud.account import Account
from matinee.cloud.stack import POLL_S, Described
from matinee.workflow.clean_up import KINDS, JobKind, tell_to_stop
from matinee.workflow.register import GROUP_DESCRIPTION

_JOBS_BEGIN_WITH = "matinee-"
# Those of a state machine come first: they might start the others.
_ALL_KINDS = (JobKind("ProcessingJob", "list_processing_jobs", "stop_processing_job"), *KINDS)
_DELETABLE = {"InService", "Failed", "OutOfService", "UpdateRollbackFailed"}


class Found(NamedTuple):
    """The names of what is there; of registered models the ARNs."""

    jobs: list[str]
    endpoints: list[str]
    configs: list[str]
    models: list[str]
    packages: list[str]
    groups: list[str]


class Leftovers:
    """What one stack's runs made.

    Parameters
    ----------
    account
    described
        The stack, or what AWS remembers of one that is deleted.
    sleep
        Waits, in seconds.
    """

    def __init__(
        self,
        account: Account,
        described: Described,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._sagemaker = account.client("sagemaker")
        self._role = described.outputs.get("SageMakerRoleArn")
        self._bucket = described.outputs.get("Bucket")
        self._recommender = described.parameters.get("Recommender", "recommender")
        self._sleep = sleep

    def find(self) -> Found:
        """Return what is there now; of jobs those that have not ended."""
        return Found(
            [name for _, name, _ in self._active()],
            [name for name, _ in self._endpoints()],
            list(self._configs()),
            list(self._models()),
            list(self._packages()),
            list(self._groups()),
        )

    def stop_jobs(self, say: Callable[[str], None]) -> None:
        """Stop the jobs, and wait until all have ended."""
        while active := list(self._active()):
            for kind, name, status in active:
                if status == "InProgress" and tell_to_stop(self._sagemaker, kind, name):
                    say(f"told {kind.noun} {name} to stop")
            self._sleep(POLL_S)

    def delete(self, say: Callable[[str], None]) -> None:
        """Delete everything else: what serves first, since it tells whose the rest is."""
        while endpoints := list(self._endpoints()):
            for name, status in endpoints:
                if status in _DELETABLE:
                    self._delete("endpoint", "EndpointName", name, say)
            # One that is still being made or changed cannot be deleted yet.
            if list(self._endpoints()):
                self._sleep(POLL_S)
        for config in self._configs():
            self._delete("endpoint_config", "EndpointConfigName", config, say)
        for model in self._models():
            self._delete("model", "ModelName", model, say)
        for package in self._packages():
            self._delete("model_package", "ModelPackageName", package, say)
        for group in self._groups():
            self._delete("model_package_group", "ModelPackageGroupName", group, say)

    def _delete(self, noun: str, member: str, name: str, say: Callable[[str], None]) -> None:
        try:
            getattr(self._sagemaker, f"delete_{noun}")(**{member: name})
        except ClientError as error:
            if not _is_missing(error):
                raise
        say(f"deleted {noun.replace('_', ' ')} {name}")

    def _active(self) -> Iterator[tuple[JobKind, str, str]]:
        for kind in _ALL_KINDS:
            for status in ("InProgress", "Stopping"):
                for job in self._account.pages(
                    "sagemaker", kind.list_operation, f"{kind.noun}Summaries",
                    NameContains=_JOBS_BEGIN_WITH, StatusEquals=status,
                ):  # fmt: skip
                    name = job[kind.name_member]
                    if name.startswith(_JOBS_BEGIN_WITH) and self._is_our_job(kind, name):
                        yield kind, name, status

    def _is_our_job(self, kind: JobKind, name: str) -> bool:
        operation = kind.stop_operation.replace("stop_", "describe_", 1)
        job = getattr(self._sagemaker, operation)(**{kind.name_member: name})
        if "ModelName" in job:
            return self._is_our_model(job["ModelName"])
        roles = {job.get("RoleArn"), job.get("TrainingJobDefinition", {}).get("RoleArn")}
        return self._role is not None and self._role in roles

    def _endpoints(self) -> Iterator[tuple[str, str]]:
        for each in self._named("list_endpoints", "Endpoints", "EndpointName"):
            endpoint = self._describe("endpoint", "EndpointName", each)
            if self._serves_ours(endpoint.get("EndpointConfigName")):
                yield each, endpoint["EndpointStatus"]

    def _configs(self) -> Iterator[str]:
        for each in self._named("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
            if self._serves_ours(each):
                yield each

    def _models(self) -> Iterator[str]:
        for beginning in sorted({_JOBS_BEGIN_WITH, self._recommender}):
            for each in self._named("list_models", "Models", "ModelName", beginning):
                if self._is_our_model(each):
                    yield each

    def _packages(self) -> Iterator[str]:
        for group in self._group_names():
            for each in self._packages_of(group):
                package = self._describe("model_package", "ModelPackageName", each)
                containers = package.get("InferenceSpecification", {}).get("Containers", ())
                places = [container.get("ModelDataUrl", "") for container in containers]
                if any(place.startswith(f"s3://{self._bucket}/") for place in places):
                    yield each

    def _groups(self) -> Iterator[str]:
        """Yield the workflow's groups that are empty, or will be when ours has gone."""
        ours = set(self._packages())
        for group in self._group_names():
            described = self._describe("model_package_group", "ModelPackageGroupName", group)
            of_workflow = described.get("ModelPackageGroupDescription") == GROUP_DESCRIPTION
            if of_workflow and set(self._packages_of(group)) <= ours:
                yield group

    def _group_names(self) -> list[str]:
        return self._named(
            "list_model_package_groups", "ModelPackageGroupSummaryList", "ModelPackageGroupName"
        )

    def _packages_of(self, group: str) -> list[str]:
        found = self._account.pages(
            "sagemaker",
            "list_model_packages",
            "ModelPackageSummaryList",
            ModelPackageGroupName=group,
        )
        return [each["ModelPackageArn"] for each in found]

    def _named(
        self, operation: str, member: str, name: str, beginning: str | None = None
    ) -> list[str]:
        """List names that begin so: a list finds those too that only contain it."""
        beginning = beginning or self._recommender
        found = self._account.pages("sagemaker", operation, member, NameContains=beginning)
        return [each[name] for each in found if each[name].startswith(beginning)]

    def _serves_ours(self, config: str | None) -> bool:
        if config is None:
            return False
        described = self._describe("endpoint_config", "EndpointConfigName", config)
        variants = described.get("ProductionVariants", ())
        return any(self._is_our_model(variant.get("ModelName", "")) for variant in variants)

    def _is_our_model(self, model: str) -> bool:
        described = self._describe("model", "ModelName", model) if model else {}
        return self._role is not None and described.get("ExecutionRoleArn") == self._role

    def _describe(self, noun: str, member: str, name: str) -> dict[str, Any]:
        """Describe something; nothing if it has gone meanwhile."""
        try:
            answer: dict[str, Any] = getattr(self._sagemaker, f"describe_{noun}")(**{member: name})
        except ClientError as error:
            if _is_missing(error):
                return {}
            raise
        return answer


def _is_missing(error: ClientError) -> bool:
    message = error.response["Error"]["Message"]
    return "Could not find" in message or "does not exist" in message
