"""The role that deploys from GitHub Actions: who may take it, and what it may do.

What CloudFormation calls for each type of resource is what AWS's registry says of it, as cfn-lint
carries it; what `matinee cloud deploy` itself calls is read in its source. Both ways: no less, and
no more.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

import matinee.cloud
from tests.cloud.conftest import Emulator
from tests.cloud.templates import NAMES, Template, as_list
from tests.cloud.test_templates import WILDCARD

TEMPLATE = Template("deploy-role.yaml")
READING = ("Describe", "Get", "List")
CLOUDFORMATION = {"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}}
# Of what the registry names: other services' own doing, what no resource of the templates has, and
# what is no action of IAM's.
UNUSED = re.compile(
    r"(cognito-idp|firehose|kms|lakeformation|managed-fleets|s3tables|ssm|vpc-lattice|vpce):"
    r"|autoscaling:.*(LoadBalancers|InstanceRefresh|LifecycleHook|NotificationConfiguration)$"
    r"|ec2:.*(Vpn|AddressTransfer|PrivateNat|CidrBlock|NatGatewayAddress|Encryption|Tenancy)"
    r"|elasticloadbalancing:.*(Capacity|IpPools|IpAddressType)"
    r"|glue:.*Connection"
    r"|iam:.*(User|Group|Boundary|CreatePolicy$)"
    r"|logs:.*(Kms|DataProtection|IndexPolicy|BearerToken|DeletionProtection)"
    r"|rds:.*(Replica|Restore|RoleToDB|RoleFromDB|AutomatedBackups)"
    r"|s3:(DeleteBucket(Encryption|Lifecycle)$|REST)"
    r"|s3:.*(Abac|Accelerate|Acl|Analytics|Cors|CORS|Intelligent|Inventory|Logging|Metadata|Metrics)"
    r"|s3:.*(Multipart|Notification|Object|Replication|Website)"
    r"|secretsmanager:.*Regions"
    r"|sns:.*DataProtection"
)
# Asked for by CloudFormation itself: while it replaces an instance.
OF_UPDATES = {
    "autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup",
}  # fmt: skip


def statements() -> dict[str, dict[str, Any]]:
    """Return the statements of the role's own policy and of those attached, by policy and Sid."""
    documents = {
        name: properties["PolicyDocument"]
        for name, properties in TEMPLATE.of_type("AWS::IAM::ManagedPolicy").items()
    }
    documents["commands"] = TEMPLATE.policy("DeployRole", "commands")
    return {
        f"{name} {statement['Sid']}": statement
        for name, document in documents.items()
        for statement in document["Statement"]
    }


def allowed(*, by_itself: bool) -> set[str]:
    return {
        action
        for name, statement in statements().items()
        if statement["Effect"] == "Allow" and name.startswith("commands") is by_itself
        for action in as_list(statement["Action"])
    }


def asked_by_cloudformation() -> set[str]:
    """Return what making, reading, changing and removing the stacks' resources asks for."""
    types = {each["Type"] for name in NAMES for each in Template(name).resources.values()}
    return {
        permission
        for kind in types
        for done in ("create", "read", "update", "delete")
        for permission in PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind)
        .schema["handlers"]
        .get(done, {})
        .get("permissions", [])
    }


def modules(*names: str) -> dict[str, ast.Module]:
    """Return the modules of `matinee.cloud` of these names, and those that they import of it."""
    found: dict[str, ast.Module] = {}
    missing = set(names)
    while missing:
        name = missing.pop()
        path = Path(matinee.cloud.__file__).parent / f"{name}.py"
        found[name] = ast.parse(path.read_text())
        for node in ast.walk(found[name]):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("matinee.cloud."):
                missing |= {str(node.module).rpartition(".")[2]} - set(found)
    return found


def actions_of_a_deployment() -> set[str]:
    """Return what IAM is asked for by the operations that a deployment's sources call or name."""
    words: set[str] = set()
    for tree in modules("deploy", "plan").values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                words.add(node.attr)
            elif isinstance(node, ast.Constant):
                words.add(str(node.value))
    asked = set()
    for service in words & set(boto3.Session().get_available_services()):
        known = boto3.client(service, region_name="us-east-1").meta.method_to_api_mapping
        asked |= {f"{service}:{known[method]}" for method in words & set(known)}
    # One looks for an object, which reads it as far as IAM knows; and a stack is made with tags.
    asked ^= {"s3:HeadObject", "s3:GetObject"}
    return asked | {"s3:ListBucket", "cloudformation:TagResource"}


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and words
        [Path(sys.executable).with_name("cfn-lint"), "--", TEMPLATE.path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_wildcard_says_why() -> None:
    lines = TEMPLATE.text.splitlines()
    found = [number for number, line in enumerate(lines) if WILDCARD.search(line)]
    assert found
    assert [lines[n].strip() for n in found if not says_why(lines[:n])] == []


def says_why(before: list[str]) -> bool:
    """Whether a comment stands before a line, in its own statement."""
    for line in reversed(before):
        if line.strip().startswith(("#", "- Sid:")):
            return "#" in line
    return False


def test_one_environment_of_one_repository_may_take_it() -> None:
    (statement,) = TEMPLATE.resources["DeployRole"]["Properties"]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    issuer = "token.actions.githubusercontent.com"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        }
    }
    (provider,) = TEMPLATE.of_type("AWS::IAM::OIDCProvider").values()
    assert provider["Url"] == f"https://{issuer}"


@pytest.mark.parametrize(
    ("repository", "good"),
    [
        ("owner/name", True), ("an-owner@123/a.name@456", True), ("owner", False),
        ("owner/*", False), ("*/name", False), ("owner/name:ref", False), ("owner/a/b", False),
    ],
)  # fmt: skip
def test_the_repository_is_named_whole(repository: str, *, good: bool) -> None:
    pattern = TEMPLATE.body["Parameters"]["Repository"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, repository)) is good


def test_the_command_may_do_what_it_calls_and_no_more() -> None:
    assert allowed(by_itself=True) == actions_of_a_deployment()


def test_cloudformation_may_make_the_stacks_and_no_more() -> None:
    asked = {permission for permission in asked_by_cloudformation() if not UNUSED.match(permission)}
    changing = {action for action in asked if not action.partition(":")[2].startswith(READING)}
    given = allowed(by_itself=False)
    changes = {action for action in given if not action.partition(":")[2].startswith(READING)}
    assert changes == changing | OF_UPDATES


def test_cloudformation_may_read_what_it_makes() -> None:
    given = [action.replace("*", ".*") for action in allowed(by_itself=False)]
    missing = {
        action
        for action in asked_by_cloudformation()
        if action.partition(":")[2].startswith(READING)
        and not UNUSED.match(action)
        and not any(re.fullmatch(pattern, action) for pattern in given)
    }
    assert missing == set()


def test_what_is_not_of_the_command_is_for_cloudformation_alone() -> None:
    direct = {
        name
        for name, statement in statements().items()
        if not name.startswith("commands")
        and statement["Effect"] == "Allow"
        and statement.get("Condition") != CLOUDFORMATION
    }
    # Public parameters; roles to named services alone.
    assert direct == {"Network ImageOfTheInstance", "Roles Handing", "Roles RolesOfServices"}


def test_it_cannot_make_itself_mightier() -> None:
    statement = statements()["Roles NotThisOne"]
    assert statement["Effect"] == "Deny"
    assert statement["Action"] == "iam:*"
    assert statement["Resource"] == {"Fn::GetAtt": ["DeployRole", "Arn"]}


def test_its_policies_are_not_longer_than_iam_lets_them_be() -> None:
    for properties in TEMPLATE.of_type("AWS::IAM::ManagedPolicy").values():
        assert len(json.dumps(properties["PolicyDocument"], separators=(",", ":"))) < 6144


def test_it_is_made(emulator: Emulator) -> None:
    client, iam = emulator.client("cloudformation"), emulator.client("iam")
    provider = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    client.create_stack(
        StackName="github",
        TemplateBody=json.dumps(TEMPLATE.body),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": "Repository", "ParameterValue": "owner/name"},
            {"ParameterKey": "ProviderArn", "ParameterValue": provider},
        ],
    )
    (stack,) = client.describe_stacks(StackName="github")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    (role,) = iam.list_roles()["Roles"]
    assert stack["Outputs"][0]["OutputValue"] == role["Arn"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": provider}
    subject = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert subject == "repo:owner/name:environment:production"
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert len(attached) == len(TEMPLATE.of_type("AWS::IAM::ManagedPolicy"))
