"""The templates on an emulator: what it knows is created as written, and deleted.

What moto does not know it creates as nothing (UNKNOWN below), so that those resources are only
linted; of a bucket it makes no more than its encryption and its tags. It does not start instances,
so it waits for no signal, and it does not replace `{{resolve:secretsmanager:...}}`. It deletes
resources in an order in which a network with anything in it stays: whole stacks are not deleted
here, their first pass is. Of MWAA it knows nothing: that template's second pass is only linted.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from matinee.workflow.settings import Settings
from tests.cloud.conftest import Emulator
from tests.cloud.rendering import ACCOUNT, VALUES, rendered
from tests.cloud.templates import NAMES, Template

STACK = "matinee-test"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/glue"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/films:1.2"
UNKNOWN = {
    "AWS::Athena::WorkGroup",
    "AWS::CloudWatch::Alarm",
    "AWS::Glue::Database",
    "AWS::Glue::Job",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SecretsManager::Secret",
}


def create(emulator: Emulator, template: Template, **parameters: str) -> dict[str, str]:
    """Create a stack and return its outputs."""
    client = emulator.client("cloudformation")
    client.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(template.body),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
    )
    (stack,) = client.describe_stacks(StackName=STACK)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def physical(emulator: Emulator) -> dict[str, str]:
    found = emulator.client("cloudformation").list_stack_resources(StackName=STACK)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in found["StackResourceSummaries"]
        if resource["LogicalResourceId"]
    }


@pytest.fixture
def template() -> Template:
    return Template("airflow-ec2.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_pass_is_a_bucket_and_a_role_and_goes_without_a_trace(
    emulator: Emulator, name: str
) -> None:
    template = Template(name)
    outputs = create(emulator, template)
    assert set(outputs) == {"Bucket", "SageMakerRoleArn", "SageMakerConsole", "StackConsole"}
    s3, iam = emulator.client("s3"), emulator.client("iam")
    bucket = outputs["Bucket"]
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    (role,) = iam.list_roles()["Roles"]
    assert role["Arn"] == outputs["SageMakerRoleArn"]
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="jobs")["PolicyDocument"]
    assert f"'arn:aws:s3:::{bucket}/*'" in policy  # moto's own spelling of it
    assert emulator.client("ec2").describe_instances()["Reservations"] == []

    emulator.client("cloudformation").delete_stack(StackName=STACK)
    assert s3.list_buckets()["Buckets"] == []
    assert iam.list_roles()["Roles"] == []


def test_the_whole_stack(emulator: Emulator, template: Template) -> None:
    outputs = create(emulator, template, CodeVersion="1.2")
    assert outputs["AirflowAddress"] == "http://localhost:8080"
    ids = physical(emulator)
    ec2, rds = emulator.client("ec2"), emulator.client("rds")

    (database,) = rds.describe_db_instances()["DBInstances"]
    assert database["StorageEncrypted"] is True
    assert database["PubliclyAccessible"] is False
    group = ec2.describe_security_groups(GroupIds=[ids["DatabaseSecurity"]])["SecurityGroups"][0]
    (rule,) = group["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (5432, 5432, [])
    assert rule["UserIdGroupPairs"][0]["GroupId"] == ids["InstanceSecurity"]
    group = ec2.describe_security_groups(GroupIds=[ids["InstanceSecurity"]])["SecurityGroups"][0]
    assert group["IpPermissions"] == []

    (reservation,) = ec2.describe_instances()["Reservations"]
    (instance,) = reservation["Instances"]
    assert {"Key": "matinee", "Value": STACK} in instance["Tags"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=ids["LaunchTemplate"])
    data: dict[str, Any] = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    script = base64.b64decode(data["UserData"]).decode()
    assert script.startswith("#!/bin/bash\nexport AWS_DEFAULT_REGION='us-east-1'\n")
    assert f"MATINEE_CODE='s3://{outputs['Bucket']}/code/1.2'\n" in script
    assert f"MATINEE_DATABASE='{database['Endpoint']['Address']}:5432/airflow?" in script
    assert "export MATINEE_LISTEN=127.0.0.1\n\nset -euo pipefail\n" in script
    assert outputs["PortForwarding"].count(ids["Instances"]) == 1


def test_what_the_emulator_does_not_know_is_what_we_think(
    emulator: Emulator, template: Template
) -> None:
    conditional = {
        name
        for name, resource in template.resources.items()
        if resource.get("Condition") in {"HasAddress", "HasEmail"}
    }
    missing = set(template.resources) - conditional
    for engine in ("athena", "glue"):
        create(emulator, template, CodeVersion="1.2", Engine=engine, WorkflowImage=IMAGE)
        missing -= set(physical(emulator))
        httpx.post(f"{emulator.address}/moto-api/reset").raise_for_status()
    assert {template.resources[name]["Type"] for name in missing} == UNKNOWN


def test_by_default_there_is_neither_engine_nor_state_machine(
    emulator: Emulator, template: Template
) -> None:
    outputs = create(emulator, template, CodeVersion="1.2")
    assert "StateMachineArn" not in outputs
    made = set(physical(emulator))
    assert "StepsPolicy" in made
    assert not made & {"AthenaPolicy", "GluePolicy", "GlueRole", "Machine", "MachineRole"}
    assert policies(emulator) == {
        "AirflowRole": {"instance", "jobs", "steps"},
        "SageMakerRole": {"jobs"},
    }


def policies(emulator: Emulator) -> dict[str, set[str]]:
    """Return the names of the policies of each role."""
    iam = emulator.client("iam")
    ids = {made: name for name, made in physical(emulator).items()}
    return {
        ids[role["RoleName"]]: set(iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"])
        for role in iam.list_roles()["Roles"]
    }


@pytest.mark.parametrize(
    ("engine", "more"), [("athena", {}), ("glue", {"GlueRole": {"job"}})], ids=["athena", "glue"]
)
def test_an_engine_and_a_state_machine(
    engine: str, more: dict[str, set[str]], emulator: Emulator, template: Template
) -> None:
    outputs = create(emulator, template, CodeVersion="1.2", Engine=engine, WorkflowImage=IMAGE)
    assert policies(emulator) == {
        "AirflowRole": {"instance", "jobs", "steps", engine},
        "SageMakerRole": {"jobs", "steps", engine, "workflow-image"},
        "MachineRole": {"machine"},
        **more,
    }
    # moto does not read definitions from S3.
    client = emulator.client("stepfunctions")
    machine = client.describe_state_machine(stateMachineArn=outputs["StateMachineArn"])
    role = emulator.client("iam").get_role(RoleName=physical(emulator)["MachineRole"])["Role"]
    assert machine["roleArn"] == role["Arn"]
    groups = emulator.client("logs").describe_log_groups()["logGroups"]
    assert f"/aws/vendedlogs/states/{STACK}" in {group["logGroupName"] for group in groups}
    client.delete_state_machine(stateMachineArn=outputs["StateMachineArn"])
    assert client.list_state_machines()["stateMachines"] == []


def test_the_engines_are_such_as_their_own_apis_take(
    emulator: Emulator, template: Template
) -> None:
    glue, athena = emulator.client("glue"), emulator.client("athena")
    values = {"GlueRole.Arn": ROLE, "CodeVersion": "1.2"}
    job, database, workgroup = (
        rendered(template.resources[name]["Properties"], values)
        for name in ("GlueJob", "AthenaDatabase", "AthenaWorkgroup")
    )
    glue.create_job(**{**job, "NumberOfWorkers": 2})
    made = glue.get_job(JobName=job["Name"])["Job"]
    assert made["Command"]["ScriptLocation"] == "s3://bucket/code/1.2/glue/preprocess.py"
    assert glue.start_job_run(JobName=job["Name"], Arguments={"--request": "s3://bucket/a"})
    glue.delete_job(JobName=job["Name"])
    glue.create_database(**database)
    name = database["DatabaseInput"]["Name"]
    assert name == VALUES["AthenaDatabase"]
    Settings.from_parameters({"athena_database": name, "athena_workgroup": workgroup["Name"]})
    Settings.from_parameters({"glue_job": job["Name"], "engine": "glue"})
    glue.delete_database(Name=name)
    athena.create_work_group(
        Name=workgroup["Name"],
        Configuration=workgroup["WorkGroupConfiguration"],
        Tags=workgroup["Tags"],
    )
    found = athena.get_work_group(WorkGroup=workgroup["Name"])["WorkGroup"]["Configuration"]
    assert found["ResultConfiguration"]["OutputLocation"] == "s3://bucket/athena/"
    athena.delete_work_group(WorkGroup=workgroup["Name"], RecursiveDeleteOption=True)


def test_with_an_address_there_is_a_balancer_by_https_only(
    emulator: Emulator, template: Template
) -> None:
    certificate = emulator.client("acm").request_certificate(DomainName="airflow.example.org")
    outputs = create(
        emulator,
        template,
        CodeVersion="1.2",
        AllowedCidr="203.0.113.0/24",
        CertificateArn=certificate["CertificateArn"],
        AlarmEmail="somebody@example.org",
    )
    elb = emulator.client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    assert outputs["AirflowAddress"] == f"https://{balancer['DNSName']}"
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)
    groups = emulator.client("ec2").describe_security_groups(GroupIds=balancer["SecurityGroups"])
    (rule,) = groups["SecurityGroups"][0]["IpPermissions"]
    assert [each["CidrIp"] for each in rule["IpRanges"]] == ["203.0.113.0/24"]
