"""The notebook with the SageMaker SDK, in the environment that its contract tests run in."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from matinee.workflow.objects import Objects
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.requests import training_request
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.contract.conftest import interpreter_of_sdk
from tests.notebooks.conftest import Execute, Given, is_clean

EPOCHS, TRIALS = 15, 6


def test_every_cell(
    execute: Execute, given: Given, aws: AWS, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = execute(
        "recommender_sagemaker_sdk.ipynb",
        interpreter_of_sdk("v2"),
        {
            "run": "RUN",
            "funnel": "report['funnel']",
            "reviews": "int(reviews['stars'].between(1, 5).sum())",
            "train": "__import__('hashlib').sha256(encode(splits['train'])).hexdigest()",
            "hyperparameters": "job['HyperParameters']",
            "curve": "curve",
            "final": "final",
            "live": "live",
            "batch": "predicted[:len(live)].tolist()",
            "measured": "measured.to_dict('index')",
            "recommended": "recommended",
            "objective": "objective.tolist()",
            "best": "best.latest_training_job.name",
            "best_trial": "trials.loc[objective.idxmin(), 'TrainingJobName']",
            "best_rmse": "float(best_rmse)",
            "interval": "[float(low), float(difference.mean()), float(high)]",
            "left": "left",
        },
    )
    assert seen["funnel"] == given.truth["funnel"]
    assert seen["reviews"] >= given.truth["funnel"][0]["ratings"]

    find_by(aws.environment, monkeypatch)
    same = _training_of_the_workflow(given)
    assert seen["train"] == same["train"]
    assert seen["hyperparameters"] == same["hyperparameters"]

    assert len(seen["curve"]) == EPOCHS
    assert seen["curve"] == sorted(seen["curve"], reverse=True)
    assert seen["curve"][-1] == seen["final"]["train:rmse"]
    assert seen["batch"] == pytest.approx(seen["live"], abs=1e-5)

    measured = {name: errors["RMSE"] for name, errors in seen["measured"].items()}
    rmse, of_mean = measured["Factorization Machines"], measured["mean of all stars"]
    assert given.truth["attainable"]["rmse"] < rmse < of_mean
    assert [item["rank"] for item in seen["recommended"]["items"]] == list(range(1, 11))

    assert len(seen["objective"]) == TRIALS
    assert seen["best"] == seen["best_trial"]
    assert min(seen["objective"]) < seen["final"]["test:rmse"]
    assert given.truth["attainable"]["rmse"] < seen["best_rmse"] < of_mean
    low, middle, high = seen["interval"]
    assert low < middle < high
    assert middle == pytest.approx(seen["best_rmse"] ** 2 - rmse**2)

    assert seen["left"] == []
    assert is_clean(aws, seen["run"], trainings=1 + TRIALS)


def _training_of_the_workflow(given: Given) -> dict[str, Any]:
    """Return what the other notebook, and the DAG, train on, and how."""
    parameters = {"ratings": given.ratings, "output": f"s3://{given.bucket}/workflow"}
    settings = Settings.from_parameters(parameters)
    prepared = prepare(settings, dict(preprocess(settings, {"run": "same"})))
    [train] = Objects().list(prepared["train"])
    return {
        "train": hashlib.sha256(Objects().read(train)).hexdigest(),
        "hyperparameters": training_request(settings, prepared, name="same", image="same")[
            "HyperParameters"
        ],
    }
