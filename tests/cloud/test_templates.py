"""What the templates promise about security, held to them one by one; and that they are valid.

A security linter asks the same of many more services (`test_security.py`, in an environment of its
own); what matters here is written out.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.templates import NAMES, Template, as_list

PAGE = Path(__file__).parents[2] / "docs" / "aws.md"
# `*` in an action, as a whole resource, or in place of a part of an ARN. A name that ends in `*` is
# a prefix, `/*` all objects of one bucket: neither is everything.
WILDCARD = re.compile(r'"\*"|"\w+:[\w*]*\*"|arn:[^"]*:\*')


@pytest.fixture(params=NAMES)
def template(request: pytest.FixtureRequest) -> Template:
    return Template(request.param)


def test_the_linter_finds_nothing(template: Template) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and words
        [Path(sys.executable).with_name("cfn-lint"), "--", template.path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_exception_from_the_linter_says_why(template: Template) -> None:
    lines = template.text.splitlines()
    for number, line in enumerate(lines):
        if "ignore_checks" in line:
            assert lines[number - 1].strip().startswith("#")


def test_every_wildcard_says_why(template: Template) -> None:
    lines = template.text.splitlines()
    found = [number for number, line in enumerate(lines) if WILDCARD.search(line)]
    assert found
    silent = [lines[n].strip() for n in found if not says_why(lines, n)]
    assert [line for line in silent if line != 'Principal: "*"'] == []


def says_why(lines: list[str], number: int) -> bool:
    """Whether a comment stands before this line, or before its key."""
    return any(line.strip().startswith("#") for line in lines[max(0, number - 1) : number])


def test_everybody_is_only_ever_refused(template: Template) -> None:
    for policy in template.of_type("AWS::S3::BucketPolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Deny" or statement["Principal"] != "*"


def test_no_policy_allows_all_of_a_service(template: Template) -> None:
    actions = [action for each in template.statements() for action in as_list(each["Action"])]
    assert actions
    assert [action for action in actions if "*" in action] == []


def test_buckets_are_private_encrypted_versioned_and_tls_only(template: Template) -> None:
    buckets = template.of_type("AWS::S3::Bucket")
    assert buckets
    refused = {
        policy["Bucket"]["Ref"]
        for policy in template.of_type("AWS::S3::BucketPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert refused == set(buckets)
    for bucket in buckets.values():
        blocks = bucket["PublicAccessBlockConfiguration"]
        assert len(blocks) == 4
        assert all(value is True for value in blocks.values())
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_nobody_comes_in_unless_a_range_is_given(template: Template) -> None:
    rules: list[dict[str, Any]] = []
    for group in template.of_type("AWS::EC2::SecurityGroup").values():
        rules += group.get("SecurityGroupIngress", [])
        assert group["SecurityGroupEgress"]  # without one, everything may go out
    rules += template.of_type("AWS::EC2::SecurityGroupIngress").values()
    assert rules
    for rule in rules:
        assert "CidrIpv6" not in rule
        assert rule.get("CidrIp", {"Ref": "AllowedCidr"}) == {"Ref": "AllowedCidr"}


def test_everything_that_can_be_tagged_is(template: Template) -> None:
    untagged = {
        "AWS::AutoScaling::AutoScalingGroup", "AWS::CloudWatch::Alarm", "AWS::EC2::LaunchTemplate",
        "AWS::EC2::Route", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCGatewayAttachment",
        "AWS::ElasticLoadBalancingV2::Listener", "AWS::Glue::Database",
        "AWS::IAM::InstanceProfile", "AWS::IAM::Policy", "AWS::Logs::MetricFilter",
        "AWS::S3::BucketPolicy",
    }  # fmt: skip
    for name, resource in template.resources.items():
        if resource["Type"] not in untagged:
            tags = resource["Properties"]["Tags"]
            if isinstance(tags, dict):  # as some services have them
                tags = [{"Key": key, "Value": value} for key, value in tags.items()]
            assert {"Key": "matinee", "Value": {"Ref": "AWS::StackName"}} in tags, name


def test_both_stacks_are_of_one_shape() -> None:
    first, second = (Template(name) for name in NAMES)
    for name in (
        "AthenaDatabase", "AthenaPolicy", "AthenaWorkgroup", "Bucket", "BucketPolicy", "GlueJob",
        "GluePolicy", "GlueRole", "Machine", "MachineLog", "MachineRole", "SageMakerRole",
        "StepsPolicy", "WorkflowImagePolicy",
    ):  # fmt: skip
        assert first.resources[name] == second.resources[name]
    for name in set(first.body["Parameters"]) & set(second.body["Parameters"]) - {"CodeVersion"}:
        assert first.body["Parameters"][name] == second.body["Parameters"][name]
    of_the_instance = {"AdminSecretArn", "PortForwarding"}
    assert set(first.body["Outputs"]) - of_the_instance == set(second.body["Outputs"])


def test_managed_airflow_is_in_private_subnets_and_its_pages_too_by_default() -> None:
    template = Template("airflow-mwaa.yaml")
    (environment,) = template.of_type("AWS::MWAA::Environment").values()
    assert environment["WebserverAccessMode"] == {"Ref": "PageAccess"}
    assert template.body["Parameters"]["PageAccess"]["Default"] == "PRIVATE_ONLY"
    subnets = {subnet["Ref"] for subnet in environment["NetworkConfiguration"]["SubnetIds"]}
    ways = {
        route["RouteTableId"]["Ref"]: "GatewayId" in route
        for route in template.of_type("AWS::EC2::Route").values()
    }
    public = {
        association["SubnetId"]["Ref"]
        for association in template.of_type("AWS::EC2::SubnetRouteTableAssociation").values()
        if ways[association["RouteTableId"]["Ref"]]
    }
    assert len(subnets) == 2
    assert not subnets & public


def test_every_parameter_explains_itself_and_checks_its_value(template: Template) -> None:
    for name, parameter in template.body["Parameters"].items():
        assert parameter["Description"], name
        if parameter["Type"] == "String":
            assert "AllowedPattern" in parameter or "AllowedValues" in parameter, name
        if pattern := parameter.get("AllowedPattern"):
            assert re.fullmatch(pattern, parameter["Default"]), name
            assert parameter["ConstraintDescription"], name


@pytest.mark.parametrize(
    ("cidr", "good"),
    [
        ("", True), ("203.0.113.0/24", True), ("198.51.100.7/32", True), ("10.0.0.0/8", True),
        ("0.0.0.0/0", False), ("0.0.0.0/1", False), ("10.0.0.0/7", False), ("10.0.0.0", False),
        ("256.0.0.0/8", False), ("10.0.0.0/33", False), ("10.0.0/24", False),
    ],
)  # fmt: skip
def test_the_allowed_range_is_never_everybody(cidr: str, *, good: bool) -> None:
    pattern = Template("airflow-ec2.yaml").body["Parameters"]["AllowedCidr"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, cidr)) is good


def test_airflow_may_do_what_the_documentation_says(template: Template) -> None:
    found = re.search(r"<!-- policy: workflow -->\n```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    policies = template.policies_of("AirflowRole")
    statements = [each for name in ("steps", "jobs") for each in policies[name]["Statement"]]
    filled = json.dumps({"Version": "2012-10-17", "Statement": statements})
    for name, value in {
        "AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "ACCOUNT",
        "Bucket": "BUCKET", "Recommender": "recommender",
    }.items():  # fmt: skip
        filled = filled.replace(f"${{{name}}}", value)
    role = '{"Fn::GetAtt": ["SageMakerRole", "Arn"]}'
    filled = filled.replace(role, '"arn:aws:iam::ACCOUNT:role/matinee-sagemaker"')
    filled = re.sub(r'\{"Fn::Sub": ("[^"]+")\}', r"\1", filled)
    assert json.loads(filled) == json.loads(found[1])


def test_the_glue_job_has_the_packages_that_its_script_is_tested_with(template: Template) -> None:
    lines = (PAGE.parents[1] / "tests/workflow/requirements-spark.txt").read_text().splitlines()
    tested = [line for line in lines if re.match(r"(isal|jsonschema|numpy|pyarrow)==", line)]
    (job,) = template.of_type("AWS::Glue::Job").values()
    assert job["DefaultArguments"]["--additional-python-modules"] == ",".join(tested)
    assert len(tested) == 4


def test_a_workgroup_keeps_results_encrypted_in_the_bucket(template: Template) -> None:
    (workgroup,) = template.of_type("AWS::Athena::WorkGroup").values()
    results = workgroup["WorkGroupConfiguration"]["ResultConfiguration"]
    assert results["OutputLocation"]["Fn::Sub"].startswith("s3://${Bucket}/")
    assert results["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}


def test_the_instance_is_reached_by_session_manager_and_its_metadata_by_token() -> None:
    template = Template("airflow-ec2.yaml")
    (launch,) = template.of_type("AWS::EC2::LaunchTemplate").values()
    data = launch["LaunchTemplateData"]
    assert "KeyName" not in data
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert all(each["Ebs"]["Encrypted"] is True for each in data["BlockDeviceMappings"])
    managed = template.resources["AirflowRole"]["Properties"]["ManagedPolicyArns"]
    assert [arn["Fn::Sub"].rpartition("/")[2] for arn in managed] == [
        "AmazonSSMManagedInstanceCore"
    ]


def test_the_database_is_private_encrypted_and_its_password_generated() -> None:
    template = Template("airflow-ec2.yaml")
    (database,) = template.of_type("AWS::RDS::DBInstance").values()
    assert database["StorageEncrypted"] is True
    assert database["PubliclyAccessible"] is False
    assert database["BackupRetentionPeriod"] > 0
    assert database["MasterUserPassword"]["Fn::Sub"].startswith("{{resolve:secretsmanager:")
    public = {
        association["SubnetId"]["Ref"]
        for association in template.of_type("AWS::EC2::SubnetRouteTableAssociation").values()
    }
    (group,) = template.of_type("AWS::RDS::DBSubnetGroup").values()
    assert not public & {subnet["Ref"] for subnet in group["SubnetIds"]}
    for secret in template.of_type("AWS::SecretsManager::Secret").values():
        assert secret["GenerateSecretString"]["PasswordLength"] >= 32


def test_creation_waits_for_the_instance_to_say_that_it_works() -> None:
    template = Template("airflow-ec2.yaml")
    group = template.resources["Instances"]
    assert group["CreationPolicy"]["ResourceSignal"]["Count"] == 1
    assert group["UpdatePolicy"]["AutoScalingRollingUpdate"]["WaitOnResourceSignals"] is True
    script = template.install_script({})
    steps = ["trap tell EXIT", "instance configure", "matinee-migrate", "instance wait"]
    assert sorted(steps, key=script.index) == steps
    assert "--resource Instances" in script
