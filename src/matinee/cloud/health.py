"""Whether a stack works: CloudFormation's word, its alarms, Airflow's instance or environment.

What runs at the moment, jobs and endpoints, is told too, and is no matter of health. It looks only.
"""

from __future__ import annotations

from typing import NamedTuple

from matinee.cloud.account import Account
from matinee.cloud.leftovers import Leftovers
from matinee.cloud.stack import Described, Resource, Stack

_WORKS = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}


class Part(NamedTuple):
    """One part of a stack: what it is, how it is, and whether that is well."""

    what: str
    state: str
    is_well: bool


class Health(NamedTuple):
    """The parts of a stack, and the names of the jobs and endpoints that run."""

    parts: list[Part]
    jobs: list[str]
    endpoints: list[str]

    @property
    def is_well(self) -> bool:
        """Whether every part is."""
        return all(part.is_well for part in self.parts)


def look(stack: Stack, described: Described) -> Health:
    """Look at every part of a stack."""
    account, resources = stack.account, stack.resources()
    parts = [_of_stack(stack, described)]
    airflow = [
        part for resource in resources if resource.id for part in _of_airflow(account, resource)
    ]
    parts += airflow or [Part("Airflow", "not made yet: `matinee cloud deploy` goes on", False)]
    parts += alarms(account, [each.id for each in resources if each.type.endswith("::Alarm")])
    found = Leftovers(account, described).find()
    return Health(parts, found.jobs, found.endpoints)


def alarms(account: Account, names: list[str]) -> list[Part]:
    """Return the state of each alarm, with its reason if it is one."""
    parts = []
    # So many names are answered at a time.
    for start in range(0, len(names), 100):
        found = account.pages(
            "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNames=names[start : start + 100]
        )
        for alarm in found:
            state = alarm["StateValue"]
            is_well = state != "ALARM"
            told = state if is_well else f"{state}: {alarm.get('AlarmDescription', '')}"
            parts.append(Part(f"alarm {alarm['AlarmName']}", told, is_well))
    return parts


def _of_stack(stack: Stack, described: Described) -> Part:
    state = described.status
    if state not in _WORKS and not described.is_moving:
        reason = stack.first_failure(described.id) or described.reason
        state = f"{state}. {reason}".removesuffix(". ")
    return Part(f"stack {stack.name}", state, described.status in _WORKS)


def _of_airflow(account: Account, resource: Resource) -> list[Part]:
    """Return how Airflow's instance or environment is; nothing of other resources."""
    if resource.type == "AWS::MWAA::Environment":
        environment = account.client("mwaa").get_environment(Name=resource.id)["Environment"]
        status = environment["Status"]
        return [Part(f"environment {resource.id}", status, status == "AVAILABLE")]
    if resource.type != "AWS::AutoScaling::AutoScalingGroup":
        return []
    groups = account.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[resource.id]
    )["AutoScalingGroups"]
    instances = [each for group in groups for each in group["Instances"]]
    parts = [
        Part(
            f"instance {each['InstanceId']}",
            f"{each['LifecycleState']}, {each['HealthStatus']}",
            (each["LifecycleState"], each["HealthStatus"]) == ("InService", "Healthy"),
        )
        for each in instances
    ]
    return parts or [Part("instance", "none: the group has not made one", False)]
