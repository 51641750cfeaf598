"""What a deployment would do, from templates, parameters and what is there."""

from __future__ import annotations

import json

import boto3
import pytest

from matinee.cloud.account import Account
from matinee.cloud.plan import plan
from matinee.cloud.stack import Stack
from matinee.cloud.template import Template
from tests.cloud.conftest import Emulator
from tests.conftest import find_by

NAME = "matinee-test"


def template(**resources: object) -> Template:
    body = {
        "Description": "matinee on AWS: a test",
        "Parameters": {
            "Days": {"Type": "Number", "Default": 7},
            "Name": {"Type": "String", "Default": "n"},
            "CodeVersion": {"Type": "String", "Default": ""},
        },
        "Conditions": {"HasCode": {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeVersion"}, ""]}]}},
        "Resources": {
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": ref("Days")}},
            "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": ref("Name")}},
            **resources,
        },
    }
    return Template(json.dumps(body))


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


BUCKET = {"Type": "AWS::S3::Bucket", "Condition": "HasCode"}
LATE = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Fn::Sub": "${Logs}-late"}}}


@pytest.fixture
def stack(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Stack:
    find_by(emulator.environment, monkeypatch)
    return Stack(Account(boto3.Session()), NAME)


def test_where_there_is_nothing_everything_is_made(stack: Stack) -> None:
    found = plan(template(Bucket=BUCKET), {"CodeVersion": "1"}, stack, None)
    assert found.made == {
        "Logs": "AWS::Logs::LogGroup", "Topic": "AWS::SNS::Topic", "Bucket": "AWS::S3::Bucket",
    }  # fmt: skip
    assert (found.changed, found.kept, found.removed) == ({}, {}, {})


def test_a_stack_that_was_never_created_is_made_whole(stack: Stack) -> None:
    stack.client.create_change_set(
        StackName=NAME,
        ChangeSetName="by-hand",
        ChangeSetType="CREATE",
        TemplateBody=template().text,
    )
    described = stack.describe()
    assert described is not None
    assert set(plan(template(), {}, stack, described).made) == {"Logs", "Topic"}


def test_what_changes_is_what_is_written_differently_or_leads_to_it(stack: Stack) -> None:
    stack.client.create_stack(
        StackName=NAME,
        TemplateBody=template(Old=BUCKET, Late=LATE, Bucket=BUCKET).text,
        Parameters=[
            {"ParameterKey": "Name", "ParameterValue": "mine"},
            {"ParameterKey": "CodeVersion", "ParameterValue": "1"},
        ],
    )
    described = stack.describe()
    tagged = {**BUCKET, "Properties": {"Tags": [{"Key": "a", "Value": "b"}]}}
    new = {"Type": "AWS::S3::Bucket"}
    after = template(Late=LATE, Bucket=tagged, New=new)
    found = plan(after, {"CodeVersion": "1", "Days": "14"}, stack, described)
    assert list(found.made) == ["New"]
    assert list(found.changed) == ["Logs", "Late", "Bucket"]
    assert list(found.kept) == ["Topic"]  # its name is as the user chose it before
    assert list(found.removed) == ["Old"]
