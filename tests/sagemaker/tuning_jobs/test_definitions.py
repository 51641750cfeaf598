"""Training job definitions: the training jobs they make, and whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.sagemaker.algorithms import MATINEE_FM
from matinee.sagemaker.tuning_jobs.definitions import next_one, read

OBJECTIVE = {"Type": "Minimize", "MetricName": "validation:rmse"}
RANGES = {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "9"}]}


@pytest.mark.parametrize(
    ("tuned", "resources"),
    [
        (
            {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        ),
        (
            {
                "AllocationStrategy": "Prioritized",
                "VolumeKmsKeyId": "key",
                "InstanceConfigs": [
                    {"InstanceType": "ml.c5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 9},
                    {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                ],
            },
            {
                "InstanceType": "ml.c5.xlarge",
                "InstanceCount": 2,
                "VolumeSizeInGB": 9,
                "VolumeKmsKeyId": "key",
            },
        ),
    ],
)
def test_the_first_instance_configuration_is_taken(
    tuned: dict[str, Any], resources: dict[str, Any]
) -> None:
    request = {
        "HyperParameterTuningResourceConfig": tuned,
        "StaticHyperParameters": {"k": "8"},
        "RoleArn": "role",
    }
    config = {"HyperParameterTuningJobObjective": OBJECTIVE, "ParameterRanges": RANGES}
    (definition,) = read(config, [request])
    assert definition.training_job("name", {"epochs": "3"}) == {
        "TrainingJobName": "name",
        "RoleArn": "role",
        "ResourceConfig": resources,
        "HyperParameters": {
            "k": "8",
            "epochs": "3",
            "_tuning_objective_metric": "validation:rmse",
        },
    }


def test_each_trial_has_checkpoints_of_its_own() -> None:
    checkpoints = {"S3Uri": "s3://bucket/checkpoints/", "LocalPath": "/opt/ml/checkpoints"}
    config = {"HyperParameterTuningJobObjective": OBJECTIVE, "ParameterRanges": RANGES}
    (definition,) = read(config, [{"CheckpointConfig": checkpoints}])
    assert definition.training_job("name", {})["CheckpointConfig"] == {
        "S3Uri": "s3://bucket/checkpoints/name",
        "LocalPath": "/opt/ml/checkpoints",
    }


def test_an_objective_told_each_epoch_is_heard_each_epoch() -> None:
    request = {
        "AlgorithmSpecification": {},
        "TuningObjective": OBJECTIVE,
        "HyperParameterRanges": RANGES,
    }
    (definition,) = read({}, [request])
    patterns = {item["Name"]: item["Regex"] for item in MATINEE_FM.metric_definitions}
    assert definition.objective_metrics(MATINEE_FM) == [
        {"Name": "ObjectiveMetric", "Regex": patterns["validation:rmse:epoch"]},
        {"Name": "ObjectiveMetric", "Regex": patterns["validation:rmse"]},
    ]


def test_definitions_take_turns_until_they_have_nothing_left() -> None:
    counts, turns = [0, 0, 0], []
    for _ in range(7):
        turn = next_one(counts, [2, 1, float("inf")])
        turns.append(turn)
        counts[turn] += 1
    assert turns == [0, 1, 2, 0, 2, 2, 2]
