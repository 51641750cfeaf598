"""Cleaning up after a run, against the local SageMaker with real jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from matinee.workflow.clean_up import clean_up, stop_jobs
from matinee.workflow.errors import EvaluationError
from matinee.workflow.images import factorization_machines
from matinee.workflow.jobs import trained_model
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import Prepared, prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.requests import (
    job_name,
    training_request,
    transform_request,
    tuning_request,
)
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.workflow.conftest import as_csv, grid

Put = Callable[[str, bytes | str], str]

IMAGE = factorization_machines("us-east-1")
RUN = "matinee-cleaned"
# The list operations find this one too when asked for names that contain the other.
NEIGHBOUR = "matinee-cleaned0"


@pytest.fixture
def sagemaker(aws: AWS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the local SageMaker, which the steps find too; no job survives the test."""
    find_by(aws.environment, monkeypatch)
    client = aws.client("sagemaker")
    yield client
    for run in (RUN, NEIGHBOUR):
        assert stop_jobs(run, client)["still_stopping"] == []
    client.close()


@pytest.fixture
def settings(put: Put, bucket: str) -> Settings:
    """Settings of a training that would take days."""
    return Settings.from_parameters(
        {
            "ratings": put("r.csv", as_csv(grid(12, 12))),
            "output": f"s3://{bucket}/runs",
            "role": "arn:aws:iam::000000000000:role/matinee-sagemaker",
            "epochs": 1_000_000_000,
            "tuning_ranges": {"factors_lr": [0.001, 0.002]},
        }
    )


def prepared(settings: Settings, run: str) -> Prepared:
    return prepare(settings, dict(preprocess(settings, {"run": run})))


def start_training(sagemaker: Any, settings: Settings, run: str, attempt: int = 1) -> str:
    """Start a training job of a run; return its name when it has begun to train."""
    name = job_name(run, "train", attempt)
    request = training_request(settings, prepared(settings, run), name=name, image=IMAGE)
    sagemaker.create_training_job(**request)
    return name


def status(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])


def create_model(sagemaker: Any, settings: Settings, run: str) -> str:
    name = job_name(run, "predict", 1)
    request = transform_request(
        settings,
        prepared(settings, run),
        name=name,
        image=IMAGE,
        model=f"{settings.folder(run)}/train/model.tar.gz",
    )
    Objects().write_json({}, request["Model"]["PrimaryContainer"]["ModelDataUrl"])
    sagemaker.create_model(**request["Model"])
    return name


def test_a_run_without_leftovers_is_left_alone(sagemaker: Any, settings: Settings) -> None:
    del sagemaker
    assert clean_up(settings, {"run": RUN}) == {
        "run": RUN,
        "stopped_jobs": [],
        "still_stopping": [],
        "deleted_models": [],
        "deleted_endpoint_configs": [],
        "deleted_objects": 0,
    }


def test_jobs_that_run_are_stopped_but_not_the_neighbours(
    sagemaker: Any, settings: Settings
) -> None:
    jobs = [start_training(sagemaker, settings, RUN, attempt) for attempt in (1, 2)]
    neighbour = start_training(sagemaker, settings, NEIGHBOUR)
    done = clean_up(settings, {"run": RUN})
    assert sorted(done["stopped_jobs"]) == jobs
    assert done["still_stopping"] == []
    assert [status(sagemaker, job) for job in jobs] == ["Stopped", "Stopped"]
    assert status(sagemaker, neighbour) == "InProgress"
    assert clean_up(settings, {"run": RUN})["stopped_jobs"] == []


def test_a_stopped_training_job_has_no_model_to_use(sagemaker: Any, settings: Settings) -> None:
    job = start_training(sagemaker, settings, RUN, 3)
    stop_jobs(RUN, sagemaker)
    with pytest.raises(EvaluationError, match=rf"TrainingJob {job} ended as Stopped"):
        trained_model(training_job=job, client=sagemaker)


def test_a_tuning_job_is_stopped_with_its_training_jobs(sagemaker: Any, settings: Settings) -> None:
    name = job_name(RUN, "tune", 1)
    request = tuning_request(settings, prepared(settings, RUN), name=name, image=IMAGE)
    sagemaker.create_hyper_parameter_tuning_job(**request)
    deadline = time.monotonic() + 60
    while not (children := training_jobs_of(sagemaker, name)):
        assert time.monotonic() < deadline, "the tuning job started no training job"
    done = clean_up(settings, {"run": RUN})
    assert name in done["stopped_jobs"]
    assert done["still_stopping"] == []
    ended = [status(sagemaker, child) for child in training_jobs_of(sagemaker, name)]
    assert len(ended) >= len(children)
    assert set(ended) == {"Stopped"}
    with pytest.raises(EvaluationError, match=rf"HyperParameterTuningJob {name} ended as Stopped"):
        trained_model(tuning_job=name, client=sagemaker)


def training_jobs_of(sagemaker: Any, tuning_job: str) -> list[str]:
    answer = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning_job
    )
    return [summary["TrainingJobName"] for summary in answer["TrainingJobSummaries"]]


def test_jobs_that_do_not_end_in_time_are_told(sagemaker: Any, settings: Settings) -> None:
    job = start_training(sagemaker, settings, RUN, 4)
    assert stop_jobs(RUN, sagemaker, patience_s=0) == {
        "stopped_jobs": [job],
        "still_stopping": [job],
    }


def test_models_and_prepared_data_go_and_the_rest_stays(
    sagemaker: Any, settings: Settings, bucket: str
) -> None:
    models = [create_model(sagemaker, settings, run) for run in (RUN, NEIGHBOUR)]
    before = Objects().list(f"s3://{bucket}/runs")
    gone = [uri for uri in before if f"/{RUN}/prepare/" in uri]
    done = clean_up(settings, {"run": RUN})
    assert done["deleted_models"] == models[:1]
    assert done["deleted_objects"] == len(gone) == 3
    assert Objects().list(f"s3://{bucket}/runs") == [uri for uri in before if uri not in gone]
    sagemaker.delete_model(ModelName=models[1])
    assert sagemaker.list_models(NameContains=RUN)["Models"] == []
