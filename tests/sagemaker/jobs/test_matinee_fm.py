"""matinee-fm as a job: Bayesian training, a validation channel, a warm start and predictions."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from tests.sagemaker.jobs.conftest import RESOURCES, ROLE, Jobs, channel
from tests.sagemaker.jobs.test_factorization_machines import PAIRS, ratings

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/matinee-fm:1"
ALGORITHM = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
MCMC = {
    "solver": "mcmc",
    "feature_dim": "12",
    "num_factors": "4",
    "predictor_type": "regressor",
    "field_dims": "6,6",
    "epochs": "60",
    "burn_in": "20",
    "seed": "1",
}


def training(jobs: Jobs, *more_channels: dict[str, Any]) -> dict[str, Any]:
    names = ("train", "test", "validation")
    for name in names:
        jobs.put(f"{name}/part-0", ratings())
    channels = [channel(name, jobs.uri(f"{name}/")) for name in names]
    return {"AlgorithmSpecification": ALGORITHM, "InputDataConfig": [*channels, *more_channels]}


def completed(jobs: Jobs, name: str) -> dict[str, Any]:
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    return described


def test_a_bayesian_model_is_trained_continued_and_predicts(jobs: Jobs) -> None:
    described = completed(jobs, jobs.train(training(jobs), **MCMC))
    metrics = {item["MetricName"]: item["Value"] for item in described["FinalMetricDataList"]}
    assert metrics.keys() >= {
        "test:rmse",
        "train:rmse:epoch",
        "validation:rmse",
        "validation:rmse:epoch",
    }
    assert metrics["train:progress"] == 100.0
    assert metrics["test:rmse"] == metrics["validation:rmse"] < 0.5
    uri = described["ModelArtifacts"]["S3ModelArtifacts"]
    with tarfile.open(fileobj=io.BytesIO(jobs.get(uri))) as tar:
        assert tar.getnames() == ["model_algo-1"]

    start = channel("model", uri)
    start["ContentType"] = "application/x-sagemaker-model"
    adam = {
        name: MCMC[name] for name in ("feature_dim", "num_factors", "predictor_type", "seed")
    } | {"solver": "adam"}
    continued = completed(jobs, jobs.train(training(jobs, start), **adam))
    metrics = {item["MetricName"]: item["Value"] for item in continued["FinalMetricDataList"]}
    assert metrics["test:rmse"] < 1

    jobs.put("input/all", ratings())
    model = jobs.new_name("model")
    container = {"Image": IMAGE, "ModelDataUrl": uri}
    jobs.sagemaker.create_model(ModelName=model, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    name = jobs.transform(
        model, SplitType="RecordIO", ContentType="application/x-recordio-protobuf"
    )
    transformed = jobs.transformed(name)
    assert transformed["TransformJobStatus"] == "Completed", transformed.get("FailureReason")
    lines = jobs.get(jobs.uri("output/all.out")).splitlines()
    scores = [json.loads(line)["score"] for line in lines]
    for (customer, video), score in zip(PAIRS, scores, strict=True):
        assert (score > 3) == ((customer + video) % 2 == 0)


def test_it_is_tuned_by_validation(jobs: Jobs) -> None:
    name = jobs.new_name("tune")
    rate = {"Name": "learning_rate", "MinValue": "0.001", "MaxValue": "0.1"}
    request = jobs.tuning_request(
        name,
        HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "validation:rmse"},
        ParameterRanges={"ContinuousParameterRanges": [rate]},
    )
    request["TrainingJobDefinition"] = {
        **training(jobs),
        "StaticHyperParameters": {
            "solver": "sgd",
            "feature_dim": "12",
            "num_factors": "4",
            "predictor_type": "regressor",
        },
        "OutputDataConfig": {"S3OutputPath": jobs.uri("models")},
        "ResourceConfig": RESOURCES,
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    described = jobs.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Completed", described.get("FailureReason")
    best = described["BestTrainingJob"]
    assert best["TunedHyperParameters"].keys() == {"learning_rate"}
    metrics = jobs.describe(best["TrainingJobName"])["FinalMetricDataList"]
    values = {item["MetricName"]: item["Value"] for item in metrics}
    assert values["ObjectiveMetric"] == values["validation:rmse"]


def test_a_hyperparameter_of_another_solver_is_the_clients_error(jobs: Jobs) -> None:
    described = jobs.trained(jobs.train(training(jobs), **{**MCMC, "factors_lr": "0.1"}))
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(
        "ClientError: 'factors_lr' is not a hyperparameter of solver 'mcmc', only of 'adam'"
    )
