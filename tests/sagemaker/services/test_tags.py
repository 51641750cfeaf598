"""Tags, asked for with boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import Front

UNKNOWN = "arn:aws:sagemaker:us-east-1:000000000000:model/unknown"


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


@pytest.fixture
def arn(front: Front) -> str:
    client = front.client("sagemaker")
    created = client.create_model(
        ModelName="a", PrimaryContainer={"Image": "image"}, Tags=tags(team="film")
    )
    return str(created["ModelArn"])


def test_tags_of_creation_are_listed_and_not_described(front: Front, arn: str) -> None:
    client = front.client("sagemaker")
    assert client.list_tags(ResourceArn=arn)["Tags"] == tags(team="film")
    assert "Tags" not in client.describe_model(ModelName="a")


def test_add_replace_and_delete(front: Front, arn: str) -> None:
    client = front.client("sagemaker")
    answer = client.add_tags(ResourceArn=arn, Tags=tags(team="Größe 映画", stage=""))
    assert answer["Tags"] == tags(stage="", team="Größe 映画")
    client.delete_tags(ResourceArn=arn, TagKeys=["team", "absent"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == tags(stage="")


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("list_tags", {}),
        ("add_tags", {"Tags": tags(a="b")}),
        ("delete_tags", {"TagKeys": ["a"]}),
    ],
)
def test_an_unknown_resource(front: Front, operation: str, request_: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as call:
        getattr(front.client("sagemaker"), operation)(ResourceArn=UNKNOWN, **request_)
    error = call.value.response["Error"]
    assert error == {
        "Code": "ValidationException",
        "Message": f'Could not find resource "{UNKNOWN}".',
    }


def test_fifty_tags_at_most(front: Front, arn: str) -> None:
    client = front.client("sagemaker")
    client.add_tags(ResourceArn=arn, Tags=tags(**{f"key-{n}": "" for n in range(49)}))
    with pytest.raises(client.exceptions.ResourceLimitExceeded, match="51 tags; the limit is 50"):
        client.add_tags(ResourceArn=arn, Tags=tags(more=""))
    assert len(client.list_tags(ResourceArn=arn)["Tags"]) == 50


def test_a_tag_that_breaks_the_model_is_refused(front: Front, arn: str) -> None:
    with pytest.raises(ClientError, match=r"at 'tags.1.member.key' failed to satisfy constraint"):
        front.client("sagemaker").add_tags(ResourceArn=arn, Tags=[{"Key": "50%", "Value": ""}])


def test_there_is_no_second_page(front: Front, arn: str) -> None:
    with pytest.raises(ClientError, match="is not a token of this service"):
        front.client("sagemaker").list_tags(ResourceArn=arn, NextToken="x")
