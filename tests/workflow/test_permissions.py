"""The policy of docs/aws.md: enough for whoever runs the workflow's tasks, and nothing too much."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from matinee.workflow.clean_up import clean_up, stop_jobs
from matinee.workflow.errors import ObjectsError
from matinee.workflow.learning import tuning_trials
from matinee.workflow.objects import Objects
from matinee.workflow.report import write_report
from matinee.workflow.requests import job_name, training_request, tuning_request
from matinee.workflow.rollback import rollback
from tests.conftest import AWS, find_by
from tests.workflow.conftest import as_csv
from tests.workflow.publishing import BAD, GOOD, IMAGE, Publisher, tastes
from tests.workflow.test_publish import publish

PAGE = Path(__file__).parents[2] / "docs" / "aws.md"
ACCOUNT = "000000000000"
TRUST = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}
# They are asked for in passing, by no call of their own.
IMPLIED = {
    "iam:PassRole",
    "sagemaker:AddTags",
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:ListBucket",
}


def policy(bucket: str) -> dict[str, Any]:
    """Return the policy of the page, with what a user fills in."""
    found = re.search(r"<!-- policy: workflow -->\n```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    filled = found[1].replace("ACCOUNT", ACCOUNT).replace("BUCKET", bucket)
    document: dict[str, Any] = json.loads(filled)
    return document


def actions(document: dict[str, Any]) -> set[str]:
    found = set()
    for statement in document["Statement"]:
        listed = statement["Action"]
        found |= {listed} if isinstance(listed, str) else set(listed)
    return found


@pytest.fixture
def ratings(put: Callable[[str, bytes | str], str]) -> str:
    """Ratings that were there before."""
    return put("ratings.csv", as_csv(tastes(30, 20)))


@pytest.fixture
def called(
    aws: AWS, bucket: str, ratings: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[set[str]]:
    """Become the role of the policy; return the actions that are asked for from now on."""
    del ratings
    find_by(aws.environment, monkeypatch)
    iam, sts = aws.client("iam"), aws.client("sts")
    name = f"workflow-{secrets.token_hex(4)}"
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    document = json.dumps(policy(bucket))
    iam.put_role_policy(RoleName=name, PolicyName="workflow", PolicyDocument=document)
    keys = sts.assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
    for variable, member in (
        ("AWS_ACCESS_KEY_ID", "AccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        ("AWS_SESSION_TOKEN", "SessionToken"),
    ):
        monkeypatch.setenv(variable, keys[member])
    seen: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        seen.add(f"{model.service_model.signing_name}:{model.name}")

    boto3.setup_default_session()
    session = boto3.DEFAULT_SESSION
    assert session is not None
    for service in ("sagemaker", "sagemaker-runtime", "iam", "cloudwatch-logs"):
        session.events.register(f"before-call.{service}", note)
    yield seen
    boto3.DEFAULT_SESSION = None
    iam.close()
    sts.close()


def test_the_policy_suffices_and_all_of_it_is_used(
    called: set[str], bucket: str, ratings: str
) -> None:
    sagemaker = boto3.client("sagemaker")
    publisher = Publisher(sagemaker, ratings, bucket)
    first = publisher.settings(**GOOD, role="matinee-sagemaker")
    publish(first, publisher.run(first))
    second = publisher.settings(**BAD, role="matinee-sagemaker", gate_tolerance=5)
    inputs = publisher.run(second)
    publish(second, inputs)
    rollback(publisher.name, sagemaker, check_s=0.1)

    # What ends at once cannot be stopped, but one must be allowed to ask.
    run, prepared = inputs["preprocessed"]["run"], inputs["prepared"]
    endless = publisher.settings(epochs=10**9, tuning_ranges={"factors_lr": [0.001, 0.002]})
    tune, train = job_name(run, "tune", 2), job_name(run, "train", 2)
    sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(endless, prepared, name=tune, image=IMAGE)
    )
    sagemaker.create_training_job(**training_request(endless, prepared, name=train, image=IMAGE))
    assert set(stop_jobs(run, sagemaker)["stopped_jobs"]) >= {tune, train}
    sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tune)
    tuning_trials(tune, sagemaker)
    write_report(second, {"run": run, "summary": inputs["evaluated"]["summary"]})
    with pytest.raises(sagemaker.exceptions.ClientError, match="ValidationException"):
        sagemaker.stop_transform_job(TransformJobName=f"{run}-predict-1")
    clean_up(second, {"run": run})
    sagemaker.delete_endpoint(EndpointName=publisher.name)

    with pytest.raises(sagemaker.exceptions.ClientError, match="not authorized to perform"):
        sagemaker.delete_model(ModelName="of-somebody-else")
    with pytest.raises(ObjectsError, match="AccessDenied"):
        Objects().read("s3://matinee/of-somebody-else")
    sagemaker.close()
    unused = actions(policy(bucket)) - called - IMPLIED
    assert not unused
