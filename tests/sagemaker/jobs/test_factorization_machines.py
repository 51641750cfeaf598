"""The built-in algorithm as a job: ratings in, a model, its metrics and its predictions out."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from matinee import recordio
from tests.sagemaker.jobs.conftest import RESOURCES, ROLE, Jobs, channel

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
ALGORITHM = {"TrainingImage": IMAGE, "TrainingInputMode": "File"}
PAIRS = [(customer, video) for customer in range(6) for video in range(6)]


def ratings() -> bytes:
    """Return a checkerboard: even customers love even videos."""
    columns = np.array([[customer, 6 + video] for customer, video in PAIRS]).ravel()
    rows = np.repeat(np.arange(len(PAIRS)), 2)
    features = csr_matrix((np.ones(len(columns), np.float32), (rows, columns)), (len(PAIRS), 12))
    stars = [5.0 if (customer + video) % 2 == 0 else 1.0 for customer, video in PAIRS]
    return recordio.encode(features, np.array(stars, np.float32))


def hyperparameters(**changes: str) -> dict[str, str]:
    return {
        "feature_dim": "12",
        "num_factors": "4",
        "predictor_type": "regressor",
        "epochs": "300",
        "mini_batch_size": "36",
        "factors_lr": "0.05",
        "linear_lr": "0.01",
        "factors_init_sigma": "0.1",
        **changes,
    }


def training(jobs: Jobs) -> dict[str, Any]:
    jobs.put("train/part-0", ratings())
    jobs.put("test/part-0", ratings())
    channels = [channel(name, jobs.uri(f"{name}/")) for name in ("train", "test")]
    return {
        "AlgorithmSpecification": ALGORITHM,
        "InputDataConfig": channels,
        "Environment": {"MATINEE_SEED": "1"},
    }


def test_a_model_is_trained_and_predicts(jobs: Jobs) -> None:
    changes = training(jobs)
    first, second = (jobs.train(changes, **hyperparameters()) for _ in range(2))
    described = jobs.trained(first)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    metrics = {item["MetricName"]: item["Value"] for item in described["FinalMetricDataList"]}
    assert metrics.keys() >= {"test:rmse", "train:rmse", "train:rmse:epoch", "train:progress"}
    assert metrics["train:progress"] == 100.0
    assert metrics["test:rmse"] < 0.5
    uri = described["ModelArtifacts"]["S3ModelArtifacts"]
    with tarfile.open(fileobj=io.BytesIO(jobs.get(uri))) as tar:
        assert tar.getnames() == ["model_algo-1"]
    again = jobs.trained(second)["ModelArtifacts"]["S3ModelArtifacts"]
    assert jobs.get(again) == jobs.get(uri)

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
    assert len(scores) == len(PAIRS)
    for (customer, video), score in zip(PAIRS, scores, strict=True):
        assert (score > 3) == ((customer + video) % 2 == 0)


def test_a_pipe_trains_the_same_model(jobs: Jobs) -> None:
    changes = training(jobs)
    jobs.put("zipped/part-0", gzip.compress(ratings(), mtime=0))
    source = channel("train", jobs.uri("zipped/"))
    piped = {**source, "InputMode": "Pipe", "CompressionType": "Gzip"}
    names = [
        jobs.train({**changes, "InputDataConfig": [train]}, **hyperparameters(epochs="3"))
        for train in (changes["InputDataConfig"][0], piped)
    ]
    models = []
    for described in map(jobs.trained, names):
        assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
        models.append(jobs.get(described["ModelArtifacts"]["S3ModelArtifacts"]))
    assert models[0] == models[1]


def test_two_hosts_train_one_model(jobs: Jobs) -> None:
    changes = training(jobs)
    jobs.put("train/part-1", ratings())
    train = changes["InputDataConfig"][0]
    train["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    resources = {"ResourceConfig": {**RESOURCES, "InstanceCount": 2}}
    described = jobs.trained(jobs.train({**changes, **resources}, **hyperparameters()))
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    metrics = {item["MetricName"]: item["Value"] for item in described["FinalMetricDataList"]}
    assert metrics["test:rmse"] < 0.5
    uri = described["ModelArtifacts"]["S3ModelArtifacts"]
    with tarfile.open(fileobj=io.BytesIO(jobs.get(uri))) as tar:
        assert tar.getnames() == ["model_algo-1"]


def test_a_wrong_hyperparameter_is_the_clients_error(jobs: Jobs) -> None:
    name = jobs.train(training(jobs), **hyperparameters(num_factors="none"))
    described = jobs.trained(name)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: ")
    assert "num_factors" in described["FailureReason"]


def test_its_rates_are_tuned(jobs: Jobs) -> None:
    static = hyperparameters(epochs="20")
    del static["factors_lr"]
    definition = {
        **training(jobs),
        "StaticHyperParameters": static,
        "OutputDataConfig": {"S3OutputPath": jobs.uri("models")},
        "ResourceConfig": RESOURCES,
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    rate = {"Name": "factors_lr", "MinValue": "0.001", "MaxValue": "0.1"}
    name = jobs.new_name("tune")
    request = jobs.tuning_request(
        name,
        HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "test:rmse"},
        ParameterRanges={"ContinuousParameterRanges": [rate]},
    )
    request["TrainingJobDefinition"] = definition
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    described = jobs.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Completed", described.get("FailureReason")
    best = described["BestTrainingJob"]
    values = [
        child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for child in jobs.children(name)
    ]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(values)
    metrics = jobs.describe(best["TrainingJobName"])["FinalMetricDataList"]
    assert {"ObjectiveMetric", "test:rmse"} <= {item["MetricName"] for item in metrics}
    assert best["TunedHyperParameters"].keys() == {"factors_lr"}
    assert float(best["TunedHyperParameters"]["factors_lr"]) == pytest.approx(0.05, abs=0.05)
