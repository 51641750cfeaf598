"""Deploying to an emulator, over the wire: both passes, again, broken off anywhere, and refusals.

Shown here: the order of things, what is uploaded, what a repeated or broken off command finds.
What moto does not do: take time, fail, roll back.
"""

from __future__ import annotations

import pytest

from matinee.cloud.account import Account
from matinee.cloud.deploy import Change, Deployment, stored_digest
from matinee.cloud.errors import AWSStackError, TemplateError
from matinee.cloud.stack import Stack
from matinee.cloud.template import Kind, Template
from tests.cloud.conftest import REGION, Emulator
from tests.cloud.stacks import BUNDLE, EC2, NAME, OTHER, SMALL, Breaking, Notes, deploy, never


def objects(account: Account, bucket: str) -> set[str]:
    return {
        each["Key"] for each in account.pages("s3", "list_objects_v2", "Contents", Bucket=bucket)
    }


def test_from_nothing_to_a_stack_with_the_code(stack: Stack, account: Account) -> None:
    notes = Notes()
    done = deploy(stack, notes=notes, DatabaseClass="db.t4g.small")
    assert done.has_changed
    assert done.stack.status == "UPDATE_COMPLETE"
    assert done.stack.kind is Kind.EC2
    assert done.stack.parameters["CodeVersion"] == BUNDLE.version
    assert done.stack.outputs["AirflowAddress"] == "http://localhost:8080"
    version, template = BUNDLE.version, EC2.digest
    assert objects(account, done.stack.outputs["Bucket"]) == {
        f"code/{version}/constraints.txt", f"code/{version}/matinee-1-py3-none-any.whl",
        f"templates/{template}.yaml",
    }  # fmt: skip
    (database,) = account.client("rds").describe_db_instances()["DBInstances"]
    assert database["DBInstanceClass"] == "db.t4g.small"
    assert Change("Add", "Database", "AWS::RDS::DBInstance", False) in notes.changed
    assert not {change.resource for change in notes.changed} & {"Bucket", "SageMakerRole"}
    assert [event.status for event in notes.events if event.is_of_stack] == [
        "CREATE_IN_PROGRESS", "CREATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE",
    ]  # fmt: skip
    tags = account.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["Tags"]
    assert tags == [{"Key": "matinee", "Value": NAME}]


def test_again_it_changes_nothing_and_says_so(stack: Stack) -> None:
    first = deploy(stack, DatabaseClass="db.t4g.small")
    notes = Notes()
    again = deploy(stack, notes=notes)
    assert not again.has_changed
    assert again.stack == first.stack
    assert (notes.changed, notes.events) == ([], [])
    assert "0 of 2 files were uploaded" in notes.lines[0]
    assert notes.lines[-1] == f"stack {NAME} has this code already: nothing to change"


def test_other_code_is_another_version_beside_the_first(stack: Stack, account: Account) -> None:
    deploy(stack, DatabaseClass="db.t4g.small")
    notes = Notes()
    done = deploy(stack, OTHER, notes)
    assert done.has_changed
    assert done.stack.parameters["CodeVersion"] == OTHER.version != BUNDLE.version
    assert done.stack.parameters["DatabaseClass"] == "db.t4g.small"  # as it was
    keys = objects(account, done.stack.outputs["Bucket"])
    assert {key.split("/")[1] for key in keys if key.startswith("code/")} == {
        BUNDLE.version, OTHER.version,
    }  # fmt: skip


def test_broken_off_at_any_call_and_repeated_it_ends_well(
    emulator: Emulator, account: Account
) -> None:
    breaking = Breaking()
    stack = Stack(Account(breaking.session), NAME, sleep=never)
    for number in range(1, 100):
        emulator.reset()
        breaking.arm(number)
        try:
            deploy(stack, template=SMALL)
        except KeyboardInterrupt:
            breaking.arm(0)
        else:
            break
        done = deploy(stack, template=SMALL)
        assert done.stack.status == "UPDATE_COMPLETE"
        assert done.stack.parameters["CodeVersion"] == BUNDLE.version
        bucket = done.stack.outputs["Bucket"]
        for name in BUNDLE.files:
            assert stored_digest(account, bucket, f"code/{BUNDLE.version}/{name}")
        assert [each["Name"] for each in account.client("s3").list_buckets()["Buckets"]] == [bucket]
    assert number - 1 == 6  # so many calls change something


def test_another_kind_is_another_stack(stack: Stack) -> None:
    deploy(stack)
    other = Deployment(stack, Template.of(Kind.MWAA), BUNDLE, {}, Notes(), token="t2")
    with pytest.raises(AWSStackError, match="is of kind ec2; another kind is another stack"):
        other.deploy()


def test_a_stack_of_somebody_else_is_not_touched(stack: Stack, account: Account) -> None:
    account.client("cloudformation").create_stack(
        StackName=NAME,
        TemplateBody='{"Description": "mine", "Resources": {"B": {"Type": "AWS::S3::Bucket"}}}',
    )
    with pytest.raises(AWSStackError, match="is not matinee's: its description is 'mine'"):
        deploy(stack)


def test_a_stack_that_was_never_created_is_removed_first(stack: Stack, account: Account) -> None:
    account.client("cloudformation").create_change_set(
        StackName=NAME, ChangeSetName="by-hand", ChangeSetType="CREATE",
        TemplateBody=EC2.first_pass(), Capabilities=["CAPABILITY_IAM"],
    )  # fmt: skip
    notes = Notes()
    assert deploy(stack, notes=notes).stack.status == "UPDATE_COMPLETE"
    assert notes.lines[0] == f"stack {NAME} is REVIEW_IN_PROGRESS, never created: removing it"


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"Size": "8"}, "the template has no parameter Size: it has Recommender, "),
        ({"CodeVersion": "8"}, "CodeVersion is what is deployed"),
        ({"LogDays": "8"}, "LogDays=8: it is one of 7, 14"),
        (
            {"AllowedCidr": "0.0.0.0/0"},
            "AllowedCidr=0.0.0.0/0: it must be an IPv4 range of at most",
        ),
    ],
)
def test_parameters_are_refused_before_anything_is_done(
    stack: Stack, parameters: dict[str, str], problem: str
) -> None:
    with pytest.raises(TemplateError, match=problem):
        Deployment(stack, EC2, BUNDLE, parameters, Notes(), token="t3")
    assert stack.describe() is None


def test_the_region_is_the_session_s(account: Account) -> None:
    assert account.region == REGION
    assert account.domain == "amazonaws.com"
