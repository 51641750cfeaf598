"""A run of a few films and its model, in a real S3 and a real local SageMaker of a home."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from matinee.fm import artifact
from matinee.fm.model import Model
from matinee.stack.home import Home
from matinee.stack.stack import BUCKET, Stack
from matinee.workflow.objects import Objects
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.conftest import running

CUSTOMERS, VIDEOS = 12, 10
RUN = "matinee-0000000001"
HOSTILE = "\x1b[31m<script>Film 3"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Run S3 and SageMaker of a new home; Airflow has no part in this."""
    home = Home.open(folder / "home", random.SystemRandom())
    stack = Stack(home, os.environ)
    with running(stack.seaweedfs, home.path), running(stack.sagemaker, home.path):
        yield stack


def put_run(objects: Objects, stack: Stack, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Write what a run leaves: ratings, tables, a model and the summary."""
    rows = [
        f"c{customer},v{video},{1 + (customer * video) % 5},{title(video)}"
        for customer in range(CUSTOMERS)
        for video in range(VIDEOS)
        if (customer + video) % 3
    ]
    ratings = folder / "ratings.csv"
    ratings.write_text("\n".join(["user_id,item_id,rating,title", *rows]) + "\n")
    columns = {"customer": "user_id", "video": "item_id", "stars": "rating", "title": "title"}
    filters = {"min_ratings_per_customer": 1, "min_ratings_per_video": 1}
    settings = Settings.from_parameters({"ratings": str(ratings), "columns": columns, **filters})
    with pytest.MonkeyPatch.context() as environment:
        # It remembers the keys of the first that asked: other tests' S3.
        environment.setattr(boto3, "DEFAULT_SESSION", None)
        for variable, value in stack.client_environment().items():
            environment.setenv(variable, value)
        preprocessed = preprocess(settings, {"run": name})
    rng = np.random.default_rng(seed)
    width = CUSTOMERS + VIDEOS
    factors = rng.normal(0, 1, (width, 4)).astype(np.float32)
    linear = rng.normal(0, 1, width).astype(np.float32)
    path = folder / "model_algo-1"
    artifact.write(Model(3.0, linear, factors, "regressor"), path)
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        archive.add(path, path.name)
    packed = folder / "model.tar.gz"
    packed.write_bytes(body.getvalue())
    model = f"{settings.folder(name)}/model.tar.gz"
    objects.upload(packed, model)
    summary = {
        "run": name,
        "settings": settings.to_parameters(),
        "funnel": [{"ratings": len(rows), "customers": CUSTOMERS, "videos": VIDEOS}],
        "artifacts": {
            "model": model,
            "report": preprocessed["report"],
            **{kind: preprocessed[kind] for kind in ("customers", "videos", "ratings")},
        },
    }
    objects.write_json(summary, f"{settings.folder(name)}/summary.json")
    return summary


def title(video: int) -> str:
    return HOSTILE if video == 3 else f"Film {video}"


def put_into_service(
    stack: Stack, summary: dict[str, Any], name: str, *, told: bool = True
) -> None:
    """Serve a run's model, of a package that tells of its run or not."""
    sagemaker = stack.client("sagemaker")
    about = {"run": summary["run"], "summary": f"s3://{BUCKET}/runs/{summary['run']}/summary.json"}
    model = summary["artifacts"]["model"]
    package = sagemaker.create_model_package(
        ModelPackageName=name,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": model}],
            "SupportedContentTypes": ["application/x-recordio-protobuf"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties=about if told else {"by": "somebody"},
    )["ModelPackageArn"]
    container = {"ModelPackageName": package}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "all",
                "ModelName": name,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
