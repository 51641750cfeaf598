"""The health of a stack: what CloudFormation, its alarms and Airflow's group say."""

from __future__ import annotations

from matinee.cloud.account import Account
from matinee.cloud.health import Health, Part, alarms, look
from matinee.cloud.stack import Stack
from tests.cloud.stacks import create


def test_an_alarm_is_not_well_and_says_what_it_is_for(account: Account) -> None:
    client = account.client("cloudwatch")
    names = ["quiet", "loud", "of-others"]
    for name in names:
        client.put_metric_alarm(
            AlarmName=name, AlarmDescription="A task failed", MetricName="m", Namespace="n",
            Period=60, EvaluationPeriods=1, Threshold=0, Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip
    client.set_alarm_state(AlarmName="quiet", StateValue="OK", StateReason="r")
    for name in names[1:]:
        client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="r")
    assert alarms(account, ["quiet", "loud"]) == [
        Part("alarm quiet", "OK", True), Part("alarm loud", "ALARM: A task failed", False),
    ]  # fmt: skip
    assert alarms(account, []) == []


def test_one_part_that_is_not_well_is_enough() -> None:
    parts = [Part("a", "OK", True), Part("b", "ALARM", False)]
    assert not Health(parts, [], []).is_well
    assert Health(parts[:1], [], []).is_well


def test_a_stack_without_airflow_is_not_well(stack: Stack) -> None:
    health = look(stack, create(stack))
    assert [part.is_well for part in health.parts] == [True, False]
    assert not health.is_well
