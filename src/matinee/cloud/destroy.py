"""Removing a stack and all that its runs made, and proving that nothing of it is left.

The order is what makes it complete, however often it is broken off:

1. what starts jobs is stopped (Airflow's instance, or MWAA's environment; the state machine's
   executions; Glue's runs), or it would make new ones behind our back;
2. jobs are stopped, and endpoints, models and registered models deleted: the stack's outputs and
   parameters tell whose they are, so the stack must still be there;
3. the bucket is emptied, now that nobody writes into it any more;
4. the stack is deleted, which an empty bucket does not hinder;
5. everything is looked for again.

Each step looks at what is there, so repeating is going on. Of a stack that is gone already AWS
remembers outputs and parameters for 90 days: its leftovers are looked for all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from matinee.cloud import buckets
from matinee.cloud.account import Account
from matinee.cloud.deploy import Reporter
from matinee.cloud.errors import AWSStackError
from matinee.cloud.leftovers import Found, Leftovers
from matinee.cloud.stack import POLL_S, TAG, Described, Resource, Stack

_TRIES = 2  # the bucket may have been written to by somebody else
_LISTED_S = 60.0  # the list of tags may be late by so much
_MWAA_LOGS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")


class Remains(NamedTuple):
    """What there is of a stack: itself, its resources, what its runs made, its bucket if it is."""

    described: Described | None
    resources: list[Resource]
    found: Found
    bucket: str | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return self.described is None and not any(self.found) and self.bucket is None


class Check(NamedTuple):
    """One thing that was looked for, and what of it is left."""

    what: str
    left: list[str]


class Destruction:
    """One stack, and its end.

    Parameters
    ----------
    stack
    reporter
    clock, sleep
        Time, in seconds.
    """

    def __init__(
        self,
        stack: Stack,
        reporter: Reporter,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stack = stack
        self._reporter = reporter
        self._clock = clock
        self._sleep = sleep

    @property
    def _account(self) -> Account:
        return self._stack.account

    def remains(self) -> Remains:
        """Return what would be removed, without removing it."""
        described = self._stack.describe()
        found = [self._leftovers(each).find() for each in self._known()]
        bucket = described.outputs.get("Bucket") if described else None
        return Remains(
            described,
            self._stack.resources() if described else [],
            Found(*([name for each in found for name in each[kind]] for kind in range(6))),
            bucket if bucket and buckets.exists(self._account, bucket) else None,
        )

    def destroy(self) -> list[Check]:
        """Remove everything and look for it again.

        Raises
        ------
        AWSStackError
            If the stack cannot be deleted, with the reason of the resource that failed first.
        """
        described = self._rest()
        # Before the stack goes: afterwards only its id leads to what is known of it.
        known = self._known()
        if described is not None:
            self._stop_starting(self._stack.resources())
        for each in known:
            leftovers = self._leftovers(each)
            leftovers.stop_jobs(self._reporter.say)
            leftovers.delete(self._reporter.say)
        if described is not None:
            self._delete(described)
        self._delete_logs()
        return self._prove(known)

    def _rest(self) -> Described | None:
        """Wait for what is under way."""
        while (described := self._stack.describe()) is not None and described.is_moving:
            self._reporter.say(f"stack {self._stack.name} is {described.status}: waiting for it")
            with self._reporter.watching(self._stack.name) as show:
                self._stack.follow(described.id, show)
        return described

    def _known(self) -> list[Described]:
        """Return the stack, and what AWS remembers of deleted ones of its name."""
        summaries = self._account.pages(
            "cloudformation",
            "list_stacks",
            "StackSummaries",
            StackStatusFilter=["DELETE_COMPLETE"],
        )
        ids = [each["StackId"] for each in summaries if each["StackName"] == self._stack.name]
        deleted = [self._stack.describe(stack_id) for stack_id in ids]
        return [
            each
            for each in (self._stack.describe(), *deleted)
            if each is not None and each.kind is not None
        ]

    def _leftovers(self, described: Described) -> Leftovers:
        return Leftovers(self._account, described, sleep=self._sleep)

    # 1. What starts jobs

    def _stop_starting(self, resources: list[Resource]) -> None:
        stops = {
            "AWS::AutoScaling::AutoScalingGroup": self._stop_instances,
            "AWS::MWAA::Environment": self._delete_environment,
            "AWS::StepFunctions::StateMachine": self._stop_executions,
            "AWS::Glue::Job": self._stop_glue,
        }
        for resource in resources:
            if resource.type in stops and resource.id:
                stops[resource.type](resource.id)

    def _stop_instances(self, group: str) -> None:
        client = self._account.client("autoscaling")

        def instances() -> list[dict[str, Any]]:
            found = client.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
            return [each for one in found["AutoScalingGroups"] for each in one["Instances"]]

        if instances():
            self._reporter.say("stopping Airflow's instance: it starts no more jobs")
            client.update_auto_scaling_group(
                AutoScalingGroupName=group, MinSize=0, MaxSize=0, DesiredCapacity=0
            )
        while instances():
            self._sleep(POLL_S)

    def _delete_environment(self, name: str) -> None:
        client = self._account.client("mwaa")
        has_told = False
        while True:
            try:
                status = client.get_environment(Name=name)["Environment"]["Status"]
                if status not in ("DELETING", "DELETED") and not has_told:
                    self._reporter.say("deleting MWAA's environment: it starts no more jobs")
                    client.delete_environment(Name=name)
                    has_told = True
            except client.exceptions.ResourceNotFoundException:
                return
            if status == "DELETED":
                return
            self._sleep(POLL_S)

    def _stop_executions(self, arn: str) -> None:
        client = self._account.client("stepfunctions")
        running = self._account.pages(
            "stepfunctions",
            "list_executions",
            "executions",
            stateMachineArn=arn,
            statusFilter="RUNNING",
        )
        for execution in running:
            self._reporter.say(f"stopping the execution {execution['name']}")
            client.stop_execution(executionArn=execution["executionArn"])

    def _stop_glue(self, job: str) -> None:
        runs = self._account.pages("glue", "get_job_runs", "JobRuns", JobName=job)
        for run in runs:
            if run["JobRunState"] in ("WAITING", "STARTING", "RUNNING"):
                self._reporter.say(f"stopping Glue's run {run['Id']}")
                self._account.client("glue").batch_stop_job_run(JobName=job, JobRunIds=[run["Id"]])

    # 3. and 4. The bucket and the stack

    def _delete(self, described: Described) -> None:
        done: Described | None = described
        for _ in range(_TRIES):
            if bucket := described.outputs.get("Bucket") or self._bucket_of_resources():
                deleted = buckets.empty(self._account, bucket)
                self._reporter.say(f"emptied s3://{bucket}: {deleted:,} versions and markers")
            with self._reporter.watching(self._stack.name) as show:
                done = self._stack.act(
                    described.id,
                    lambda: self._stack.client.delete_stack(StackName=described.id),
                    show,
                )
            if done is None or done.status == "DELETE_COMPLETE":
                self._reporter.say(f"stack {self._stack.name} is deleted")
                return
        reason = self._stack.first_failure(described.id)
        status = done.status if done else "gone"
        raise AWSStackError(
            f"stack {self._stack.name} is {status}. {reason}. Mend that and repeat the command"
        )

    def _bucket_of_resources(self) -> str | None:
        """Return the bucket of a stack without outputs: one that was never whole."""
        for resource in self._stack.resources():
            if resource.type == "AWS::S3::Bucket" and resource.id:
                return resource.id
        return None

    def _delete_logs(self) -> None:
        """Delete the log groups that MWAA makes and leaves."""
        client = self._account.client("logs")
        for group in self._logs():
            self._reporter.say(f"deleting log group {group}")
            client.delete_log_group(logGroupName=group)

    def _logs(self) -> list[str]:
        name = self._stack.name
        ours = {f"/matinee/{name}", *(f"airflow-{name}-{each}" for each in _MWAA_LOGS)}
        found = [
            each["logGroupName"]
            for prefix in (f"/matinee/{name}", f"airflow-{name}-")
            for each in self._account.pages(
                "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix
            )
        ]
        return [group for group in found if group in ours]

    # 5. The proof

    def _prove(self, known: list[Described]) -> list[Check]:
        name = self._stack.name
        again = self._stack.describe()
        checks = [Check(f"stack {name}", [again.status] if again else [])]
        for described in known:
            found = self._leftovers(described).find()
            checks += [
                Check(f"{kind} of {_role_name(described)}", names)
                for kind, names in found._asdict().items()
            ]
            if bucket := described.outputs.get("Bucket"):
                is_there = buckets.exists(self._account, bucket)
                checks.append(Check(f"bucket {bucket}", [bucket] if is_there else []))
            if role := described.outputs.get("SageMakerRoleArn"):
                checks.append(Check(f"role {_role_name(described)}", self._roles(role)))
        checks.append(Check(f"log groups of {name}", self._logs()))
        checks.append(Check(f"resources tagged {TAG}={name}", self._tagged()))
        return checks

    def _roles(self, arn: str) -> list[str]:
        try:
            self._account.client("iam").get_role(RoleName=arn.rpartition("/")[2])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return []
            raise
        return [arn]

    def _tagged(self) -> list[str]:
        """Return what is tagged with the stack's name and not gone, as soon as the list is true."""
        give_up = self._clock() + _LISTED_S
        while True:
            found = self._account.pages(
                "resourcegroupstaggingapi",
                "get_resources",
                "ResourceTagMappingList",
                TagFilters=[{"Key": TAG, "Values": [self._stack.name]}],
            )
            left = [each["ResourceARN"] for each in found if not self._is_gone(each["ResourceARN"])]
            if not left or self._clock() >= give_up:
                return left
            self._sleep(POLL_S)

    def _is_gone(self, arn: str) -> bool:
        """Say whether something that is still listed is known to be gone."""
        kind, _, name = arn.split(":", 5)[5].partition("/")
        if ":ec2:" not in arn or kind != "instance":
            return False
        # A terminated instance is listed for about an hour.
        found = self._account.pages(
            "ec2",
            "describe_instances",
            "Reservations",
            Filters=[{"Name": "instance-id", "Values": [name]}],
        )
        states = [each["State"]["Name"] for one in found for each in one["Instances"]]
        return all(state in ("shutting-down", "terminated") for state in states)


def _role_name(described: Described) -> str:
    return described.outputs.get("SageMakerRoleArn", "no role").rpartition("/")[2]
