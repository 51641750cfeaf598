"""What runs made, on the local SageMaker: jobs that run are stopped, registered models deleted."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from matinee.cloud.account import Account
from matinee.cloud.leftovers import Found, Leftovers
from matinee.cloud.stack import Described
from matinee.workflow.images import factorization_machines
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.requests import training_request, transform_request
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.workflow.conftest import as_csv, grid

IMAGE = factorization_machines("us-east-1")
GROUP = "Recommenders trained by matinee's workflow"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@pytest.fixture
def account(aws: AWS, monkeypatch: pytest.MonkeyPatch) -> Account:
    find_by(aws.environment, monkeypatch)
    return Account(boto3.Session())


@pytest.fixture
def name() -> str:
    return f"recommender-{secrets.token_hex(4)}"


@pytest.fixture
def roles(account: Account, name: str, bucket: str) -> Iterator[list[str]]:
    """The ARNs of a stack's role and of its neighbour's, who may do the same."""
    iam = account.client("iam")
    statement = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    names, arns = [name, f"{name}-neighbour"], []
    for each in names:
        made = iam.create_role(RoleName=each, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.put_role_policy(RoleName=each, PolicyName="data", PolicyDocument=policy)
        arns.append(made["Role"]["Arn"])
    yield arns
    for each in names:
        iam.delete_role_policy(RoleName=each, PolicyName="data")
        iam.delete_role(RoleName=each)


def leftovers(account: Account, name: str, role: str, bucket: str) -> Leftovers:
    outputs = {"SageMakerRoleArn": role, "Bucket": bucket}
    described = Described("id", "CREATE_COMPLETE", "", "", {"Recommender": name}, outputs)
    return Leftovers(account, described, sleep=shortly)


def shortly(_: float) -> None:
    time.sleep(0.05)


def start(account: Account, bucket: str, role: str, run: str) -> tuple[str, str]:
    """Start a training that would take days, and make a model; return their names."""
    Objects().write_json({}, f"s3://{bucket}/model.tar.gz")
    account.client("s3").put_object(Bucket=bucket, Key="r.csv", Body=as_csv(grid(12, 12)).encode())
    settings = Settings.from_parameters(
        {
            "ratings": f"s3://{bucket}/r.csv", "output": f"s3://{bucket}/runs", "role": role,
            "epochs": 1_000_000_000,
        }
    )  # fmt: skip
    prepared = prepare(settings, dict(preprocess(settings, {"run": run})))
    sagemaker = account.client("sagemaker")
    train, predict = f"{run}-train-1", f"{run}-predict-1"
    sagemaker.create_training_job(**training_request(settings, prepared, name=train, image=IMAGE))
    model = f"s3://{bucket}/model.tar.gz"
    request = transform_request(settings, prepared, name=predict, image=IMAGE, model=model)
    sagemaker.create_model(**request["Model"])
    return train, predict


def register(account: Account, group: str, model: str) -> str:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model_package_group(
        ModelPackageGroupName=group, ModelPackageGroupDescription=GROUP
    )
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": model}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    arn: str = sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification
    )["ModelPackageArn"]
    return arn


def status(account: Account, job: str) -> Any:
    described = account.client("sagemaker").describe_training_job(TrainingJobName=job)
    return described["TrainingJobStatus"]


def test_what_is_ours_goes_and_the_neighbour_s_stays(
    account: Account, name: str, roles: list[str], bucket: str
) -> None:
    train, model = start(account, bucket, roles[0], f"matinee-{name}")
    their_train, their_model = start(account, bucket, roles[1], f"matinee-{name}-n")
    arn = register(account, name, f"s3://{bucket}/model.tar.gz")
    ours = leftovers(account, name, roles[0], bucket)
    # By another bucket's stack the same registry is seen, and nothing of it is theirs.
    theirs = leftovers(account, name, roles[1], "of-theirs")
    assert ours.find() == Found([train], [], [], [model], [arn], [name])
    assert theirs.find() == Found([their_train], [], [], [their_model], [], [])

    lines: list[str] = []
    ours.stop_jobs(lines.append)
    assert (status(account, train), status(account, their_train)) == ("Stopped", "InProgress")
    ours.delete(lines.append)
    assert lines == [
        f"told TrainingJob {train} to stop", f"deleted model {model}",
        f"deleted model package {arn}", f"deleted model package group {name}",
    ]  # fmt: skip
    assert not any(ours.find())
    assert theirs.find() == Found([their_train], [], [], [their_model], [], [])
    theirs.stop_jobs(lines.append)
    theirs.delete(lines.append)
    assert not any(theirs.find())


def test_a_group_that_is_not_the_workflow_s_stays(
    account: Account, name: str, roles: list[str], bucket: str
) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=f"{name}-mine")
    leftovers(account, name, roles[0], bucket).delete(print)
    sagemaker.delete_model_package_group(ModelPackageGroupName=f"{name}-mine")
