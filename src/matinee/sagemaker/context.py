"""What every operation is given: the store, the clock, the identity of this AWS account.

Nothing here is global, so a test or a second server gives its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.sagemaker.endpoints.hosting import Hosting
from matinee.sagemaker.http.auth import ROOT, Caller
from matinee.sagemaker.machine import compute as this_machine
from matinee.sagemaker.machine.interface import Compute
from matinee.sagemaker.monitoring.log_index import LogIndex
from matinee.sagemaker.monitoring.metric_search import MetricSearch
from matinee.sagemaker.store import Store

if TYPE_CHECKING:
    from matinee.sagemaker.access.sessions import JobAccess
    from matinee.sagemaker.algorithms import Algorithm
    from matinee.sagemaker.data.objects import Objects
    from matinee.sagemaker.jobs import JobRunner


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
    compute
        Where the hosts of training and processing jobs run.
    hosting
        Hosts endpoints.
    access
        How jobs get at S3; without it they use ``objects``, and their processes get no keys.
    caller
        Who asks.
    metric_search
        Finds metrics in the logs of jobs.
    log_index
        Where the events of large logs lie.
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
    compute: Compute = this_machine
    hosting: Hosting = field(default_factory=Hosting)
    access: JobAccess | None = None
    caller: Caller = ROOT
    metric_search: MetricSearch = field(default_factory=MetricSearch)
    log_index: LogIndex = field(default_factory=LogIndex)

    def objects_for(self, role: str) -> Objects:
        """Return S3 as a role may use it: for all that is done in the name of a job.

        Parameters
        ----------
        role
            The role's ARN; empty: nobody's, which is the server itself.
        """
        return self.access.objects(role) if role and self.access else self.objects

    def role_environment(self, role: str) -> dict[str, str]:
        """Return what a process needs in its environment to act as a role.

        Parameters
        ----------
        role
            The role's ARN; empty: nobody's, and nothing is needed.

        Raises
        ------
        ObjectsError
            The S3 server gives no keys for the role.
        """
        return self.access.environment(role) if role and self.access else {}

    def called_by(self, caller: Caller) -> Context:
        """Return the same surroundings for an operation that somebody asks for."""
        return self if caller == self.caller else dataclasses.replace(self, caller=caller)

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
