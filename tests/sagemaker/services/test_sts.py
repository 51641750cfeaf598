"""The caller's identity, asked for with boto3."""

from __future__ import annotations

from tests.sagemaker.conftest import Front


def test_the_caller_is_the_accounts_root(front: Front) -> None:
    answer = front.client("sts").get_caller_identity()
    del answer["ResponseMetadata"]
    assert answer == {
        "UserId": "000000000000",
        "Account": "000000000000",
        "Arn": "arn:aws:iam::000000000000:root",
    }
