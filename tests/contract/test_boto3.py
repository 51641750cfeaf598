"""The companion notebook's path with boto3, and every waiter and paginator on what it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from matinee.sagemaker.app import OPERATIONS
from tests.conftest import AWS, ObjectStore
from tests.contract.conftest import HYPERPARAMETERS, IMAGE, PAIRS, ROLE, ratings

QUICKLY = {"Delay": 1}
RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
RECORDIO = "application/x-recordio-protobuf"
GROUP = "/aws/sagemaker/TrainingJobs"
# botocore names models by folder; OPERATIONS by what requests are signed for.
FOLDERS = {"monitoring": "cloudwatch"}
PAGINATED = [
    (FOLDERS.get(service, service), operation)
    for service, offered in OPERATIONS.items()
    for operation in botocore.session.get_session()
    .get_paginator_model(FOLDERS.get(service, service))
    ._paginator_config
    if operation in offered
]


# The smallest and the largest page, where they are not 1 and 50.
SIZES: dict[str, tuple[int | None, int | None]] = {
    # There are hundreds.
    "FilterLogEvents": (20, 500),
    "ListAssociations": (10, 50),
    "GetMetricData": (100, 500),
    "ListMetrics": (None, None),
    "ListTags": (50, 50),
}


@pytest.fixture(scope="module")
def path(aws: AWS, object_store: ObjectStore) -> Iterator[dict[str, Any]]:
    """Walk the path; what was seen, and the names of what it left."""
    store = object_store.client()
    for name in ("train", "test"):
        store.put_object(Bucket="matinee", Key=f"boto3/{name}/part-0", Body=ratings())
    sagemaker = aws.client("sagemaker")
    seen = _walk(aws, sagemaker)
    yield seen
    sagemaker.delete_endpoint(EndpointName=seen["name"])
    gone = sagemaker.get_waiter("endpoint_deleted")
    gone.wait(EndpointName=seen["name"], WaiterConfig=QUICKLY)
    for client in (store, sagemaker):
        client.close()


def _walk(aws: AWS, sagemaker: Any) -> dict[str, Any]:
    name = f"boto3-{time.time_ns() // 1000 % 10**9}"
    channels = [
        {
            "ChannelName": channel,
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"s3://matinee/boto3/{channel}/",
                }
            },
        }
        for channel in ("train", "test")
    ]
    definition = {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": "s3://matinee/boto3/models"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    sagemaker.create_experiment(ExperimentName=name)
    sagemaker.create_training_job(
        TrainingJobName=name,
        HyperParameters=HYPERPARAMETERS,
        ExperimentConfig={"ExperimentName": name},
        Tags=[{"Key": "path", "Value": "boto3"}],
        **definition,
    )
    trained = sagemaker.get_waiter("training_job_completed_or_stopped")
    trained.wait(TrainingJobName=name, WaiterConfig=QUICKLY)
    job = sagemaker.describe_training_job(TrainingJobName=name)

    static = {key: value for key, value in HYPERPARAMETERS.items() if key != "factors_lr"}
    rates = [{"Name": "factors_lr", "MinValue": "0.001", "MaxValue": "0.1"}]
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "test:rmse"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": rates},
        },
        TrainingJobDefinition={**definition, "StaticHyperParameters": static},
    )
    container = {"Image": IMAGE, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://matinee/boto3/test/"}}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": source, "ContentType": RECORDIO, "SplitType": "RecordIO"},
        TransformOutput={"S3OutputPath": f"s3://matinee/boto3/{name}"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        AppSpecification={
            "ImageUri": "matinee-python:1",
            "ContainerEntrypoint": ["python3", "-c", "print('processed')"],
        },
        RoleArn=ROLE,
        ProcessingResources={"ClusterConfig": RESOURCES},
    )
    variant = {
        "VariantName": "all",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    inference = {
        "Containers": [container],
        "SupportedContentTypes": [RECORDIO],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    sagemaker.create_model_package(ModelPackageGroupName=name, InferenceSpecification=inference)
    for waiter, member in (
        ("transform_job_completed_or_stopped", "TransformJobName"),
        ("processing_job_completed_or_stopped", "ProcessingJobName"),
        ("endpoint_in_service", "EndpointName"),
    ):
        sagemaker.get_waiter(waiter).wait(**{member: name}, WaiterConfig=QUICKLY)
    aws.client("iam").get_waiter("role_exists").wait(RoleName="matinee-sagemaker")
    aws.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{name}/variant/all",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=2,
    )
    return {"name": name, "arn": job["TrainingJobArn"], "training_job": job}


def test_the_model_predicts(aws: AWS, path: dict[str, Any]) -> None:
    rows = [
        {"features": [float(column in {customer, 6 + video}) for column in range(12)]}
        for customer, video in PAIRS
    ]
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=path["name"],
        ContentType="application/json",
        Body=json.dumps({"instances": rows}).encode(),
    )
    scores = [item["score"] for item in json.load(answer["Body"])["predictions"]]
    body = aws.client("s3").get_object(Bucket="matinee", Key=f"boto3/{path['name']}/part-0.out")
    assert [json.loads(line)["score"] for line in body["Body"].read().splitlines()] == scores
    for (customer, video), score in zip(PAIRS, scores, strict=True):
        assert (score > 3) == ((customer + video) % 2 == 0)


def test_the_tuning_job_has_a_best_trial(aws: AWS, path: dict[str, Any]) -> None:
    client = aws.client("sagemaker")
    deadline = time.monotonic() + 60
    while (
        found := client.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=path["name"]
        )
    )["HyperParameterTuningJobStatus"] == "InProgress":
        assert time.monotonic() < deadline
    listed = client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=path["name"], SortBy="FinalObjectiveMetricValue"
    )
    first, second = (
        item["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for item in listed["TrainingJobSummaries"]
    )
    assert first <= second
    best = found["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert best == first


def _required(operation: str, path: dict[str, Any]) -> dict[str, Any]:
    """Return what an operation cannot do without."""
    job = path["training_job"]
    return {
        "ListTags": {"ResourceArn": path["arn"]},
        "ListTrainingJobsForHyperParameterTuningJob": {"HyperParameterTuningJobName": path["name"]},
        "Search": {"Resource": "TrainingJob"},
        "DescribeScalableTargets": {"ServiceNamespace": "sagemaker"},
        "DescribeScalingPolicies": {"ServiceNamespace": "sagemaker"},
        "DescribeLogStreams": {"logGroupName": GROUP},
        "FilterLogEvents": {"logGroupName": GROUP, "logStreamNamePrefix": path["name"]},
        "GetMetricData": {
            "MetricDataQueries": [
                {
                    "Id": "rmse",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": GROUP,
                            "MetricName": "train:rmse:epoch",
                            "Dimensions": [{"Name": "TrainingJobName", "Value": path["name"]}],
                        },
                        "Period": 1,
                        "Stat": "Average",
                    },
                }
            ],
            "StartTime": job["CreationTime"],
            "EndTime": job["TrainingEndTime"],
        },
        "DescribeImages": {"repositoryName": "factorization-machines"},
        "ListAttachedRolePolicies": {"RoleName": "matinee-sagemaker"},
        "ListRolePolicies": {"RoleName": "matinee-sagemaker"},
        "ListRoleTags": {"RoleName": "matinee-sagemaker"},
        "SimulatePrincipalPolicy": {
            "PolicySourceArn": ROLE,
            "ActionNames": ["s3:GetObject", "s3:PutObject"],
        },
        "SimulateCustomPolicy": {
            "PolicyInputList": [
                '{"Version":"2012-10-17","Statement":'
                '[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
            ],
            "ActionNames": ["s3:GetObject", "sagemaker:CreateModel"],
        },
    }.get(operation, {})


@pytest.mark.parametrize(("service", "operation"), PAGINATED)
def test_small_pages_are_the_whole(
    aws: AWS, path: dict[str, Any], service: str, operation: str
) -> None:
    client = aws.client(service)
    paginator = client.get_paginator(botocore.xform_name(operation))
    required = _required(operation, path)

    def listed(size: int | None) -> list[Any]:
        pages = paginator.paginate(**required, PaginationConfig={"PageSize": size})
        found = pages.result_key_iters()[0]
        return [json.dumps(item, default=str, sort_keys=True) for item in found]

    small, large = SIZES.get(operation, (1, 50))
    assert listed(small) == listed(large)
    client.close()
