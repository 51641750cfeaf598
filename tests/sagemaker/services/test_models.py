"""Models, asked for with boto3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from matinee.sagemaker.services.models import containers_of, find_model
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


def test_a_pipeline_is_a_model(front: Front) -> None:
    client = front.client("sagemaker")
    containers = [{"Image": IMAGE}, {"Image": IMAGE}]
    client.create_model(ModelName="a", Containers=containers)
    assert client.describe_model(ModelName="a")["Containers"] == containers
    named = [item["ContainerHostname"] for item in containers_of(find_model(front.context, "a"))]
    assert named == ["container-1", "container-2"]


def test_a_container_may_be_a_model_package(front: Front) -> None:
    client = front.client("sagemaker")
    created = client.create_model_package(
        ModelPackageName="p",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "Environment": {"k": "1", "l": "1"}}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
    container = {"ModelPackageName": created["ModelPackageArn"], "Environment": {"l": "2"}}
    client.create_model(ModelName="a", PrimaryContainer=container)
    assert client.describe_model(ModelName="a")["PrimaryContainer"] == container
    (found,) = containers_of(find_model(front.context, "a"))
    assert (found["Image"], found["Environment"]) == (IMAGE, {"k": "1", "l": "2"})


def source(uri: str, data_type: str, compression: str) -> dict[str, Any]:
    where = {"S3Uri": uri, "S3DataType": data_type, "CompressionType": compression}
    return {"ModelDataSource": {"S3DataSource": where}}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "either PrimaryContainer or Containers"),
        ({"Containers": []}, "Containers must name at least one container"),
        (
            {"Containers": [{"Image": "a", "ContainerHostname": "h"}, {"Image": "b"}]},
            "a ContainerHostname for all of the Containers or for none",
        ),
        (
            {"Containers": [{"Image": i, "ContainerHostname": "h"} for i in "ab"]},
            "ContainerHostname of each container must be unique, not h, h",
        ),
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
        (
            {
                "PrimaryContainer": {
                    "Image": "a",
                    "ImageConfig": {"RepositoryAccessMode": "Vpc"},
                }
            },
            "not implemented by matinee: a model's container with ImageConfig of Vpc",
        ),
        (
            {"PrimaryContainer": {"Image": "a", "ModelDataSource": {}}},
            "ModelDataSource must have an S3DataSource",
        ),
        (
            {"PrimaryContainer": {"Image": "a", **source("s3://b/k/", "S3Prefix", "Gzip")}},
            "CompressionType Gzip needs S3DataType S3Object",
        ),
        (
            {"PrimaryContainer": {"Image": "a", **source("s3://b/k", "S3Prefix", "None")}},
            "must end with a slash, unlike s3://b/k",
        ),
        (
            {
                "PrimaryContainer": {
                    "Image": "a",
                    "ModelDataUrl": "s3://b/k",
                    **source("s3://b/k/", "S3Prefix", "None"),
                }
            },
            "either ModelDataUrl or ModelDataSource",
        ),
        (
            {"PrimaryContainer": {"Image": "a", "ModelPackageName": "p"}},
            "A container of a ModelPackageName does not take Image",
        ),
    ],
)
def test_what_matinee_cannot_serve_is_refused(
    front: Front, request_: dict[str, Any], words: str
) -> None:
    assert words in refusal(front, "create_model", ModelName="a", **request_)
