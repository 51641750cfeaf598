"""What policy documents say, and what is refused because it would not be obeyed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matinee.sagemaker.access.policies import (
    Decision,
    evaluate,
    matches,
    read_identity_policy,
    read_trust_policy,
    trusted,
)
from matinee.sagemaker.errors import MalformedPolicyDocumentException, NotImplementedByMatinee

IN, OUT = "arn:aws:s3:::bucket/in/a", "arn:aws:s3:::bucket/out/a"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def decide(
    statements: list[dict[str, Any]], action: str, resource: str = IN, **surroundings: str
) -> Decision:
    policy = read_identity_policy("policy", document(*statements))
    given = {key.replace("_", ":"): value for key, value in surroundings.items()}
    return evaluate([policy], action, resource, given)[0]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("a*c", "abbc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a.c", "abc", False),
        ("a?", "a*", True),
        ("*a" * 50 + "b", "a" * 1000, False),
        ("*ab", "aab", True),
        ("a", "ab", False),
    ],
)
def test_two_wildcards(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_nothing_is_allowed_but_what_is() -> None:
    reads = [allow("s3:GetObject", "arn:aws:s3:::bucket/in/*")]
    assert decide(reads, "s3:getobject", IN) is Decision.ALLOWED
    assert decide(reads, "s3:GetObject", OUT) is Decision.IMPLICIT_DENY
    assert decide(reads, "s3:PutObject", IN) is Decision.IMPLICIT_DENY


def test_a_deny_wins() -> None:
    statements = [allow("*"), deny(["s3:Put*", "s3:Delete*"], [IN, OUT])]
    assert decide(statements, "s3:PutObject", IN) is Decision.EXPLICIT_DENY
    assert decide(statements, "s3:GetObject", IN) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("condition", "given", "expected"),
    [
        ({"StringEquals": {"aws:a": "x"}}, {"aws_a": "x"}, True),
        ({"StringEquals": {"aws:a": ["y", "x"]}}, {"aws_A": "x"}, True),
        ({"StringEquals": {"aws:a": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:a": "x"}}, {}, True),
        ({"StringNotEquals": {"aws:a": ["x", "y"]}}, {"aws_a": "y"}, False),
        ({"StringNotEquals": {"aws:a": "x"}}, {}, True),
        ({"StringEqualsIgnoreCase": {"aws:a": "X"}}, {"aws_a": "x"}, True),
        ({"StringLike": {"aws:a": "x*"}}, {"aws_a": "xy"}, True),
        ({"StringNotLike": {"aws:a": "x*"}}, {"aws_a": "xy"}, False),
        ({"ArnLike": {"aws:a": "arn:*"}}, {"aws_a": "arn:aws"}, True),
        ({"ArnNotEquals": {"aws:a": "arn:*"}}, {"aws_a": "arn:aws"}, False),
        ({"Bool": {"aws:a": True}}, {"aws_a": "true"}, True),
        ({"Null": {"aws:a": "true"}}, {}, True),
        ({"Null": {"aws:a": "false"}}, {}, False),
        ({"StringEquals": {"aws:a": "x", "aws:b": "y"}}, {"aws_a": "x"}, False),
    ],
)
def test_conditions(condition: dict[str, Any], given: dict[str, str], expected: bool) -> None:
    decision = decide([allow("*", Condition=condition)], "s3:GetObject", **given)
    assert (decision is Decision.ALLOWED) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Syntax errors"),
        ("[]", "Syntax errors"),
        ('{"Statement": []}', "Statement"),
        ('{"Version": "2020-01-01", "Statement": [{}]}', "valid version string"),
        (document({**allow("*"), "Effect": "Maybe"}), "Invalid Effect"),
        (document({"Effect": "Allow", "Resource": "*"}), "must contain actions"),
        (document({"Effect": "Allow", "Action": "*"}), "must contain resources"),
        (document(allow("GetObject")), "prefaced by a vendor"),
        (document(allow("*", "bucket")), "must be in ARN format"),
        (document(allow("*", 1)), "Resource"),
        (document(allow("*", Principal="*")), "should not specify a principal"),
        (document(allow("*", Colour="red")), "Colour"),
        (document(allow("*", Condition=[])), "Condition"),
        (document(allow("*", Condition={"StringEquals": "x"})), "Condition"),
    ],
)
def test_what_is_no_policy(text: str, words: str) -> None:
    with pytest.raises(MalformedPolicyDocumentException, match=words):
        read_identity_policy("policy", text)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "NotAction"),
        ({"Effect": "Allow", "Action": "*", "NotResource": IN}, "NotResource"),
        (allow("*", "arn:aws:s3:::${aws:username}"), "policy variables"),
        (allow("*", Condition={"StringLike": {"s3:prefix": ["a", "${a}/*"]}}), "policy variables"),
        (allow("*", Condition={"IpAddress": {"aws:SourceIp": "::1"}}), "IpAddress"),
    ],
)
def test_what_would_not_be_obeyed_is_refused(statement: dict[str, Any], words: str) -> None:
    with pytest.raises(NotImplementedByMatinee, match=words):
        read_identity_policy("policy", document(statement))


def trust(principal: Any, **more: Any) -> str:
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (trust({"Service": "sagemaker.amazonaws.com"}), True),
        (trust({"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}), True),
        (trust({"Service": "ec2.amazonaws.com"}), False),
        (trust({"AWS": "sagemaker.amazonaws.com"}), False),
        (trust("*"), True),
        (trust("*", Condition={"StringEquals": {"sts:ExternalId": "x"}}), False),
        (trust("*", Effect="Deny"), False),
        (trust("*", Action="sts:TagSession"), False),
    ],
)
def test_who_may_assume_a_role(text: str, expected: bool) -> None:
    policy = read_trust_policy(text)
    assert trusted(policy, {"Service": {"sagemaker.amazonaws.com"}}, {}) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (document(allow("sts:AssumeRole")), "prohibited field Resource"),
        (document({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field"),
        (trust("*", Action="s3:GetObject"), "may only specify STS"),
        (trust(["*"]), "Principal"),
    ],
)
def test_what_is_no_trust_policy(text: str, words: str) -> None:
    with pytest.raises(MalformedPolicyDocumentException, match=words):
        read_trust_policy(text)
