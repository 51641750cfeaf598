"""The stock Airflow operators and sensors, as a DAG's author uses them: by name and dict.

Each operator's ``execute`` runs as a worker runs it, without a scheduler; a deferred one's trigger
runs as the triggerer runs it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerCreateExperimentOperator,
    SageMakerDeleteModelOperator,
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerEndpointSensor,
    SageMakerProcessingSensor,
    SageMakerTrainingSensor,
    SageMakerTransformSensor,
    SageMakerTuningSensor,
)
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from tests.conftest import AWS, find_by
from tests.contract.conftest import HYPERPARAMETERS, IMAGE, ROLE

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferrable"])
RESOURCES = {"InstanceType": "ml.c5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
RECORDIO = "application/x-recordio-protobuf"
_NUMBERS = itertools.count(1)


@pytest.fixture(autouse=True)
def _endpoints(aws: AWS, monkeypatch: pytest.MonkeyPatch) -> None:
    find_by(aws.environment, monkeypatch)


def new_name(kind: str) -> str:
    return f"{kind}-{next(_NUMBERS)}"


def executed(operator: Any) -> Any:
    """Run an operator to its end, through its trigger if it defers."""
    try:
        return operator.execute({})
    except TaskDeferred as deferred:
        event = asyncio.run(_first_event(deferred.trigger))
        resume = getattr(operator, deferred.method_name)
        return resume({}, event=event.payload, **(deferred.kwargs or {}))


async def _first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger ended without an event")


def operator(kind: Any, config: Any = None, **options: Any) -> Any:
    if config is not None:
        options["config"] = config
    return kind(task_id=new_name("task"), aws_conn_id=None, **options)


def channels(data: str) -> list[dict[str, Any]]:
    return [
        {
            "ChannelName": name,
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"s3://{data}/ratings/{name}/",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
        for name in ("train", "test")
    ]


def training(data: str, **changes: str) -> dict[str, Any]:
    return {
        "TrainingJobName": new_name("train"),
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": channels(data),
        "OutputDataConfig": {"S3OutputPath": f"s3://{data}/models"},
        "ResourceConfig": RESOURCES,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": {**HYPERPARAMETERS, **changes},
    }


@pytest.fixture
def trained(data: str) -> dict[str, Any]:
    """A finished training job's description."""
    train = operator(SageMakerTrainingOperator, training(data), print_log=False, check_interval=1)
    description: dict[str, Any] = train.execute({})["Training"]
    return description


def model_of(description: dict[str, Any]) -> dict[str, Any]:
    artifact = description["ModelArtifacts"]["S3ModelArtifacts"]
    return {
        "ModelName": new_name("model"),
        "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": artifact},
        "ExecutionRoleArn": ROLE,
    }


@MODES
def test_training(data: str, deferrable: bool) -> None:
    config = training(data)
    name = config["TrainingJobName"]
    options = {"check_interval": 1, "deferrable": deferrable}
    train = operator(SageMakerTrainingOperator, config, print_log=False, **options)
    answer = executed(train)["Training"]
    assert answer["TrainingJobStatus"] == "Completed"
    artifact = f"s3://{data}/models/{name}/output/model.tar.gz"
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == artifact
    # A second run of the task takes another name.
    again = executed(operator(SageMakerTrainingOperator, config, print_log=False, **options))
    assert again["Training"]["TrainingJobName"].startswith(f"{name}-")
    sensor = operator(SageMakerTrainingSensor, job_name=name, print_log=True)
    assert sensor.poke({})


def test_training_with_its_log(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    train = operator(SageMakerTrainingOperator, training(data), check_interval=1)
    assert train.execute({})["Training"]["TrainingJobStatus"] == "Completed"
    assert "#quality_metric: host=algo-1, test rmse <loss>=" in capsys.readouterr().out


@MODES
def test_training_that_fails(data: str, deferrable: bool) -> None:
    config = training(data, num_factors="none")
    train = operator(
        SageMakerTrainingOperator,
        config,
        print_log=False,
        check_interval=1,
        deferrable=deferrable,
    )
    with pytest.raises(AirflowException, match="num_factors"):
        executed(train)


@MODES
def test_tuning(data: str, deferrable: bool) -> None:
    definition = training(data)
    del definition["TrainingJobName"]
    static = definition.pop("HyperParameters")
    del static["factors_lr"]
    rates = [{"Name": "factors_lr", "MinValue": "0.001", "MaxValue": "0.1"}]
    config = {
        "HyperParameterTuningJobName": new_name("tune"),
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "test:rmse"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": rates},
        },
        "TrainingJobDefinition": {**definition, "StaticHyperParameters": static},
    }
    options = {"check_interval": 1, "deferrable": deferrable}
    answer = executed(operator(SageMakerTuningOperator, config, **options))["Tuning"]
    assert answer["HyperParameterTuningJobStatus"] == "Completed"
    assert answer["BestTrainingJob"]["TrainingJobName"]
    name = config["HyperParameterTuningJobName"]
    assert operator(SageMakerTuningSensor, job_name=name).poke({})


@MODES
def test_transform(data: str, trained: dict[str, Any], deferrable: bool) -> None:
    model = model_of(trained)
    transform = {
        "TransformJobName": new_name("transform"),
        "ModelName": model["ModelName"],
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{data}/ratings/test/"}
            },
            "ContentType": RECORDIO,
            "SplitType": "RecordIO",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{data}/predictions"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    config = {"Model": model, "Transform": transform}
    options = {"check_interval": 1, "deferrable": deferrable}
    answer = executed(operator(SageMakerTransformOperator, config, **options))
    assert answer["Transform"]["TransformJobStatus"] == "Completed"
    assert answer["Model"]["ModelName"] == model["ModelName"]
    name = transform["TransformJobName"]
    assert operator(SageMakerTransformSensor, job_name=name).poke({})
    operator(SageMakerDeleteModelOperator, {"ModelName": model["ModelName"]}).execute({})


@MODES
def test_processing(aws: AWS, data: str, deferrable: bool) -> None:
    count = "import pathlib, sys; source, target = map(pathlib.Path, sys.argv[1:]); "
    count += "(target / 'count').write_text(str(len(list(source.iterdir()))))"
    given, made = "/opt/ml/processing/input", "/opt/ml/processing/output"
    config = {
        "ProcessingJobName": new_name("process"),
        "AppSpecification": {
            "ImageUri": "matinee-python:1",
            "ContainerEntrypoint": ["python3", "-c", count],
            "ContainerArguments": [given, made],
        },
        "RoleArn": ROLE,
        "ProcessingInputs": [
            {
                "InputName": "ratings",
                "S3Input": {
                    "S3Uri": f"s3://{data}/ratings/train/",
                    "LocalPath": given,
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "count",
                    "S3Output": {
                        "S3Uri": f"s3://{data}/counted",
                        "LocalPath": made,
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {"ClusterConfig": RESOURCES},
    }
    options = {"check_interval": 1, "deferrable": deferrable}
    answer = executed(operator(SageMakerProcessingOperator, config, **options))
    assert answer["Processing"]["ProcessingJobStatus"] == "Completed"
    body = aws.client("s3").get_object(Bucket=data, Key="counted/count")["Body"]
    assert body.read() == b"1"
    name = config["ProcessingJobName"]
    assert operator(SageMakerProcessingSensor, job_name=name).poke({})


@pytest.fixture
def endpoint(aws: AWS) -> Iterator[str]:
    """A name; the endpoint, its config and its models are gone afterwards."""
    name = new_name("endpoint")
    yield name
    client = aws.client("sagemaker")
    client.delete_endpoint(EndpointName=name)
    waiter = client.get_waiter("endpoint_deleted")
    waiter.wait(EndpointName=name, WaiterConfig={"Delay": 1})
    for config in client.list_endpoint_configs(NameContains=name)["EndpointConfigs"]:
        client.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    client.close()


@MODES
def test_endpoint(trained: dict[str, Any], endpoint: str, deferrable: bool) -> None:
    model = model_of(trained)
    operator(SageMakerModelOperator, model).execute({})
    variant = {
        "VariantName": "all",
        "ModelName": model["ModelName"],
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    config = {"EndpointConfigName": f"{endpoint}-config", "ProductionVariants": [variant]}
    operator(SageMakerEndpointConfigOperator, config).execute({})
    deploy = {"EndpointName": endpoint, "EndpointConfigName": f"{endpoint}-config"}
    options = {"check_interval": 1, "deferrable": deferrable}
    answer = executed(operator(SageMakerEndpointOperator, deploy, **options))
    assert answer["Endpoint"]["EndpointStatus"] == "InService"
    assert operator(SageMakerEndpointSensor, endpoint_name=endpoint).poke({})
    # It exists already, so the operator updates it.
    second = {**config, "EndpointConfigName": f"{endpoint}-second"}
    operator(SageMakerEndpointConfigOperator, second).execute({})
    update = {"EndpointName": endpoint, "EndpointConfigName": f"{endpoint}-second"}
    answer = executed(operator(SageMakerEndpointOperator, update, **options))
    assert answer["Endpoint"]["EndpointConfigName"] == f"{endpoint}-second"
    assert answer["Endpoint"]["EndpointStatus"] == "InService"


def test_a_model_version_is_registered(aws: AWS, trained: dict[str, Any]) -> None:
    group = new_name("group")
    register = operator(
        SageMakerRegisterModelVersionOperator,
        image_uri=IMAGE,
        model_url=trained["ModelArtifacts"]["S3ModelArtifacts"],
        package_group_name=group,
    )
    arn = register.execute({})
    client = aws.client("sagemaker")
    described = client.describe_model_package(ModelPackageName=arn)
    client.close()
    assert (described["ModelPackageGroupName"], described["ModelPackageVersion"]) == (group, 1)


def test_an_experiment_is_created(aws: AWS) -> None:
    name = new_name("experiment")
    arn = operator(SageMakerCreateExperimentOperator, name=name).execute({})
    client = aws.client("sagemaker")
    assert client.describe_experiment(ExperimentName=name)["ExperimentArn"] == arn
    client.close()
