"""The evaluate step, over predictions whose errors are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from matinee.workflow.errors import EvaluationError
from matinee.workflow.evaluate import evaluate, read_predictions
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv, grid
from tests.workflow.test_recommend import put_model

Put = Callable[[str, bytes | str], str]


def lines(*scores: float) -> str:
    return "".join(json.dumps({"score": score}) + "\n" for score in scores)


@pytest.fixture
def settings(put: Put, bucket: str) -> Settings:
    return Settings.from_parameters(
        {"ratings": put("r.csv", as_csv(grid(12, 12))), "output": f"s3://{bucket}/runs"}
    )


@pytest.fixture
def inputs(put: Put, settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """A run up to predictions that are always half a star too high."""
    preprocessed = preprocess(settings, {"run": "matinee-1"})
    [part] = preprocessed["ratings"]["test"]
    path = tmp_path / "test.parquet"
    Objects().download(part["uri"], path)
    stars = pq.read_table(path).column("stars").to_pylist()
    uri = put(
        "runs/matinee-1/predict/p-1/test_0.protobuf.out", lines(*(star + 0.5 for star in stars))
    )
    return {
        "preprocessed": preprocessed,
        "prepared": prepare(settings, dict(preprocessed)),
        "trained": {
            "job": "matinee-1-train-1",
            "tuned": False,
            "tuning_job": None,
            "hyperparameters": {"epochs": "10"},
            "model": put_model(put, tmp_path, [0.0] * 12, customers=12),
        },
        "predictions": uri.rpartition("/")[0],
    }


def test_the_errors_of_the_predictions_are_measured(
    settings: Settings, inputs: dict[str, Any]
) -> None:
    outputs = evaluate(settings, inputs)
    metrics = Objects().read_json(outputs["metrics"])
    assert metrics["rows"] == inputs["preprocessed"]["rating_counts"]["test"]
    assert metrics["model"] == {"rmse": 0.5, "mse": 0.25, "mae": 0.5}
    assert outputs["rmse"] == 0.5
    for baseline in ("mean", "bias"):
        assert metrics[baseline]["mse"] == pytest.approx(metrics[baseline]["rmse"] ** 2)
        assert metrics[baseline]["rmse"] > metrics[baseline]["mae"] > 0.5


def test_the_mean_is_that_of_the_training_ratings(
    settings: Settings, inputs: dict[str, Any], tmp_path: Path
) -> None:
    metrics = Objects().read_json(evaluate(settings, inputs)["metrics"])
    stars = {}
    for split in ("train", "test"):
        [part] = inputs["preprocessed"]["ratings"][split]
        Objects().download(part["uri"], tmp_path / "split")
        stars[split] = pq.read_table(tmp_path / "split").column("stars").to_numpy()
    off = stars["test"].astype("f8") - stars["train"].astype("f8").mean()
    assert metrics["mean"]["mse"] == pytest.approx(np.mean(off**2))


def test_the_models_recommendations_are_ranked(settings: Settings, inputs: dict[str, Any]) -> None:
    ranking = Objects().read_json(evaluate(settings, inputs)["metrics"])["ranking"]
    assert ranking["protocol"]["catalogue"] == 12
    # The same stars for all: videos are ranked in their order.
    low, high = ranking["model"]["intervals"]["ndcg"]
    assert 0 < low < ranking["model"]["ndcg"] < high < 1
    assert ranking["model"].keys() == ranking["popular"].keys()


def test_what_is_no_model_is_refused(settings: Settings, inputs: dict[str, Any], put: Put) -> None:
    inputs["trained"]["model"] = put("model", b"text")
    with pytest.raises(EvaluationError, match=r"s3://.*/model cannot be used: "):
        evaluate(settings, inputs)


def test_the_summary_tells_the_whole_run(
    settings: Settings, inputs: dict[str, Any], bucket: str
) -> None:
    outputs = evaluate(settings, inputs)
    folder = f"s3://{bucket}/runs/matinee-1"
    assert outputs["summary"] == f"{folder}/summary.json"
    summary = Objects().read_json(outputs["summary"])
    report = Objects().read_json(f"{folder}/preprocess/report.json")
    assert list(summary) == [
        "run",
        "settings",
        "funnel",
        "malformed",
        "training",
        "metrics",
        "recommendations",
        "artifacts",
    ]
    assert Settings.from_parameters(summary["settings"]) == settings
    assert summary["funnel"] == report["funnel"]
    assert summary["malformed"] == report["malformed"]
    assert summary["training"] == {
        "job": "matinee-1-train-1",
        "tuned": False,
        "tuning_job": None,
        "hyperparameters": {"epochs": "10"},
    }
    assert summary["metrics"] == Objects().read_json(f"{folder}/metrics.json")
    assert summary["recommendations"]["items"] == []
    assert summary["artifacts"]["model"] == inputs["trained"]["model"]
    assert summary["artifacts"]["predictions"] == f"{folder}/predict/p-1"


def test_evaluating_again_gives_the_same_bytes(settings: Settings, inputs: dict[str, Any]) -> None:
    first = Objects().read(evaluate(settings, inputs)["summary"])
    assert Objects().read(evaluate(settings, inputs)["summary"]) == first


def test_chunks_are_read_by_number_not_by_name(put: Put, bucket: str) -> None:
    for number in range(11):
        put(f"p/test_{number}.protobuf.out", lines(number))
    scores = read_predictions(Objects(), f"s3://{bucket}/p/", [1] * 11)
    assert scores.tolist() == list(range(11))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines(1), "test_0.protobuf.out has 1 predictions for 2 test ratings"),
        (lines(1, 2, 3), "has 3 predictions for 2"),
        (lines(1) + "{}\n", "line 2: b'{}' is not a JSON object with a number as score"),
        (lines(1) + "[2]\n", "line 2"),
        (lines(1) + "2.5,\n", "line 2"),
        (lines(1) + '{"score": null}', "line 2"),
        (lines(1) + '{"score": "x"}', "line 2"),
        (lines(1) + '{"score": NaN}\n', "line 2: the score is nan"),
    ],
)
def test_predictions_that_are_not_one_for_each_rating_are_refused(
    put: Put, bucket: str, content: str, message: str
) -> None:
    put("p/test_0.protobuf.out", content)
    with pytest.raises(EvaluationError) as refusal:
        read_predictions(Objects(), f"s3://{bucket}/p", [2])
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "but lacks s3://{}/p/test_0.protobuf.out, s3://{}/p/test_1.protobuf.out"),
        (["test_1.protobuf.out"], "but lacks s3://{}/p/test_0.protobuf.out"),
        (
            ["test_0.protobuf.out", "test_1.protobuf.out", "test_2.protobuf.out"],
            "but has also s3://{}/p/test_2.protobuf.out",
        ),
    ],
)
def test_outputs_that_do_not_fit_the_chunks_are_refused(
    put: Put, bucket: str, names: list[str], message: str
) -> None:
    put("other", "x")
    for name in names:
        put(f"p/{name}", lines(1))
    with pytest.raises(EvaluationError) as refusal:
        read_predictions(Objects(), f"s3://{bucket}/p", [1, 1])
    assert str(refusal.value).endswith(message.format(bucket, bucket))
