"""Whole runs for the tests of publishing, step by step and without Airflow, on the real servers."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

from matinee.workflow.evaluate import evaluate
from matinee.workflow.images import factorization_machines
from matinee.workflow.jobs import trained_model
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.requests import training_request, transform_request
from matinee.workflow.settings import Settings
from tests.workflow.conftest import Rating

IMAGE = factorization_machines("us-east-1")
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"
# Of a grid that the biases cannot tell from noise: what a customer likes depends on the video.
GOOD = {"num_factors": 4, "epochs": 60, "mini_batch_size": 50, "factors_lr": 0.02}
GOOD |= {"factors_init_sigma": 0.1, "linear_lr": 0.01, "factors_wd": 0.0001}
BAD = {"num_factors": 2, "epochs": 1, "factors_lr": 0.0}


def tastes(customers: int, videos: int) -> list[Rating]:
    """Let the even like the even and the odd the odd; each customer skips some videos."""
    return [
        (f"c{customer}", f"v{video}", "5" if (customer + video) % 2 == 0 else "1")
        for customer in range(customers)
        for video in range(videos)
        if (customer * 7 + video * 3) % 5
    ]


class Publisher:
    """Someone whose runs publish to a group and an endpoint of their own."""

    def __init__(self, sagemaker: Any, ratings: str, bucket: str) -> None:
        self.sagemaker = sagemaker
        number = secrets.token_hex(4)
        self.name = f"recommender-{number}"
        self._run = f"matinee-{number}"
        self._parameters = {
            "ratings": ratings,
            "output": f"s3://{bucket}/runs",
            "role": ROLE,
            "check_interval": 0.1,
            "endpoint": self.name,
            "model_package_group": self.name,
        }
        self._runs = 0

    def settings(self, **parameters: Any) -> Settings:
        return Settings.from_parameters({**self._parameters, **parameters})

    def run(self, settings: Settings) -> dict[str, Any]:
        """Do the steps up to the evaluation; return the inputs of those that publish."""
        self._runs += 1
        run = f"{self._run}{self._runs:02d}"
        preprocessed = preprocess(settings, {"run": run})
        prepared = prepare(settings, dict(preprocessed))
        train = f"{run}-train-1"
        # The operators make an ARN of a role's name.
        jobs = dataclasses.replace(settings, role=ROLE)
        self.sagemaker.create_training_job(
            **training_request(jobs, prepared, name=train, image=IMAGE)
        )
        self.sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=train, WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200}
        )
        trained = trained_model(training_job=train, client=self.sagemaker)
        request = transform_request(
            jobs, prepared, name=f"{run}-predict-1", image=IMAGE, model=trained["model"]
        )
        self.sagemaker.create_model(**request["Model"])
        self.sagemaker.create_transform_job(**request["Transform"])
        self.sagemaker.get_waiter("transform_job_completed_or_stopped").wait(
            TransformJobName=f"{run}-predict-1", WaiterConfig={"Delay": 0.1, "MaxAttempts": 1200}
        )
        inputs = {
            "preprocessed": preprocessed,
            "prepared": prepared,
            "trained": trained,
            "predictions": request["Transform"]["TransformOutput"]["S3OutputPath"],
            "image": IMAGE,
            "answer": None,
        }
        return {**inputs, "evaluated": evaluate(settings, inputs)}

    def package(self, arn: str) -> dict[str, Any]:
        described: dict[str, Any] = self.sagemaker.describe_model_package(ModelPackageName=arn)
        return described

    def serves(self) -> str:
        """Return the model package that the endpoint serves."""
        endpoint = self.sagemaker.describe_endpoint(EndpointName=self.name)
        assert endpoint["EndpointStatus"] == "InService"
        config = self.sagemaker.describe_endpoint_config(
            EndpointConfigName=endpoint["EndpointConfigName"]
        )
        model = self.sagemaker.describe_model(
            ModelName=config["ProductionVariants"][0]["ModelName"]
        )
        package: str = model["PrimaryContainer"]["ModelPackageName"]
        return package

    def configs(self) -> list[str]:
        """Return the names of the endpoint's configurations, the oldest first."""
        found = self.sagemaker.list_endpoint_configs(
            NameContains=f"{self.name}-v", SortBy="CreationTime", SortOrder="Ascending"
        )
        return [config["EndpointConfigName"] for config in found["EndpointConfigs"]]

    def close(self) -> None:
        """Delete the endpoint."""
        for found in self.sagemaker.list_endpoints(NameContains=self.name)["Endpoints"]:
            self.sagemaker.delete_endpoint(EndpointName=found["EndpointName"])
