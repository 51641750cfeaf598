"""What each role of the stacks may do, beside what it is asked to do: no less, and no more.

What the steps call is recorded in `tests/workflow/test_permissions.py`, what the engines call in
`tests/workflow/test_engine_permissions.py`, what SageMaker's jobs do at S3 is tried in
`tests/sagemaker/jobs/test_roles.py`. Here it is what follows from the state machine's definition,
and what no program of ours asks for, with who does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from matinee.sagemaker.access.policies import Decision, evaluate, read_identity_policy
from matinee.stepfunctions.definition import SUBSTITUTIONS, definition, undecided
from tests.cloud.rendering import ACCOUNT, VALUES, rendered
from tests.cloud.templates import NAMES, Template, as_list

HERE = f"us-east-1:{ACCOUNT}"
JOB = "matinee-1a2b3c4d-5e6f-train-1"
RULE = "rule/StepFunctionsGetEventsForSageMaker{}JobsRule"
# AWS, "Call Amazon SageMaker AI with Step Functions": what `.sync` asks for, beside the call.
KINDS = {
    "TrainingJob": ("training-job", RULE.format("Training")),
    "HyperParameterTuningJob": ("hyper-parameter-tuning-job", RULE.format("Tuning")),
    "TransformJob": ("transform-job", RULE.format("Transform")),
    "ProcessingJob": ("processing-job", RULE.format("Processing")),
}
# AWS, "Using CloudWatch Logs to log execution history": of the role of a machine that logs.
OF_LOGGING = {
    "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
}  # fmt: skip


def allowed(documents: list[dict[str, Any]], action: str, resource: str, **more: str) -> bool:
    policies = [read_identity_policy("policy", json.dumps(each)) for each in documents]
    return evaluate(policies, action, resource, more)[0] is Decision.ALLOWED


def actions(documents: list[dict[str, Any]]) -> set[str]:
    return {
        action
        for document in documents
        for statement in document["Statement"]
        for action in as_list(statement["Action"])
    }


@pytest.fixture(params=NAMES)
def template(request: pytest.FixtureRequest) -> Template:
    return Template(request.param)


def states(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every state, those within others too."""
    for state in machine["States"].values():
        yield state
        if inner := state.get("ItemProcessor"):
            yield from states(inner)


def asked(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the actions that a task's state asks for, and on what."""
    resource = state["Resource"].rpartition(":::")[2]
    if resource.startswith("aws-sdk:s3:"):
        name = resource.rpartition(":")[2]
        yield f"s3:{name[0].upper()}{name[1:]}", "arn:aws:s3:::bucket/executions/run/data.json"
        return
    service, call = resource.split(":")
    assert service == "sagemaker"
    call, _, waits = call.partition(".")
    kind = call.removeprefix("create")
    if kind == "Model":
        yield "sagemaker:CreateModel", f"arn:aws:sagemaker:{HERE}:model/{JOB}"
        return
    noun, rule = KINDS[kind]
    assert waits == "sync"
    for deed in ("Create", "Describe", "Stop"):
        yield f"sagemaker:{deed}{kind}", f"arn:aws:sagemaker:{HERE}:{noun}/{JOB}"
    for action in ("sagemaker:AddTags", "sagemaker:ListTags"):
        yield action, f"arn:aws:sagemaker:{HERE}:{noun}/{JOB}"
    for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
        yield action, f"arn:aws:events:{HERE}:{rule}"


def test_the_state_machine_may_do_what_its_states_ask_for_and_no_more(template: Template) -> None:
    machine = definition()
    documents = rendered([*template.policies_of("MachineRole").values()], {})
    needed = {each for state in states(machine) if "Resource" in state for each in asked(state)}
    assert [each for each in sorted(needed) if not allowed(documents, *each)] == []
    passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    assert allowed(documents, "iam:PassRole", VALUES["SageMakerRole.Arn"], **passed)
    used = {action for action, _ in needed} | {"iam:PassRole"}
    assert actions(documents) - used == OF_LOGGING


def test_the_state_machine_may_do_nothing_to_what_is_not_matinees(template: Template) -> None:
    documents = rendered([*template.policies_of("MachineRole").values()], {})
    for action, resource in {
        "sagemaker:StopTrainingJob": f"arn:aws:sagemaker:{HERE}:training-job/of-somebody-else",
        "s3:GetObject": "arn:aws:s3:::bucket/runs/a",
        "iam:PassRole": f"arn:aws:iam::{ACCOUNT}:role/admin",
    }.items():
        passed = {"iam:PassedToService": "sagemaker.amazonaws.com"}
        assert not allowed(documents, action, resource, **passed), action
    role = VALUES["SageMakerRole.Arn"]
    passed = {"iam:PassedToService": "ec2.amazonaws.com"}
    assert not allowed(documents, "iam:PassRole", role, **passed)


def test_the_state_machine_is_told_what_its_definition_leaves_open(template: Template) -> None:
    (machine,) = template.of_type("AWS::StepFunctions::StateMachine").values()
    told = machine["DefinitionSubstitutions"]
    assert set(told) == set(SUBSTITUTIONS)
    for name, value in undecided().items():
        if "Fn::If" in told[name]:
            assert told[name]["Fn::If"][2] == value


@pytest.mark.parametrize(
    "end", ["films:1.2", f"films@sha256:{'0' * 64}", "films"], ids=["tag", "digest", "neither"]
)
def test_jobs_may_pull_the_image_of_the_workflow_and_no_other(end: str, template: Template) -> None:
    image = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/{end}"
    policy = template.resources["WorkflowImagePolicy"]["Properties"]
    assert policy["Roles"] == [{"Ref": "SageMakerRole"}]
    documents = [rendered(policy["PolicyDocument"], {"WorkflowImage": image})]
    repository = f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository"
    for action in ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage"):
        assert allowed(documents, action, f"{repository}/films")
        assert not allowed(documents, action, f"{repository}/another")


@pytest.mark.parametrize(
    ("image", "good"),
    [
        ("", True),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/films:1.2", True),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn/a-b_c.d@sha256:{'0f' * 32}", True),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/films:1.2", False),
        ("docker.io/films:1.2", False),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/films'; rm:1", False),
    ],
)
def test_which_images_there_may_be(image: str, template: Template, *, good: bool) -> None:
    pattern = template.body["Parameters"]["WorkflowImage"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, image)) is good


def test_only_with_an_image_do_sagemakers_jobs_have_the_permissions_of_the_steps(
    template: Template,
) -> None:
    for name in ("StepsPolicy", "AthenaPolicy", "GluePolicy"):
        condition, both, one = template.resources[name]["Properties"]["Roles"]["Fn::If"]
        assert condition == "HasMachine"
        assert both == [{"Ref": "AirflowRole"}, {"Ref": "SageMakerRole"}]
        assert one == [{"Ref": "AirflowRole"}]


def test_the_glue_job_may_what_its_script_does(template: Template) -> None:
    documents = rendered([*template.policies_of("GlueRole").values()], {})
    # The script works at S3 alone; tests/workflow/test_glue.py runs it.
    at_s3 = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
    # Glue writes the script's logs and measures it.
    by_glue = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
    assert actions(documents) == at_s3 | by_glue | {"cloudwatch:PutMetricData"}
    assert allowed(documents, "s3:DeleteObject", "arn:aws:s3:::bucket/runs/m/preprocess/work/a")
    assert not allowed(documents, "s3:GetObject", "arn:aws:s3:::another/a")
