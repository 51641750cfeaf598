"""What a job may do at S3 is what its role may do."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cloud.rendering import rendered
from tests.cloud.templates import Template, as_list
from tests.conftest import ObjectStore
from tests.sagemaker.jobs.conftest import Jobs, channel

TRUST = {
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
}


def role(jobs: Jobs, object_store: ObjectStore, prefix: str) -> str:
    """Make a role that may read and write below a prefix; return its ARN."""
    iam = object_store.session.client("iam", endpoint_url=jobs.server.endpoint)
    name = jobs.new_name("role")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"][
        "Arn"
    ]
    statements = [
        {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{jobs.bucket}{suffix}"}
        for action, suffix in (
            ("s3:ListBucket", ""),
            (["s3:GetObject", "s3:PutObject"], f"/{prefix}/*"),
        )
    ]
    iam.put_role_policy(
        RoleName=name, PolicyName="s3", PolicyDocument=json.dumps({"Statement": statements})
    )
    return arn


def client(found: dict[str, Any]) -> Any:
    """Return the S3 client that the algorithm's process would have had."""
    environment = found["environment"]
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment["AWS_SESSION_TOKEN"],
        region_name=environment["AWS_REGION"],
    )


def test_a_process_has_the_keys_of_its_role_alone(jobs: Jobs, object_store: ObjectStore) -> None:
    arn = role(jobs, object_store, jobs.prefix)
    data = jobs.put("data/a", "1")
    name = jobs.train({"RoleArn": arn, "InputDataConfig": [channel("train", data)]})
    found = jobs.model(jobs.trained(name))
    assert found["files"] == {"train/a": "1"}
    assert found["environment"]["AWS_ENDPOINT_URL"] == jobs.server.endpoint
    s3 = client(found)
    key = f"{jobs.prefix}/data/a"
    assert s3.get_object(Bucket=jobs.bucket, Key=key)["Body"].read() == b"1"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=jobs.bucket, Key="elsewhere", Body=b"")


def test_input_the_role_may_not_read_fails_the_job(jobs: Jobs, object_store: ObjectStore) -> None:
    arn = role(jobs, object_store, f"{jobs.prefix}/models")
    data = jobs.put("data/a", "1")
    name = jobs.train({"RoleArn": arn, "InputDataConfig": [channel("train", data)]})
    ended = jobs.trained(name)
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("ClientError")
    assert "Forbidden" in ended["FailureReason"] or "AccessDenied" in ended["FailureReason"]


def test_output_the_role_may_not_write_fails_the_job(jobs: Jobs, object_store: ObjectStore) -> None:
    arn = role(jobs, object_store, f"{jobs.prefix}/data")
    data = jobs.put("data/a", "1")
    name = jobs.train({"RoleArn": arn, "InputDataConfig": [channel("train", data)]})
    ended = jobs.trained(name)
    assert ended["TrainingJobStatus"] == "Failed"
    assert "AccessDenied" in ended["FailureReason"]
    assert jobs.stored("models") == []


AT_S3 = ["s3:GetObject", "s3:ListBucket", "s3:PutObject"]
# What SageMaker does by itself with the role of a job on AWS: it writes the job's logs and metrics,
# and pulls its image.
BY_SAGEMAKER = {
    "logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents",
    "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
}  # fmt: skip


@pytest.mark.parametrize("lacks", [None, *AT_S3])
def test_a_job_needs_each_permission_at_s3_of_the_stacks_role(
    lacks: str | None, jobs: Jobs, object_store: ObjectStore
) -> None:
    policy = Template("airflow-ec2.yaml").policies_of("SageMakerRole")["jobs"]
    statements = rendered(policy, {"Bucket": jobs.bucket})["Statement"]
    for statement in statements:
        given = as_list(statement["Action"])
        statement["Action"] = [action for action in given if action != lacks]
    kept = [statement for statement in statements if statement["Action"]]
    iam = object_store.session.client("iam", endpoint_url=jobs.server.endpoint)
    name = jobs.new_name("role")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    document = json.dumps({"Version": "2012-10-17", "Statement": kept})
    iam.put_role_policy(RoleName=name, PolicyName="jobs", PolicyDocument=document)
    data = jobs.put("data/a", "1")
    arn = made["Role"]["Arn"]
    ended = jobs.trained(jobs.train({"RoleArn": arn, "InputDataConfig": [channel("train", data)]}))
    assert (ended["TrainingJobStatus"] == "Completed") is (lacks is None), ended


def test_nothing_else_is_in_the_stacks_role() -> None:
    policies = Template("airflow-ec2.yaml").policies_of("SageMakerRole")
    found = {action for each in policies["jobs"]["Statement"] for action in as_list(each["Action"])}
    assert found == {*AT_S3} | BY_SAGEMAKER
