"""The requests of a run, checked against AWS's own service model."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from matinee.workflow.hyperparameters import PRESETS
from matinee.workflow.prepare import Prepared
from matinee.workflow.requests import (
    configuration_request,
    job_name,
    training_request,
    transform_request,
    tuning_request,
)
from matinee.workflow.settings import Settings

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"
MODEL = "s3://bucket/runs/matinee-1/train/matinee-1-train-1/output/model.tar.gz"
PREPARED: Prepared = {
    "run": "matinee-1",
    "train": "s3://bucket/runs/matinee-1/prepare/train/",
    "validate": "s3://bucket/runs/matinee-1/prepare/validate/",
    "test": "s3://bucket/runs/matinee-1/prepare/test/",
    "feature_dim": 7,
    "field_dims": [4, 3],
    "rating_counts": {"train": 3, "validate": 1, "test": 1},
    "test_chunks": [1],
}


def settings(**parameters: Any) -> Settings:
    return Settings.from_parameters({"output": "s3://bucket/runs", "role": ROLE, **parameters})


def assert_is(operation: str, request: dict[str, Any]) -> None:
    """Check a request as boto3 does before it sends one."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    shape = model.operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_requests_are_what_aws_takes(preset: str) -> None:
    chosen = settings(preset=preset)
    train = training_request(chosen, PREPARED, name="matinee-1-train-1", image=IMAGE)
    tune = tuning_request(chosen, PREPARED, name="matinee-1-tune-1", image=IMAGE)
    predict = transform_request(
        chosen, PREPARED, name="matinee-1-predict-1", image=IMAGE, model=MODEL
    )
    assert_is("CreateTrainingJob", train)
    assert_is("CreateHyperParameterTuningJob", tune)
    assert_is("CreateModel", predict["Model"])
    assert_is("CreateTransformJob", predict["Transform"])


def test_the_original_preset_sends_the_published_training_job() -> None:
    request = training_request(settings(preset="original"), PREPARED, name="n", image=IMAGE)
    assert request["HyperParameters"] == {
        "feature_dim": "7",
        "predictor_type": "regressor",
        "num_factors": "64",
        "epochs": "10",
        "mini_batch_size": "200",
    }
    assert request["ResourceConfig"] == {
        "InstanceType": "ml.c5.4xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 30,
    }
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}


def test_the_validation_ratings_are_the_test_channel() -> None:
    request = training_request(settings(), PREPARED, name="n", image=IMAGE)
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in request["InputDataConfig"]
    }
    assert channels == {"train": PREPARED["train"], "test": PREPARED["validate"]}


def distributions(request: dict[str, Any]) -> dict[str, str]:
    return {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3DataDistributionType"]
        for channel in request["InputDataConfig"]
    }


def test_several_instances_share_the_training_ratings_alone() -> None:
    one, two = settings(), settings(training_instance_count=2)
    for build, inner in ((training_request, None), (tuning_request, "TrainingJobDefinition")):
        alone, shared = (build(chosen, PREPARED, name="n", image=IMAGE) for chosen in (one, two))
        if inner:
            alone, shared = alone[inner], shared[inner]
        assert alone["ResourceConfig"]["InstanceCount"] == 1
        assert distributions(alone) == {"train": "FullyReplicated", "test": "FullyReplicated"}
        assert shared["ResourceConfig"]["InstanceCount"] == 2
        assert distributions(shared) == {"train": "ShardedByS3Key", "test": "FullyReplicated"}


def test_the_seed_travels_in_the_environment_and_the_search() -> None:
    request = tuning_request(settings(seed=7), PREPARED, name="n", image=IMAGE)
    assert request["TrainingJobDefinition"]["Environment"] == {"MATINEE_SEED": "7"}
    assert request["HyperParameterTuningJobConfig"]["RandomSeed"] == 7


def test_what_is_tuned_is_not_static_as_well() -> None:
    ranges = {"epochs": [2, 9.0], "bias_lr": [0.5, 1, "Logarithmic"]}
    request = tuning_request(
        settings(tuning_ranges=ranges, bias_lr=3, epochs=4), PREPARED, name="n", image=IMAGE
    )
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert not {"epochs", "bias_lr"} & static.keys()
    parameter_ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert parameter_ranges["IntegerParameterRanges"] == [
        {"Name": "epochs", "MinValue": "2", "MaxValue": "9", "ScalingType": "Auto"}
    ]
    assert parameter_ranges["ContinuousParameterRanges"] == [
        {"Name": "bias_lr", "MinValue": "0.5", "MaxValue": "1", "ScalingType": "Logarithmic"}
    ]


def test_a_whole_number_is_sent_without_a_decimal_point() -> None:
    request = training_request(settings(epochs=3.0), PREPARED, name="n", image=IMAGE)
    assert request["HyperParameters"]["epochs"] == "3"


def test_each_job_writes_into_a_folder_of_the_run() -> None:
    request = transform_request(
        settings(), PREPARED, name="matinee-1-predict-2", image=IMAGE, model=MODEL
    )
    assert request["Transform"]["TransformOutput"]["S3OutputPath"] == (
        "s3://bucket/runs/matinee-1/predict/matinee-1-predict-2"
    )
    assert request["Model"]["PrimaryContainer"] == {"Image": IMAGE, "ModelDataUrl": MODEL}


def test_names_differ_by_attempt_and_fit_a_tuning_job() -> None:
    name = job_name("matinee-0123456789", "tune", 99)
    assert name == "matinee-0123456789-tune-99"
    assert len(name) <= 32


def test_a_configuration_goes_over_the_hyperparameters_and_has_a_job_of_its_own() -> None:
    chosen = settings(configurations=[{"epochs": 3}, {"num_factors": 5, "linear_wd": None}])
    alone = training_request(chosen, PREPARED, name="matinee-1-train-1", image=IMAGE)
    requests = [
        configuration_request(chosen, PREPARED, number, attempt=2, image=IMAGE)
        for number in range(2)
    ]
    for request in requests:
        assert_is("CreateTrainingJob", request)
    names = [request["TrainingJobName"] for request in requests]
    assert names == ["matinee-1-train-0-2", "matinee-1-train-1-2"]
    usual = alone["HyperParameters"]
    assert requests[0]["HyperParameters"] == {**usual, "epochs": "3"}
    expected = {name: value for name, value in usual.items() if name != "linear_wd"}
    assert requests[1]["HyperParameters"] == {**expected, "num_factors": "5"}


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"preset": "bayesian", "features": ["history"]}, "4,3"),
        # What adam has no use for, and what SageMaker's own algorithm does not know.
        ({"image": "matinee-fm", "solver": "adam", "features": ["history"]}, None),
        ({"features": ["history"]}, None),
        # Of customer and video alone it finds them, as it always did.
        ({"preset": "bayesian"}, None),
    ],
)
def test_mcmc_is_told_the_blocks_of_features(parameters: dict[str, Any], told: str | None) -> None:
    request = training_request(settings(**parameters), PREPARED, name="n", image=IMAGE)
    assert request["HyperParameters"].get("field_dims") == told
