"""Models, asked for with boto3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ObjectStore
from tests.sagemaker.conftest import NOON, ROLE_ARN, Front

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:model"


def create(front: Front, name: str, **changes: Any) -> Any:
    request = {"ModelName": name, "PrimaryContainer": {"Image": IMAGE}, **changes}
    return front.client("sagemaker").create_model(**request)


def refusal(front: Front, operation: str, **request: Any) -> str:
    with pytest.raises(ClientError) as call:
        getattr(front.client("sagemaker"), operation)(**request)
    assert call.value.response["Error"]["Code"] == "ValidationException"
    return str(call.value.response["Error"]["Message"])


def test_describes_what_was_created(front: Front, object_store: ObjectStore, bucket: str) -> None:
    object_store.client().put_object(Bucket=bucket, Key="job/output/model.tar.gz", Body=b"model")
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{bucket}/job/output/model.tar.gz",
        "Environment": {"MATINEE_SEED": "1"},
    }
    created = create(front, "My-Model", PrimaryContainer=container, ExecutionRoleArn=ROLE_ARN)
    assert created["ModelArn"] == f"{ARN}/my-model"
    described = front.client("sagemaker").describe_model(ModelName="My-Model")
    assert described.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    assert described == {
        "ModelName": "My-Model",
        "ModelArn": f"{ARN}/my-model",
        "PrimaryContainer": container,
        "ExecutionRoleArn": ROLE_ARN,
        "CreationTime": NOON,
        "EnableNetworkIsolation": False,
    }


def test_a_name_is_taken_once(front: Front) -> None:
    create(front, "a")
    message = refusal(front, "create_model", ModelName="a", PrimaryContainer={"Image": "other"})
    assert message == f'Cannot create already existing model "{ARN}/a".'
    described = front.client("sagemaker").describe_model(ModelName="a")
    assert described["PrimaryContainer"] == {"Image": IMAGE}


@pytest.mark.parametrize("operation", ["describe_model", "delete_model"])
def test_an_unknown_model(front: Front, operation: str) -> None:
    assert refusal(front, operation, ModelName="a") == f'Could not find model "{ARN}/a".'


def test_delete_frees_the_name(front: Front) -> None:
    create(front, "a")
    front.client("sagemaker").delete_model(ModelName="a")
    assert front.client("sagemaker").list_models()["Models"] == []
    create(front, "a")


def test_the_newest_comes_first_and_the_paginator_finds_all(front: Front) -> None:
    for number in range(3):
        front.clock.now = NOON + timedelta(seconds=number)
        create(front, f"model-{number}")
    client = front.client("sagemaker")
    assert client.list_models(MaxResults=1)["Models"] == [
        {
            "ModelName": "model-2",
            "ModelArn": f"{ARN}/model-2",
            "CreationTime": NOON + timedelta(seconds=2),
        }
    ]
    pages = client.get_paginator("list_models").paginate(
        SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 1}
    )
    names = [model["ModelName"] for page in pages for model in page["Models"]]
    assert names == ["model-0", "model-1", "model-2"]


def test_model_data_must_exist(front: Front, object_store: ObjectStore, bucket: str) -> None:
    object_store.client().put_object(Bucket=bucket, Key="model.tar.gz.old", Body=b"model")
    for url in (f"s3://{bucket}/model.tar.gz", "s3://no-such-bucket-here/model.tar.gz"):
        container = {"Image": IMAGE, "ModelDataUrl": url}
        message = refusal(front, "create_model", ModelName="a", PrimaryContainer=container)
        assert message == f"Could not find model data at {url}."
    assert front.client("sagemaker").list_models()["Models"] == []


def test_a_role_must_exist(front: Front) -> None:
    message = refusal(
        front,
        "create_model",
        ModelName="a",
        PrimaryContainer={"Image": IMAGE},
        ExecutionRoleArn="arn:aws:iam::000000000000:role/other",
    )
    assert message.startswith("Could not assume role arn:aws:iam::000000000000:role/other.")


def test_one_container_in_a_list_is_a_model(front: Front) -> None:
    client = front.client("sagemaker")
    client.create_model(ModelName="a", Containers=[{"Image": IMAGE}])
    assert client.describe_model(ModelName="a")["Containers"] == [{"Image": IMAGE}]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "either PrimaryContainer or Containers"),
        ({"Containers": []}, "Containers has 0"),
        ({"Containers": [{"Image": "a"}, {"Image": "b"}]}, "Containers has 2"),
        (
            {"PrimaryContainer": {"Image": "a"}, "Containers": [{"Image": "a"}]},
            "either PrimaryContainer or Containers",
        ),
        ({"PrimaryContainer": {}}, "must have an Image"),
        (
            {
                "PrimaryContainer": {
                    "Image": "a",
                    "MultiModelConfig": {"ModelCacheSetting": "Enabled"},
                }
            },
            "not implemented by matinee: a model's container with MultiModelConfig",
        ),
        ({"PrimaryContainer": {"Image": "a", "Mode": "MultiModel"}}, "container of MultiModel"),
    ],
)
def test_what_matinee_cannot_serve_is_refused(
    front: Front, request_: dict[str, Any], words: str
) -> None:
    assert words in refusal(front, "create_model", ModelName="a", **request_)
