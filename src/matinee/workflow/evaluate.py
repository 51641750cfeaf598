"""The evaluate step: how good the batch predictions are, beside predictions that need no model.

Writes `metrics.json` and `summary.json`, the one document that tells the whole run. Refuses
predictions that are not exactly one for each test rating.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from matinee.workflow.errors import EvaluationError
from matinee.workflow.features import open_space
from matinee.workflow.metrics import BASELINES, measure
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import Prepared, Ratings, read_ratings
from matinee.workflow.recommend import recommend
from matinee.workflow.recommender import load_model
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)


class Evaluated(TypedDict):
    """Where the results lie, and the model's own error."""

    run: str
    metrics: str
    summary: str
    rmse: float


def evaluate(settings: Settings, inputs: dict[str, Any]) -> Evaluated:
    """Measure the predictions and sum up the run.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed`, `prepared` and `trained`, as those steps returned them, and `predictions`,
        the URI of the batch transform job's output.

    Returns
    -------
    Evaluated

    Raises
    ------
    ObjectsError
        If an input is missing.
    EvaluationError
        If the predictions are not one number for each test rating, or the model is none or does not
        fit the run's features.
    """
    objects = Objects()
    preprocessed: Preprocessed = inputs["preprocessed"]
    prepared: Prepared = inputs["prepared"]
    trained = inputs["trained"]
    run = preprocessed["run"]
    folder = settings.folder(run)
    predicted = read_predictions(objects, inputs["predictions"], prepared["test_chunks"])
    ratings = _ratings(objects, preprocessed)
    with (
        open_space(preprocessed, objects) as space,
        tempfile.TemporaryDirectory(prefix="matinee-evaluate-") as scratch,
    ):
        machine = load_model(objects, trained["model"], space, Path(scratch))
        metrics = measure(predicted, ratings, machine.model, space, settings.seed)
    report = objects.read_json(preprocessed["report"])
    metrics_uri = f"{folder}/metrics.json"
    summary = {
        "run": run,
        "settings": settings.to_parameters(),
        "funnel": report["funnel"],
        "malformed": report["malformed"],
        "training": {name: value for name, value in trained.items() if name != "model"},
        "metrics": metrics,
        "recommendations": recommend(
            preprocessed, trained["model"], customer=None, seed=settings.seed
        ),
        "artifacts": {
            "model": trained["model"],
            "predictions": inputs["predictions"],
            "metrics": metrics_uri,
            "report": preprocessed["report"],
            "customers": preprocessed["customers"],
            "videos": preprocessed["videos"],
            "ratings": preprocessed["ratings"],
            **({"features": preprocessed["features"]} if "features" in preprocessed else {}),
        },
    }
    summary_uri = f"{folder}/summary.json"
    objects.write_json(metrics, metrics_uri)
    objects.write_json(summary, summary_uri)
    for predictor in ("model", *BASELINES):
        logger.info("%s: %s", predictor, json.dumps(metrics[predictor]))
    return {
        "run": run,
        "metrics": metrics_uri,
        "summary": summary_uri,
        "rmse": metrics["model"]["rmse"],
    }


def read_predictions(objects: Objects, folder: str, chunks: list[int]) -> NDArray[np.float64]:
    """Read the output of the batch transform job.

    Parameters
    ----------
    objects : Objects
    folder : str
        URI of the output: objects `test_0.protobuf.out`, `test_1.protobuf.out`, ..., JSON Lines.
    chunks : list of int
        The rows that each must have.

    Returns
    -------
    ndarray, shape (sum of chunks,)
        The scores, in the order of the test ratings.

    Raises
    ------
    EvaluationError
        If objects are missing or too many, or one has other rows than its chunk.
    """
    expected = [f"{folder.rstrip('/')}/test_{n}.protobuf.out" for n in range(len(chunks))]
    found = set(objects.list(folder))
    for problem, uris in (
        ("lacks", [uri for uri in expected if uri not in found]),
        ("has also", sorted(found - set(expected))),
    ):
        if uris:
            raise EvaluationError(
                f"{folder} must hold one object for each of the {len(chunks)} test objects, but"
                f" {problem} {', '.join(uris)}"
            )
    scores: list[NDArray[np.float64]] = []
    for uri, rows in zip(expected, chunks, strict=True):
        lines = [line for line in objects.read(uri).split(b"\n") if line.strip()]
        if len(lines) != rows:
            raise EvaluationError(f"{uri} has {len(lines)} predictions for {rows} test ratings")
        values = (_score(line, uri, number) for number, line in enumerate(lines, start=1))
        scores.append(np.fromiter(values, np.float64, rows))
    return np.concatenate(scores)


def _score(line: bytes, uri: str, number: int) -> float:
    try:
        score = float(json.loads(line)["score"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{uri}, line {number}: {line[:200]!r} is not a JSON object with a number as score"
        ) from error
    if not math.isfinite(score):
        raise EvaluationError(f"{uri}, line {number}: the score is {score}")
    return score


def _ratings(objects: Objects, preprocessed: Preprocessed) -> dict[str, Ratings]:
    with tempfile.TemporaryDirectory(prefix="matinee-evaluate-") as scratch:
        path = Path(scratch) / "ratings.parquet"
        ratings = {}
        for split, parts in preprocessed["ratings"].items():
            columns = []
            for part in parts:
                objects.download(part["uri"], path)
                columns.append(read_ratings(path, part["uri"]))
            ratings[split] = Ratings(*map(np.concatenate, zip(*columns, strict=True)))
        return ratings
