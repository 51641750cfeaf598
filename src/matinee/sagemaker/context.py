"""What every operation is given: the store, the clock, the identity of this AWS account.

Nothing here is global, so a test or a second server gives its own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.sagemaker.store import Store

if TYPE_CHECKING:
    from matinee.sagemaker.algorithms import Algorithm
    from matinee.sagemaker.jobs import JobRunner
    from matinee.sagemaker.objects import Objects


@dataclass(kw_only=True)
class Context:
    """The surroundings of an operation.

    Attributes
    ----------
    store
        Jobs, models and tags.
    clock
        The present as an aware UTC datetime.
    new_id
        A fresh id of 32 hex digits.
    account_id, region
        Of the ARNs this server makes.
    folder
        The state folder; job folders are ``folder / "jobs" / <id>``.
    roles
        Names of the IAM roles that exist.
    objects
        S3.
    algorithms
        The training images this server can run, by repository name.
    jobs
        Runs training, tuning and transform jobs.
    role_environment
        What a process needs in its environment to act as a role, by the role's ARN.
    role_objects
        S3 as a role may use it, by the role's ARN; without it everybody uses ``objects``.
    """

    store: Store
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    account_id: str
    region: str
    folder: Path
    roles: tuple[str, ...]
    objects: Objects
    algorithms: Mapping[str, Algorithm]
    jobs: JobRunner
    role_environment: Callable[[str], Mapping[str, str]] = lambda _: {}
    role_objects: Callable[[str], Objects] | None = None

    def objects_for(self, role: str) -> Objects:
        """Return S3 as a role may use it: for all that is done in the name of a job.

        Parameters
        ----------
        role
            The role's ARN; empty: nobody's, which is the server itself.
        """
        if not role or self.role_objects is None:
            return self.objects
        return self.role_objects(role)

    def arn(self, resource: str) -> str:
        """Return the ARN of e.g. ``training-job/Name``; AWS writes names in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{resource.lower()}"

    def role_arn(self, name: str) -> str:
        """Return the ARN of an IAM role."""
        return f"arn:aws:iam::{self.account_id}:role/{name}"


Operation = Callable[[Context, dict[str, Any]], dict[str, Any]]
# An operation that waits for another process without holding a thread.
AsyncOperation = Callable[[Context, dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]
AnyOperation = Operation | AsyncOperation
