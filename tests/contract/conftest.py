"""Ratings in S3, and the interpreters of the SDKs that can share no environment with Airflow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from matinee import recordio
from tests.conftest import AWS, ObjectStore
from tests.environments import interpreter_of

FOLDER_VARIABLE = "MATINEE_CONTRACT"
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"
PAIRS = [(customer, video) for customer in range(6) for video in range(6)]
IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
HYPERPARAMETERS = {
    "feature_dim": "12",
    "num_factors": "4",
    "predictor_type": "regressor",
    "epochs": "300",
    "mini_batch_size": "36",
    "factors_lr": "0.05",
    "linear_lr": "0.01",
    "factors_init_sigma": "0.1",
}
# What the SDKs would tell their maker.
SILENT = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""
SCENARIO_S = 300


def ratings() -> bytes:
    """Return a checkerboard: even customers love even videos."""
    columns = np.array([[customer, 6 + video] for customer, video in PAIRS]).ravel()
    rows = np.repeat(np.arange(len(PAIRS)), 2)
    features = csr_matrix((np.ones(len(columns), np.float32), (rows, columns)), (len(PAIRS), 12))
    stars = [5.0 if (customer + video) % 2 == 0 else 1.0 for customer, video in PAIRS]
    return recordio.encode(features, np.array(stars, np.float32))


@pytest.fixture
def data(object_store: ObjectStore, bucket: str) -> str:
    """A bucket with the ratings below ``ratings/train`` and ``ratings/test``."""
    client = object_store.client()
    for name in ("train", "test"):
        client.put_object(Bucket=bucket, Key=f"ratings/{name}/part-0", Body=ratings())
    client.close()
    return bucket


def interpreter_of_sdk(version: str) -> Path:
    """Return the Python that has a version of the SDK."""
    requirements = Path(__file__).with_name(f"requirements-{version}.txt")
    return interpreter_of(FOLDER_VARIABLE, f"SageMaker SDK {version}", requirements)


Scenario = Callable[[str], dict[str, Any]]


@pytest.fixture
def scenario(aws: AWS, data: str, tmp_path: Path) -> Scenario:
    """Run a scenario with its SDK; return what it saw."""
    silent = tmp_path / "sdk.yaml"
    silent.write_text(SILENT)

    def run(version: str) -> dict[str, Any]:
        python = interpreter_of_sdk(version)
        surroundings: Mapping[str, str] = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            **aws.environment,
            "HOME": str(tmp_path),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(silent),
        }
        script = Path(__file__).with_name(f"scenario_{version}.py")
        done = subprocess.run(  # noqa: S603 - our own script and words
            [python, script, data, "ratings", ROLE, tmp_path / "seen.json"],
            env=surroundings,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SCENARIO_S,
            check=False,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0, done.stderr[-4000:]
        seen: dict[str, Any] = json.loads((tmp_path / "seen.json").read_text())
        return seen

    return run
