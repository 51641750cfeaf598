"""Removing stacks from an emulator: all of them, what runs made, and nothing of the neighbours.

What moto does not do: jobs that run, registered models that are deleted (both are shown with the
local SageMaker in `test_leftovers`), and deletions that take time or fail.
"""

from __future__ import annotations

import json
from itertools import count

import pytest

from matinee.cloud.account import Account
from matinee.cloud.destroy import Check, Destruction
from matinee.cloud.errors import AWSStackError
from matinee.cloud.stack import Described, Stack
from matinee.cloud.template import Template
from tests.cloud.conftest import Emulator
from tests.cloud.stacks import NAME, Breaking, Notes, create, deploy, never


def destroy(stack: Stack, notes: Notes | None = None) -> list[Check]:
    minutes = count(step=60)
    return Destruction(stack, notes or Notes(), clock=minutes.__next__, sleep=never).destroy()


def fill(account: Account, stack: Described, name: str = "recommender") -> None:
    """Leave behind what a run does: objects in versions, an upload, an endpoint and its models."""
    bucket, s3 = stack.outputs["Bucket"], account.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="runs/a", Body=body)
    s3.put_object(Bucket=bucket, Key="runs/b", Body=b"3")
    s3.delete_object(Bucket=bucket, Key="runs/b")
    s3.create_multipart_upload(Bucket=bucket, Key="runs/c")
    serve(account, stack, name)


def serve(account: Account, stack: Described, name: str = "recommender") -> None:
    """Make an endpoint and the models of a run."""
    sagemaker, role = account.client("sagemaker"), stack.outputs["SageMakerRoleArn"]
    for model in (f"{name}-v1-00000000", f"matinee-{name}-predict"):
        sagemaker.create_model(
            ModelName=model, PrimaryContainer={"Image": "i"}, ExecutionRoleArn=role
        )
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-v1-00000000",
        ProductionVariants=[
            {
                "VariantName": "all", "ModelName": f"{name}-v1-00000000",
                "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
            }
        ],
    )  # fmt: skip
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-v1-00000000")


def everything(account: Account) -> dict[str, list[str]]:
    """Return the names of all that the emulator has, of the kinds that are made here."""
    return {
        member: [each[name] for each in account.pages(service, operation, member)]
        for service, operation, member, name in (
            ("cloudformation", "list_stacks", "StackSummaries", "StackStatus"),
            ("iam", "list_roles", "Roles", "Arn"),
            ("logs", "describe_log_groups", "logGroups", "logGroupName"),
            ("s3", "list_buckets", "Buckets", "Name"),
            ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
            ("sagemaker", "list_models", "Models", "ModelName"),
        )
    }


NOTHING = {
    "StackSummaries": ["DELETE_COMPLETE"], "Roles": [], "logGroups": [], "Buckets": [],
    "EndpointConfigs": [], "Endpoints": [], "Models": [],
}  # fmt: skip


def test_a_whole_stack_goes_without_a_trace(stack: Stack, account: Account) -> None:
    fill(account, deploy(stack).stack)
    remains = Destruction(stack, Notes()).remains()
    assert len(remains.resources) > 20
    assert remains.found.endpoints == ["recommender"]
    assert remains.found.models == ["matinee-recommender-predict", "recommender-v1-00000000"]
    assert remains.bucket
    notes = Notes()
    checks = destroy(stack, notes)
    assert {check.what.split()[0] for check in checks if not check.left} == {
        "stack", "jobs", "endpoints", "configs", "models", "packages", "groups", "bucket", "role",
        "log", "resources",
    }  # fmt: skip
    assert not any(check.left for check in checks)
    assert everything(account) == NOTHING
    assert account.client("rds").describe_db_instances()["DBInstances"] == []
    networks = account.client("ec2").describe_vpcs(Filters=[{"Name": "tag-key", "Values": ["*"]}])
    assert networks["Vpcs"] == []
    order = [line.split()[0] for line in notes.lines]
    assert order == ["stopping", *["deleted"] * 4, "emptied", "stack"]


def test_again_there_is_nothing_and_leftovers_are_looked_for(
    stack: Stack, account: Account
) -> None:
    described = create(stack)
    assert destroy(stack)
    assert Destruction(stack, Notes()).remains().is_empty
    # Somebody deleted the stack by hand, and an endpoint has stayed.
    serve(account, described)
    remains = Destruction(stack, Notes()).remains()
    assert remains.found.endpoints == ["recommender"]
    assert not remains.is_empty
    assert not any(check.left for check in destroy(stack))
    assert everything(account) == NOTHING


def test_what_is_of_another_stack_stays(stack: Stack, account: Account) -> None:
    mine = create(stack)
    neighbour = Stack(account, "neighbour", sleep=never)
    theirs = create(neighbour)
    fill(account, mine, "recommender")
    fill(account, theirs, "recommender-of-theirs")
    assert not any(check.left for check in destroy(stack))
    assert neighbour.describe() == theirs
    after = everything(account)
    assert after["Endpoints"] == ["recommender-of-theirs"]
    assert after["EndpointConfigs"] == ["recommender-of-theirs-v1-00000000"]
    assert len(after["Models"]) == 2
    assert after["Buckets"] == [theirs.outputs["Bucket"]]


def test_without_any_stack_it_only_looks(stack: Stack, emulator: Emulator) -> None:
    with emulator.recording() as asked:
        checks = destroy(stack)
    assert not any(check.left for check in checks)
    assert {each[:4] for each in asked} <= {"Desc", "GetR", "List"}


def test_a_stack_of_somebody_else_is_not_touched(stack: Stack, account: Account) -> None:
    account.client("cloudformation").create_stack(
        StackName=NAME,
        TemplateBody='{"Description": "mine", "Resources": {"B": {"Type": "AWS::S3::Bucket"}}}',
    )
    with pytest.raises(AWSStackError, match="is not matinee's"):
        destroy(stack)
    assert len(everything(account)["Buckets"]) == 1


def test_broken_off_at_any_call_and_repeated_it_ends_well(
    emulator: Emulator, stack: Stack, account: Account
) -> None:
    breaking = Breaking()
    breakable = Stack(Account(breaking.session), NAME, sleep=never)
    for number in range(1, 200):
        emulator.reset()
        fill(account, create(stack))
        breaking.arm(number)
        try:
            destroy(breakable)
        except KeyboardInterrupt:
            breaking.arm(0)
        else:
            break
        assert not any(check.left for check in destroy(stack))
        assert everything(account) == NOTHING
    assert number - 1 == 7  # so many calls change something


def test_executions_of_the_state_machine_are_stopped_before_the_stack_goes(
    emulator: Emulator, stack: Stack, account: Account
) -> None:
    role = account.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": role["Role"]["Arn"],
            "DefinitionString": '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        },
    }
    body = {
        "Description": "matinee on AWS: a test",
        "Parameters": {"CodeVersion": {"Type": "String"}},
    }
    create(stack, Template(json.dumps({**body, "Resources": {"Machine": machine}})))
    (resource,) = stack.resources()
    account.client("stepfunctions").start_execution(stateMachineArn=resource.id, name="running")
    notes = Notes()
    with emulator.recording() as asked:
        destroy(stack, notes)
    assert notes.lines == ["stopping the execution running", f"stack {NAME} is deleted"]
    changing = [each for each in asked if each in ("StopExecution", "DeleteStack")]
    assert changing == ["StopExecution", "DeleteStack"]
