"""Requests that break the service's model, in AWS's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape

from matinee.sagemaker.app import OPERATIONS
from matinee.sagemaker.http.validation import compile_pattern, describe_violations, violations
from matinee.sagemaker.http.wire import load_services

SAGEMAKER = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
TRAINING_JOB: dict[str, Any] = {
    "TrainingJobName": "a",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::000000000000:role/matinee-sagemaker",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def found(operation: str, request: dict[str, Any]) -> list[str]:
    return list(violations(request, SAGEMAKER.operation_model(operation).input_shape))


def test_a_right_request_has_no_violations() -> None:
    assert found("CreateTrainingJob", TRAINING_JOB) == []


def test_a_text_out_of_length_and_pattern() -> None:
    name = "_" * 64
    assert found("DescribeTrainingJob", {"TrainingJobName": name}) == [
        f"Value '{name}' at 'trainingJobName' failed to satisfy constraint: "
        "Member must have length less than or equal to 63",
        f"Value '{name}' at 'trainingJobName' failed to satisfy constraint: Member must satisfy "
        "regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
    ]


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        (
            {"OutputDataConfig": {}},
            "Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: "
            "Member must not be null",
        ),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "Tape"}},
            "Value 'Tape' at 'algorithmSpecification.trainingInputMode' failed to satisfy "
            "constraint: Member must satisfy enum value set: [Pipe, File, FastFile]",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1",
        ),
        (
            {"HyperParameters": {"k": "v" * 2501}},
            f"Value '{{k={'v' * 2501}}}' at 'hyperParameters' failed to satisfy constraint: Map "
            "value must satisfy constraint: [Member must have length less than or equal to 2500, "
            "Member must have length greater than or equal to 0, Member must satisfy regular "
            "expression pattern: .*]",
        ),
        (
            {"Environment": {"1": "v"}},
            "Value '{1=v}' at 'environment' failed to satisfy constraint: Map key must satisfy "
            "constraint: [Member must have length less than or equal to 512, Member must have "
            "length greater than or equal to 0, Member must satisfy regular expression pattern: "
            "[a-zA-Z_][a-zA-Z0-9_]*]",
        ),
        (
            {"InputDataConfig": []},
            "Value '[]' at 'inputDataConfig' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        (
            {"InputDataConfig": [{"ChannelName": "train", "DataSource": {}}, {"DataSource": {}}]},
            "Value null at 'inputDataConfig.2.member.channelName' failed to satisfy constraint: "
            "Member must not be null",
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["sg-1", "!"], "Subnets": ["subnet-1"]}},
            "Value '[sg-1, !]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: "
            "Member must satisfy constraint: [Member must have length less than or equal to 32, "
            "Member must have length greater than or equal to 0, Member must satisfy regular "
            "expression pattern: [-0-9a-zA-Z]+]",
        ),
    ],
    ids=["required", "enum", "number", "map-value", "map-key", "empty-list", "in-a-list", "items"],
)  # fmt: skip
def test_each_rule_in_awss_words(changes: dict[str, Any], violation: str) -> None:
    assert found("CreateTrainingJob", {**TRAINING_JOB, **changes}) == [violation]


def test_all_problems_are_told_at_once() -> None:
    request = {
        **TRAINING_JOB,
        "TrainingJobName": "",
        "StoppingCondition": {},
        "OutputDataConfig": {},
    }
    problems = found("CreateTrainingJob", request)
    assert [problem.split("'")[3 if "Value ''" in problem else 1] for problem in problems] == [
        "trainingJobName",
        "trainingJobName",
        "outputDataConfig.s3OutputPath",
    ]
    assert describe_violations(problems) == (
        f"3 validation errors detected: {problems[0]}; {problems[1]}; {problems[2]}"
    )


def test_a_secret_is_not_repeated() -> None:
    secret = "s" * 1025
    shape = SAGEMAKER.shape_for("ClientSecret")
    assert list(violations(secret, shape, "clientSecret")) == [
        "Value at 'clientSecret' failed to satisfy constraint: "
        "Member must have length less than or equal to 1024"
    ]


def test_one_problem_is_told_in_the_singular() -> None:
    assert describe_violations(["x"]) == "1 validation error detected: x"


def test_tags_are_of_letters_of_every_script() -> None:
    tag = compile_pattern(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)")
    assert tag.fullmatch("Größe 映画 ٣ a_b.c:/=+-@")
    assert not tag.fullmatch("50%")
    assert not tag.fullmatch("tab\t")


@pytest.mark.parametrize(
    ("java", "fits", "does_not"),
    [
        (r"([\p{N}]*)${1,128}", "12", "a"),
        (r"\p{ASCII}*", "a\t", "ä"),
        (r"\A\S[\p{Print}]*\z", "a b", "a\t"),
        (r"[\w-_]*", "a-_", "a b"),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "a𝄞", "\x00"),
    ],
)
def test_patterns_that_only_java_reads(java: str, fits: str, does_not: str) -> None:
    pattern = compile_pattern(java)
    assert pattern.fullmatch(fits)
    assert not pattern.fullmatch(does_not)


def test_a_pattern_must_match_the_whole() -> None:
    assert found("DescribeTrainingJob", {"TrainingJobName": "a\n"}) != []


def shapes(shape: Shape | None, seen: set[str]) -> Iterator[Shape]:
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    yield shape
    inner = list(shape.members.values()) if shape.type_name == "structure" else []
    inner += [getattr(shape, part) for part in ("member", "key", "value") if hasattr(shape, part)]
    for part in inner:
        yield from shapes(part, seen)


def test_every_pattern_a_request_can_meet_compiles() -> None:
    count = 0
    for service in load_services(OPERATIONS).values():
        for name in service.operations:
            for shape in shapes(service.model.operation_model(name).input_shape, set()):
                if "pattern" in shape.metadata:
                    compile_pattern(shape.metadata["pattern"])
                    count += 1
    assert count > 20
