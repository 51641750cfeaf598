"""What jobs and endpoints cost beside the work itself: training, tuning, transform, invocation."""

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count as counted
from pathlib import Path
from statistics import median
from typing import Any

import boto3
import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.sagemaker import load, servers
from benchmarks.sagemaker.figures import NOT_RUN, Figure
from benchmarks.sagemaker.servers import REGION, ROLE, Place
from matinee import recordio
from matinee.fm import artifact

CUSTOMERS, VIDEOS = 943, 1682
WIDTH = CUSTOMERS + VIDEOS
ROUNDS = 5
TRIALS = 20
PREDICTED = 1_000_000
RECORDIO = "application/x-recordio-protobuf"
_NUMBERS = counted(1)


def _ratings(count: int) -> bytes:
    """Return so many ratings of random pairs, as RecordIO."""
    return recordio.encode(_pairs(count), np.random.default_rng(1).uniform(1, 5, count))


def _pairs(count: int) -> csr_matrix:
    rng = np.random.default_rng(0)
    columns = np.stack(
        [rng.integers(0, CUSTOMERS, count), CUSTOMERS + rng.integers(0, VIDEOS, count)], axis=1
    )
    starts = np.arange(0, 2 * count + 1, 2)
    values = np.ones(2 * count, np.float32)
    return csr_matrix((values, columns.ravel(), starts), (count, WIDTH))


@dataclass(frozen=True, slots=True)
class _Caller:
    """A server, and clients of it and of the S3."""

    server: servers.Started
    sagemaker: Any
    s3: Any

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return answer

    def trained(self, name: str) -> Mapping[str, Any]:
        return _ended(lambda: self.describe(name), "TrainingJobStatus")

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket="bench", Key=key, Body=body)


@contextmanager
def _calling(place: Place, name: str) -> Iterator[_Caller]:
    session = boto3.Session(
        place.keys.access_key_id, place.keys.secret_access_key, region_name=REGION
    )
    with servers.matinee(place.folder / name, place) as server:
        yield _Caller(
            server,
            session.client("sagemaker", endpoint_url=server.target.endpoint),
            session.client("s3", endpoint_url=place.s3_endpoint),
        )


def _ended(describe: Callable[[], Mapping[str, Any]], status: str) -> Mapping[str, Any]:
    while (found := describe())[status] in {"InProgress", "Stopping", "Creating"}:
        time.sleep(0.02)
    if found[status] not in {"Completed", "InService"}:
        raise RuntimeError(f"{found[status]}: {found.get('FailureReason')}")
    return found


def _request(name: str, **changes: str) -> dict[str, Any]:
    channel = {
        "ChannelName": "train",
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/ratings/train/"}
        },
    }
    hyperparameters = {
        "feature_dim": str(WIDTH),
        "num_factors": "8",
        "predictor_type": "regressor",
        "epochs": "5",
        **changes,
    }
    return {
        **servers.training_job(name),
        "InputDataConfig": [channel, {**channel, "ChannelName": "test"}],
        "HyperParameters": hyperparameters,
    }


def training(place: Place) -> list[Figure]:
    """Measure what a training job needs before and after the algorithm's own process."""
    before, after = [], []
    with _calling(place, "training") as caller:
        caller.put("ratings/train/part-0", _ratings(1000))
        for _ in range(ROUNDS + 1):
            name = f"train-{next(_NUMBERS)}"
            caller.sagemaker.create_training_job(**_request(name))
            description = caller.trained(name)
            began = {
                item["Status"]: item["StartTime"]
                for item in description["SecondaryStatusTransitions"]
            }
            before.append((began["Training"] - description["CreationTime"]).total_seconds())
            after.append((description["TrainingEndTime"] - began["Uploading"]).total_seconds())
    # The first one's kernels may have been compiled; the others tell what a job costs.
    return [
        Figure("training job: create to Training, ms", _ms(before[1:]), NOT_RUN, "300"),
        Figure("training job: Training's end to Completed, ms", _ms(after[1:]), NOT_RUN, "300"),
    ]


def _ms(seconds: list[float]) -> str:
    return f"{1000 * median(seconds):.0f}"


def tuning(place: Place) -> list[Figure]:
    """Measure a tuning job of small trials against its trials' own training."""
    with _calling(place, "tuning") as caller:
        caller.put("ratings/train/part-0", _ratings(100_000))
        definition = _request("none", epochs="10")
        static = definition.pop("HyperParameters")
        del definition["TrainingJobName"]
        name = f"tune-{next(_NUMBERS)}"
        rates = [{"Name": "factors_lr", "MinValue": "0.0001", "MaxValue": "0.1"}]
        began = time.perf_counter()
        caller.sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name,
            HyperParameterTuningJobConfig={
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "test:rmse"},
                "ResourceLimits": {
                    "MaxNumberOfTrainingJobs": TRIALS,
                    "MaxParallelTrainingJobs": 2,
                },
                "ParameterRanges": {"ContinuousParameterRanges": rates},
            },
            TrainingJobDefinition={**definition, "StaticHyperParameters": static},
        )
        _ended(
            lambda: caller.sagemaker.describe_hyper_parameter_tuning_job(
                HyperParameterTuningJobName=name
            ),
            "HyperParameterTuningJobStatus",
        )
        seconds = time.perf_counter() - began
        listed = caller.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name, MaxResults=TRIALS
        )
        trained = sum(
            _training_seconds(caller.describe(item["TrainingJobName"]))
            for item in listed["TrainingJobSummaries"]
        )
    what = f"tuning job, {TRIALS} trials of 100,000 ratings, 2 at a time: s"
    share = f"{trained / 2:.1f} (half of the trials' Training)"
    return [Figure(what, f"{seconds:.1f}", NOT_RUN, share)]


def _training_seconds(description: Mapping[str, Any]) -> float:
    began = {
        item["Status"]: item["StartTime"] for item in description["SecondaryStatusTransitions"]
    }
    seconds: float = (began["Uploading"] - began["Training"]).total_seconds()
    return seconds


def _trained_model(caller: _Caller) -> tuple[str, bytes]:
    """Train, and create a model of it; return its name and the archive."""
    caller.put("ratings/train/part-0", _ratings(1000))
    name = f"train-{next(_NUMBERS)}"
    caller.sagemaker.create_training_job(**_request(name))
    description = caller.trained(name)
    uri = description["ModelArtifacts"]["S3ModelArtifacts"]
    image = description["AlgorithmSpecification"]["TrainingImage"]
    caller.sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={"Image": image, "ModelDataUrl": uri},
        ExecutionRoleArn=ROLE,
    )
    key = uri.removeprefix("s3://bench/")
    body: bytes = caller.s3.get_object(Bucket="bench", Key=key)["Body"].read()
    return name, body


def transforming(place: Place) -> list[Figure]:
    """Measure a transform job against prediction of the same records in one process."""
    with _calling(place, "transform") as caller:
        model, archive = _trained_model(caller)
        caller.put("input/part-0", _ratings(PREDICTED))
        name = f"transform-{next(_NUMBERS)}"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/input/"}}
        began = time.perf_counter()
        caller.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName=model,
            TransformInput={
                "DataSource": source,
                "ContentType": RECORDIO,
                "SplitType": "RecordIO",
            },
            TransformOutput={"S3OutputPath": "s3://bench/output", "Accept": RECORDIO},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        _ended(
            lambda: caller.sagemaker.describe_transform_job(TransformJobName=name),
            "TransformJobStatus",
        )
        seconds = time.perf_counter() - began
    limit = _predict_alone(place.folder, archive)
    what = f"transform job, {PREDICTED:,} records, S3 to S3: s"
    return [Figure(what, f"{seconds:.2f}", NOT_RUN, f"{limit:.2f} (decode, predict, encode)")]


def _predict_alone(folder: Path, archive: bytes) -> float:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder / "alone", filter="data")
    model = artifact.read(folder / "alone" / "model_algo-1")
    body = _ratings(PREDICTED)
    model.predict(_pairs(10))
    began = time.perf_counter()
    recordio.encode(model.predict(recordio.decode(body).features).reshape(-1, 1))
    return time.perf_counter() - began


def invoking(place: Place, *, count: int) -> list[Figure]:
    """Measure InvokeEndpoint of one Factorization Machines row."""
    with _calling(place, "endpoint") as caller:
        model, _ = _trained_model(caller)
        variant = {
            "VariantName": "all",
            "ModelName": model,
            "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.large",
        }
        caller.sagemaker.create_endpoint_config(
            EndpointConfigName=model, ProductionVariants=[variant]
        )
        caller.sagemaker.create_endpoint(EndpointName=model, EndpointConfigName=model)
        _ended(lambda: caller.sagemaker.describe_endpoint(EndpointName=model), "EndpointStatus")
        target = caller.server.target
        row = {"keys": [7, CUSTOMERS + 42], "shape": [WIDTH], "values": [1, 1]}
        body = json.dumps({"instances": [{"data": {"features": row}}]}).encode()
        headers = {"Content-Type": "application/json"}
        request = load.signed(target, f"/endpoints/{model}/invocations", body, headers)
        load.saturating(target, [request], count=500, connections=8)
        figures = []
        for rate in (100, 500, 1000):
            found = load.steady(target, [request], rate=rate, count=count, connections=64)
            if found.failures:
                raise RuntimeError(f"{found.failures} of {count} invocations failed")
            what = f"InvokeEndpoint, one row, {rate:,} a second: p50 / p99, ms"
            times = f"{found.quantile(50):.1f} / {found.quantile(99):.1f}"
            figures.append(Figure(what, times, NOT_RUN, "p99 5" if rate == 1000 else ""))
        most = load.saturating(target, [request], count=count, connections=16)
        what = "InvokeEndpoint, one row, 16 clients without pause: answers a second"
        figures.append(Figure(what, f"{most.rate:.0f}", NOT_RUN, ""))
        caller.sagemaker.delete_endpoint(EndpointName=model)
    return figures
