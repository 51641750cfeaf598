"""Which container engine there is, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from matinee.sagemaker.algorithms import Algorithm
from matinee.sagemaker.machine import engines
from matinee.sagemaker.machine.commands import Command
from tests.sagemaker.conftest import ROLE_ARN, Front


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with all the programs there are."""
    folder = tmp_path / "programs"
    folder.mkdir()
    engines.find.cache_clear()
    monkeypatch.setenv("PATH", str(folder))
    yield folder
    engines.find.cache_clear()


def put(folder: Path, name: str, program: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("programs")
def test_an_image_is_refused_where_there_is_no_engine(front: Front) -> None:
    image = Command((), image="mine:1")
    front.context.algorithms = {"mine": Algorithm(process=image, entrypoint=image)}
    request = {
        "ProcessingJobName": "name",
        "RoleArn": ROLE_ARN,
        "AppSpecification": {"ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/mine:1"},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    }
    assert front.call("CreateProcessingJob", request).json() == {
        "__type": "ValidationException",
        "message": "The image '1.dkr.ecr.us-east-1.amazonaws.com/mine:1' needs a container engine: "
        "neither docker nor podman is installed on this machine",
    }


def test_a_client_without_its_engine_is_none(programs: Path) -> None:
    put(programs, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(engines.NoEngineError, match="does not answer: Cannot connect"):
        engines.find()
    # What was not there may come.
    podman = put(programs, "podman", "exit 0")
    assert engines.find() == podman
