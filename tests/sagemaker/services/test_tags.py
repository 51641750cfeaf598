"""Tags, asked for with boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import Front
from tests.sagemaker.services.test_experiments import add_job

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


def test_a_jobs_trial_component_has_tags_of_its_own(front: Front) -> None:
    client = front.client("sagemaker")
    add_job(front, "TrainingJob", "Fit")
    arn = "arn:aws:sagemaker:us-east-1:000000000000:experiment-trial-component/"
    component = f"{arn}fit-aws-training-job"
    client.add_tags(ResourceArn=component, Tags=tags(team="film"))
    assert client.list_tags(ResourceArn=component)["Tags"] == tags(team="film")
    with pytest.raises(ClientError, match="Could not find resource"):
        client.list_tags(ResourceArn=f"{arn}other-aws-training-job")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([{"Key": "AWS:x", "Value": "y"}], "reserved for AWS"),
        ([{"Key": "x", "Value": "y"}, {"Key": "x", "Value": "z"}], "Duplicate tag key 'x'"),
    ],
)
def test_tags_that_are_refused(front: Front, arn: str, given: Any, words: str) -> None:
    client = front.client("sagemaker")
    container = {"Containers": [{"Image": "i"}]}
    source = {"SourceUri": "s3://b/a"}
    for call, request in (
        (client.add_tags, {"ResourceArn": arn}),
        (client.create_experiment, {"ExperimentName": "e"}),
        (client.create_model_package_group, {"ModelPackageGroupName": "g"}),
        (
            client.create_model_package,
            {"ModelPackageName": "p", "InferenceSpecification": container},
        ),
        (client.create_artifact, {"Source": source, "ArtifactType": "t"}),
    ):
        with pytest.raises(ClientError, match=words) as caught:
            call(**request, Tags=given)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert client.list_tags(ResourceArn=arn)["Tags"] == tags(team="film")


def test_a_jobs_component_has_one_set_of_tags_in_any_case(front: Front) -> None:
    add_job(front, "TrainingJob", "Fit")
    client = front.client("sagemaker")
    arn = front.context.arn("experiment-trial-component/Fit-aws-training-job")
    client.add_tags(ResourceArn=arn.replace("fit", "Fit"), Tags=tags(a="b"))
    assert client.list_tags(ResourceArn=arn)["Tags"] == tags(a="b")
