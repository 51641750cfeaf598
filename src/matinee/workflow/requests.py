"""The SageMaker requests of a run: pure functions from settings and prepared data to API documents.

They are what CreateTrainingJob, CreateHyperParameterTuningJob, CreateModel and CreateTransformJob
take, so the stock Airflow operators, boto3 and a state machine can all send them. Nothing here
speaks to AWS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matinee.workflow.hyperparameters import TUNABLE_INTEGERS
from matinee.workflow.settings import Settings

if TYPE_CHECKING:
    # It imports what ratings are encoded with, which a request has no use for.
    from matinee.workflow.prepare import Prepared

RECORDIO = "application/x-recordio-protobuf"
JSON_LINES = "application/jsonlines"
JSON = "application/json"
OBJECTIVE = "test:rmse"


def job_name(run: str, job: str, attempt: int | str) -> str:
    """Name a job of a run; another attempt has another name, so that a retry never collides.

    Parameters
    ----------
    run : str
        The run's name.
    job : str
        "train", "tune", "predict", or "train-0" and so on of several configurations.
    attempt : int or str
        The orchestrator's try number, from 1, or what stands for it in a pattern.
    """
    return f"{run}-{job}-{attempt}"


def training_request(
    settings: Settings, prepared: Prepared, *, name: str, image: str
) -> dict[str, Any]:
    """Build the request of CreateTrainingJob.

    The validation ratings are the `test` channel, on which the algorithm reports `test:rmse`; the
    test ratings stay unseen until the model is evaluated.

    Parameters
    ----------
    settings : Settings
    prepared : Prepared
        What the prepare step returned.
    name : str
        TrainingJobName.
    image : str
        URI of the algorithm's image.
    """
    return {
        "TrainingJobName": name,
        "HyperParameters": _hyperparameters(settings, prepared),
        **_training(settings, prepared, image=image, output=f"{_folder(settings, prepared)}/train"),
    }


def configuration_request(
    settings: Settings, prepared: Prepared, number: int, *, attempt: int, image: str
) -> dict[str, Any]:
    """Build the request of CreateTrainingJob for one of the run's configurations.

    Parameters
    ----------
    settings : Settings
    prepared : Prepared
    number : int
        Of the configuration, from 0.
    attempt : int
        The orchestrator's try number, from 1.
    image : str
        URI of the algorithm's image.
    """
    name = job_name(prepared["run"], f"train-{number}", attempt)
    return training_request(settings.configured(number), prepared, name=name, image=image)


def tuning_request(
    settings: Settings, prepared: Prepared, *, name: str, image: str
) -> dict[str, Any]:
    """Build the request of CreateHyperParameterTuningJob; parameters as of `training_request`."""
    static = _hyperparameters(settings, prepared)
    ranges: dict[str, list[dict[str, str]]] = {
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    for parameter, (low, high, *scaling) in settings.tuning_ranges.items():
        static.pop(parameter, None)
        whole = parameter in TUNABLE_INTEGERS
        ranges["IntegerParameterRanges" if whole else "ContinuousParameterRanges"].append(
            {
                "Name": parameter,
                "MinValue": str(int(low) if whole else low),
                "MaxValue": str(int(high) if whole else high),
                "ScalingType": scaling[0] if scaling else "Auto",
            }
        )
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": OBJECTIVE},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": settings.tuning_jobs,
                "MaxParallelTrainingJobs": settings.tuning_parallel_jobs,
            },
            "ParameterRanges": ranges,
            "RandomSeed": settings.seed,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": static,
            **_training(
                settings, prepared, image=image, output=f"{_folder(settings, prepared)}/tune"
            ),
        },
    }


def transform_request(
    settings: Settings, prepared: Prepared, *, name: str, image: str, model: str
) -> dict[str, Any]:
    """Build the requests of CreateModel and CreateTransformJob, as Airflow's operator takes them.

    Parameters
    ----------
    settings : Settings
    prepared : Prepared
    name : str
        ModelName and TransformJobName.
    image : str
    model : str
        URI of the trained model.tar.gz.
    """
    return {
        "Model": {
            "ModelName": name,
            "PrimaryContainer": {"Image": image, "ModelDataUrl": model},
            "ExecutionRoleArn": settings.role,
        },
        "Transform": {
            "TransformJobName": name,
            "ModelName": name,
            "BatchStrategy": "MultiRecord",
            "TransformInput": {
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": prepared["test"]}
                },
                "ContentType": RECORDIO,
                "CompressionType": "None",
                "SplitType": "RecordIO",
            },
            "TransformOutput": {
                "S3OutputPath": f"{_folder(settings, prepared)}/predict/{name}",
                "Accept": JSON_LINES,
                "AssembleWith": "Line",
            },
            "TransformResources": {
                "InstanceType": settings.transform_instance_type,
                "InstanceCount": 1,
            },
        },
    }


def _folder(settings: Settings, prepared: Prepared) -> str:
    return settings.folder(prepared["run"])


def _hyperparameters(settings: Settings, prepared: Prepared) -> dict[str, str]:
    chosen = {
        "feature_dim": prepared["feature_dim"],
        "predictor_type": "regressor",
        **settings.hyperparameters,
    }
    if settings.features and settings.is_bayesian:
        # What mcmc regularises together; it finds blocks by itself only where each has one value.
        chosen["field_dims"] = ",".join(map(str, prepared["field_dims"]))
    return {name: str(value) for name, value in chosen.items()}


def _training(settings: Settings, prepared: Prepared, *, image: str, output: str) -> dict[str, Any]:
    """Build what a training job and a tuning job's training jobs have in common."""
    return {
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": settings.role,
        "InputDataConfig": [
            # A host trains on the objects of its own, and all measure the whole validation split.
            _channel("train", prepared["train"], shard=settings.training_instance_count > 1),
            _channel("test", prepared["validate"]),
        ],
        "OutputDataConfig": {"S3OutputPath": output},
        "ResourceConfig": {
            "InstanceType": settings.training_instance_type,
            "InstanceCount": settings.training_instance_count,
            "VolumeSizeInGB": settings.training_volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.training_max_seconds},
        # The built-in algorithm refuses hyperparameters it does not know, but not variables.
        "Environment": {"MATINEE_SEED": str(settings.seed)},
    }


def _channel(name: str, uri: str, *, shard: bool = False) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "ShardedByS3Key" if shard else "FullyReplicated",
            }
        },
        "ContentType": RECORDIO,
        "CompressionType": "None",
        "RecordWrapperType": "None",
        "InputMode": "File",
    }
