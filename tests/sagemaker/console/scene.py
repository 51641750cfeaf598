"""A server process with a console, and real jobs of every kind to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ObjectStore
from tests.sagemaker.jobs.conftest import IMAGE, Jobs, Server, until

HOSTILE_LINE = "<script>alert('of a log')</script>"


@dataclass(frozen=True)
class Scene:
    """What is there.

    Attributes
    ----------
    jobs
        A caller of the server.
    trained
        Names of two training jobs that have completed.
    failed
        One that has failed.
    tuning, transform, endpoint
        One of each, ended or in service.
    """

    jobs: Jobs
    trained: tuple[str, str]
    failed: str
    tuning: str
    transform: str
    endpoint: str

    @property
    def console(self) -> str:
        """The console's address."""
        return f"{self.jobs.server.endpoint}/console"

    def begin(self, gate: Path, losses: list[float]) -> str:
        """Start a training job that waits for a file; return its name."""
        return self.jobs.train(wait_for=str(gate), print=_losses(losses))


def _losses(losses: list[float]) -> str:
    return "|".join(f"loss={loss:.4f};" for loss in losses)


@contextmanager
def playing(folder: Path, object_store: ObjectStore, secret: str) -> Iterator[Scene]:
    """Start the server and let its jobs run to their ends."""
    token = folder / "console.json"
    token.write_text(json.dumps({"token": secret}))
    token.chmod(0o600)
    options = [
        f"--console-token={token}",
        "--console-tag-link=airflow-run=http://127.0.0.1:8080/dags/recommender/runs/{}",
        "--console-page=my-page=tests.sagemaker.console.conftest:added_page",
    ]
    server = Server(folder, object_store, object_store.endpoint, options=options)
    caller = Jobs(server, object_store, "matinee")
    try:
        server.start()
        scene = _play(caller)
        yield scene
        # Its processes outlive their server.
        caller.sagemaker.delete_endpoint(EndpointName=scene.endpoint)
        until(lambda: not caller.sagemaker.list_endpoints()["Endpoints"])
    finally:
        caller.close()
        server.close()


def _play(jobs: Jobs) -> Scene:
    tags = {"Tags": [{"Key": "airflow-run", "Value": "manual__2026-11-23T12:00:00+00:00"}]}
    trained = tuple(
        jobs.train(
            tags,
            print=_losses([start / (1 + 0.3 * epoch) for epoch in range(20)]) + f"|{HOSTILE_LINE}",
            mini_batch_size="1000",
            num_factors=factors,
        )
        for start, factors in ((1.0, "32"), (1.2, "64"))
    )
    failed = jobs.train(exit="1", failure=f"the data are none: {HOSTILE_LINE}")
    jobs.put("input/one", "1\n2\n")
    transform = jobs.transform(jobs.put_model({"a": "b"}))
    tuning = jobs.new_name("tuning")
    ranges = [
        {"Name": "x", "MinValue": "0", "MaxValue": "1"},
        {"Name": "rate", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"},
    ]
    request = jobs.tuning_request(
        tuning,
        ResourceLimits={"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2},
        ParameterRanges={"ContinuousParameterRanges": ranges},
        RandomSeed=7,
    )
    jobs.sagemaker.create_hyper_parameter_tuning_job(**request)
    endpoint = _endpoint(jobs)
    first, second = trained
    uri = jobs.trained(first)["ModelArtifacts"]["S3ModelArtifacts"]
    _register(jobs, uri)
    jobs.trained(second)
    jobs.trained(failed)
    jobs.transformed(transform)
    jobs.tuned(tuning)
    until(lambda: _status(jobs, endpoint) != "Creating")
    assert _status(jobs, endpoint) == "InService"
    return Scene(jobs, (first, second), failed, tuning, transform, endpoint)


def _status(jobs: Jobs, endpoint: str) -> str:
    return str(jobs.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])


def _endpoint(jobs: Jobs) -> str:
    name = jobs.new_name("endpoint")
    variant: dict[str, Any] = {
        "VariantName": "AllTraffic",
        "ModelName": jobs.put_model({"a": "b"}),
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    jobs.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    jobs.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return name


def _register(jobs: Jobs, uri: str) -> None:
    jobs.sagemaker.create_model_package_group(
        ModelPackageGroupName="recommender",
        ModelPackageGroupDescription="Stars that customers give to videos",
    )
    for rmse, approval in (("0.9583", "Rejected"), ("0.9121", "Approved")):
        jobs.sagemaker.create_model_package(
            ModelPackageGroupName="recommender",
            ModelApprovalStatus=approval,
            CustomerMetadataProperties={"rmse": rmse, "test_rows": "10000", "run": "matinee-1"},
            InferenceSpecification={"Containers": [{"Image": IMAGE, "ModelDataUrl": uri}]},
        )
