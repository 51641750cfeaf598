"""The notebook with plain boto3, from its first cell to its last."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import AWS
from tests.notebooks.conftest import Execute, Given, is_clean

EPOCHS, TRIALS = 15, 6


def test_every_cell(execute: Execute, given: Given, aws: AWS) -> None:
    seen = execute(
        "recommender.ipynb",
        Path(sys.executable),
        {
            "run": "RUN",
            "funnel": "report['funnel']",
            "unusable": "report['malformed']['total']",
            "reviews": "int(stars_given['reviews'].sum())",
            "curve": "curve",
            "final": "final",
            "live": "live",
            "live_recordio": "same",
            "batch": "predicted[:len(live)].tolist()",
            "rmse": "float(mine['rmse'])",
            "metrics": "metrics",
            "recommended": "recommended",
            "objective": "objective",
            "best": "best['job']",
            "best_trial": "trials[int(np.argmin(objective))]['TrainingJobName']",
            "best_rmse": "float(best_rmse)",
            "interval": "[float(low), float(difference.mean()), float(high)]",
            "left": "left",
        },
    )
    assert seen["funnel"] == given.truth["funnel"]
    assert seen["unusable"] == given.truth["malformed"]["total"]
    assert seen["reviews"] >= given.truth["funnel"][0]["ratings"]

    assert len(seen["curve"]) == EPOCHS
    assert seen["curve"] == sorted(seen["curve"], reverse=True)
    assert seen["curve"][-1] == seen["final"]["train:rmse"]

    assert seen["live"] == seen["live_recordio"]
    assert seen["batch"] == pytest.approx(seen["live"], abs=1e-5)

    metrics = seen["metrics"]
    assert seen["rmse"] == pytest.approx(metrics["model"]["rmse"])
    assert given.truth["attainable"]["rmse"] < seen["rmse"] < metrics["mean"]["rmse"]
    assert [item["rank"] for item in seen["recommended"]["items"]] == list(range(1, 11))

    assert len(seen["objective"]) == TRIALS
    assert seen["best"] == seen["best_trial"]
    assert min(seen["objective"]) < seen["final"]["test:rmse"]
    assert given.truth["attainable"]["rmse"] < seen["best_rmse"] < metrics["mean"]["rmse"]
    low, middle, high = seen["interval"]
    assert low < middle < high
    assert middle == pytest.approx(seen["best_rmse"] ** 2 - seen["rmse"] ** 2)

    assert seen["left"] == []
    assert is_clean(aws, seen["run"], trainings=1 + TRIALS)
