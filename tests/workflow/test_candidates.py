"""The model of a run among several, from real jobs of the real local SageMaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matinee.fm import FactorizationMachine
from matinee.workflow.candidates import select
from matinee.workflow.errors import EvaluationError
from matinee.workflow.features import open_space
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import Prepared, prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.requests import configuration_request, tuning_request
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.sagemaker.jobs.conftest import until
from tests.workflow.conftest import as_csv, grid

Put = Callable[[str, bytes | str], str]
RUN = "matinee-several"
PARAMETERS = {
    "features": ["history"],
    "preset": "bayesian",
    "num_factors": 2,
    "burn_in": 1,
    "role": "arn:aws:iam::000000000000:role/matinee-sagemaker",
}


@pytest.fixture
def sagemaker(aws: AWS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    find_by(aws.environment, monkeypatch)
    client = aws.client("sagemaker")
    yield client
    client.close()


def steps(settings: Settings) -> tuple[Preprocessed, Prepared]:
    preprocessed = preprocess(settings, {"run": RUN})
    return preprocessed, prepare(settings, dict(preprocessed))


def machine(uri: str, path: Path) -> FactorizationMachine:
    Objects().download(uri, path)
    return FactorizationMachine.load(path)


def test_the_best_configurations_become_one_model(
    put: Put, bucket: str, sagemaker: Any, tmp_path: Path
) -> None:
    settings = Settings.from_parameters(
        {
            **PARAMETERS,
            "ratings": put("r.csv", as_csv(grid(20, 20))),
            "output": f"s3://{bucket}/runs",
            "configurations": [
                {"epochs": 2},
                {"epochs": 30},
                {"num_factors": 3, "epochs": 25},
            ],
            "ensemble_size": 2,
        }
    )
    preprocessed, prepared = steps(settings)
    names = []
    for number in range(3):
        request = configuration_request(settings, prepared, number, attempt=1, image="matinee-fm")
        assert request["HyperParameters"]["field_dims"] == "20,20,20"
        sagemaker.create_training_job(**request)
        names.append(request["TrainingJobName"])
    assert names == [f"{RUN}-train-{number}-1" for number in range(3)]
    errors = {}
    for name in names:
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        metrics = sagemaker.describe_training_job(TrainingJobName=name)["FinalMetricDataList"]
        [errors[name]] = [
            metric["Value"] for metric in metrics if metric["MetricName"] == "test:rmse"
        ]
    selected = select(settings, {"run": RUN, "training_jobs": names})
    order = sorted(names, key=errors.__getitem__)
    assert [member["job"] for member in selected["members"]] == order[:2]
    assert selected["job"] == order[0]
    assert not selected["tuned"]
    assert selected["model"] == f"s3://{bucket}/runs/{RUN}/ensemble/model.tar.gz"
    ensemble = machine(selected["model"], tmp_path / "ensemble")
    members = [machine(member["model"], tmp_path / "member") for member in selected["members"]]
    with open_space(preprocessed) as space:
        rows = space.encode(np.repeat(np.arange(20), 20), np.tile(np.arange(20), 20))
    mean = np.mean([member.predict(rows) for member in members], axis=0)
    np.testing.assert_allclose(ensemble.predict(rows), mean, atol=1e-4)
    assert np.abs(members[0].predict(rows) - members[1].predict(rows)).max() > 1e-3
    alone = select(
        Settings.from_parameters({**settings.to_parameters(), "ensemble_size": 1}),
        {"run": RUN, "training_jobs": names},
    )
    assert alone["model"] == selected["members"][0]["model"]


def test_the_best_trials_become_one_model(put: Put, bucket: str, sagemaker: Any) -> None:
    settings = Settings.from_parameters(
        {
            **PARAMETERS,
            "ratings": put("r.csv", as_csv(grid(20, 20))),
            "output": f"s3://{bucket}/runs",
            "tune": True,
            "epochs": 10,
            "tuning_ranges": {"num_factors": [1, 4]},
            "tuning_jobs": 3,
            "tuning_parallel_jobs": 2,
            "ensemble_size": 3,
        }
    )
    _, prepared = steps(settings)
    name = f"{RUN}-tune-1"
    request = tuning_request(settings, prepared, name=name, image="matinee-fm")
    sagemaker.create_hyper_parameter_tuning_job(**request)
    until(lambda: status_of(sagemaker, name) != "InProgress", 120)
    selected = select(settings, {"run": RUN, "tuning_job": name})
    best = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert selected["job"] == best["BestTrainingJob"]["TrainingJobName"]
    assert selected["tuning_job"] == name
    errors = [member["rmse"] for member in selected["members"]]
    assert errors == sorted(errors)
    assert len(errors) == 3
    # What tune did not try cannot be averaged.
    more = Settings.from_parameters(
        {**settings.to_parameters(), "tuning_jobs": 4, "ensemble_size": 4}
    )
    with pytest.raises(EvaluationError, match=r"an ensemble of 4 needs as many .* only 3 jobs"):
        select(more, {"run": RUN, "tuning_job": name})


def status_of(sagemaker: Any, name: str) -> str:
    described = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return str(described["HyperParameterTuningJobStatus"])
