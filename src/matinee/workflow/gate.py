"""The gate step: may the new model take the place of the one in service?

Both predict the same held-out ratings. The candidate passes if its RMSE is, at the upper end of the
95 % interval, no more than `gate_tolerance` above that of the model in service: not worse, as far
as the test ratings can tell, and in doubt the old one stays. Where none is in service, it must beat
`gate_baseline` instead. The gate decides nothing where a person is to be asked; it tells what it
found. Refuses endpoints that are not the workflow's.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from matinee.workflow.baselines import errors
from matinee.workflow.comparison import Interval, predict_with, rmse_difference
from matinee.workflow.decision import (
    Decision,
    Difference,
    InService,
    Scores,
    Verdict,
    decision_uri,
)
from matinee.workflow.endpoint import Endpoint
from matinee.workflow.errors import EvaluationError, ObjectsError
from matinee.workflow.evaluate import read_predictions
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import Ratings, read_ratings
from matinee.workflow.runs import Run
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

_BASELINES = {"bias": "the biases of customers and videos", "mean": "the mean of all stars"}


class Gated(TypedDict):
    """What the gate found; `found` is its reason, also where a person decides."""

    run: str
    decision: str
    verdict: Verdict
    found: str
    model_package: str
    replaces: str | None


class _Finding(NamedTuple):
    """A comparison's outcome."""

    passed: bool
    reason: str
    rows: int
    candidate: Scores
    in_service: InService | None = None
    difference: Difference | None = None


def gate(settings: Settings, inputs: dict[str, Any]) -> Gated:
    """Compare a registered model with the one in service and write the decision.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed`, `prepared`, `evaluated` and `registered`, as those steps returned them, and
        `predictions`, the URI of the batch transform job's output.

    Returns
    -------
    Gated

    Raises
    ------
    ObjectsError
        If something of this run is missing.
    EvaluationError
        If the predictions are not one for each test rating.
    PublishError
        If the endpoint serves what the workflow did not publish.
    """
    objects = Objects()
    sagemaker = boto3.client("sagemaker")
    run = inputs["registered"]["run"]
    candidate = inputs["registered"]["model_package"]
    served = Endpoint(settings.endpoint, sagemaker, check_s=settings.check_interval).served()
    if served is None:
        finding = _beside_baseline(settings, objects.read_json(inputs["evaluated"]["metrics"]))
    else:
        package = sagemaker.describe_model_package(ModelPackageName=served.model_package)
        finding = _beside_in_service(settings, objects, inputs, package)
    verdict: Verdict = "approved" if finding.passed else "rejected"
    found = reason = finding.reason
    if settings.approval == "person":
        found = f"the gate would have {verdict} it: {found}"
        verdict, reason = "asked", f"a person is asked; {found}"
    decision: Decision = {
        "decision": verdict,
        "reason": reason,
        "run": run,
        "test_rows": finding.rows,
        "candidate": finding.candidate,
        "in_service": finding.in_service,
        "difference": finding.difference,
        "model_package": candidate,
        "replaces": None if served is None else served.model_package,
        "endpoint": None,
    }
    uri = decision_uri(settings, run)
    objects.write_json(decision, uri)
    logger.info("%s: %s", verdict, reason)
    return {
        "run": run,
        "decision": uri,
        "verdict": verdict,
        "found": found,
        "model_package": candidate,
        "replaces": decision["replaces"],
    }


def describe(gated: Gated) -> str:
    """Return what the gate found as Markdown, for the person who decides."""
    decision: Decision = Objects().read_json(gated["decision"])
    lines = [
        f"{gated['found'][0].upper()}{gated['found'][1:]}.",
        "",
        f"| on {decision['test_rows']:,} test ratings | RMSE | MAE |",
        "|---|---|---|",
        _row(f"candidate: {decision['model_package']}", decision["candidate"]),
    ]
    if (in_service := decision["in_service"]) is not None:
        lines.append(_row(f"in service: {in_service['model_package']}", in_service))
    return "\n".join(lines)


def _row(title: str, scores: Scores) -> str:
    return f"| {title} | {scores['rmse']:.4f} | {scores['mae']:.4f} |"


def _beside_baseline(settings: Settings, metrics: Mapping[str, Any]) -> _Finding:
    rmse, rows = metrics["model"]["rmse"], metrics["rows"]
    scores: Scores = {"rmse": rmse, "mae": metrics["model"]["mae"]}
    if settings.gate_baseline == "none":
        reason = f"no model is in service and none has to be beaten: RMSE {rmse:.4f}"
        return _Finding(True, reason, rows, scores)
    bar = metrics[settings.gate_baseline]["rmse"]
    passed = rmse < bar
    deed = "is below" if passed else "is not below"
    reason = (
        f"no model is in service; RMSE {rmse:.4f} on {rows:,} test ratings {deed} {bar:.4f}, that"
        f" of {_BASELINES[settings.gate_baseline]}"
    )
    if not passed:
        reason += " (gate_baseline)"
    return _Finding(passed, reason, rows, scores)


def _beside_in_service(
    settings: Settings, objects: Objects, inputs: dict[str, Any], package: Mapping[str, Any]
) -> _Finding:
    preprocessed: Preprocessed = inputs["preprocessed"]
    test, sides = _test_ratings(objects, preprocessed)
    predicted = read_predictions(objects, inputs["predictions"], inputs["prepared"]["test_chunks"])
    metadata = package.get("CustomerMetadataProperties", {})
    name = f"{package['ModelPackageGroupName']}/{package['ModelPackageVersion']}"
    try:
        other = Run(objects.read_json(metadata.get("summary", "")), "in service").preprocessed
        model = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        others = predict_with(objects, model, other, preprocessed, test, sides)
    except (ObjectsError, EvaluationError) as error:
        reason = f"the model in service, {name}, cannot be compared: {error}"
        return _Finding(False, reason, len(test.stars), _scores(predicted, test.stars))
    fresh = others.fresh
    rows = int(fresh.sum())
    stars = test.stars[fresh]
    candidate, in_service = predicted[fresh], others.scores[fresh]
    difference = rmse_difference(candidate, in_service, stars, test.customer[fresh], settings.seed)
    if difference is None:
        reason = (
            f"of the {len(fresh):,} test ratings the model in service, {name}, was not trained on"
            f" {rows:,}, of fewer than two customers: too few to compare on"
        )
        return _Finding(False, reason, len(fresh), _scores(predicted, test.stars))
    passed = difference.high <= settings.gate_tolerance
    ours, theirs = _scores(candidate, stars), _scores(in_service, stars)
    return _Finding(
        passed,
        _reason(ours, theirs, name, metadata["run"], difference, rows, len(fresh), settings),
        rows,
        ours,
        {"run": metadata["run"], "model_package": package["ModelPackageArn"], **theirs},
        {"rmse": difference.estimate, "interval": [difference.low, difference.high]},
    )


def _reason(
    ours: Scores,
    theirs: Scores,
    name: str,
    run: str,
    difference: Interval,
    rows: int,
    all_rows: int,
    settings: Settings,
) -> str:
    tolerated = difference.high <= settings.gate_tolerance
    left_out = "" if rows == all_rows else f" of {all_rows:,}, without those it was trained on,"
    return (
        f"RMSE {ours['rmse']:.4f} beside {theirs['rmse']:.4f} of the model in service ({name}, run"
        f" {run}) on the same {rows:,} test ratings{left_out}: a difference of"
        f" {difference.estimate:+.4f}, 95 % interval {difference.low:+.4f} to"
        f" {difference.high:+.4f}, which {'stays within' if tolerated else 'reaches above'} the"
        f" tolerance of {settings.gate_tolerance:g}"
    )


def _scores(predicted: NDArray[np.float64], stars: NDArray[np.float32]) -> Scores:
    found = errors(predicted, stars)
    return {"rmse": found.rmse, "mae": found.mae}


def _test_ratings(objects: Objects, preprocessed: Preprocessed) -> tuple[Ratings, pa.Table]:
    """Read the test ratings, and what else is known of them."""
    columns, sides = [], []
    with tempfile.TemporaryDirectory(prefix="matinee-gate-") as scratch:
        path = Path(scratch) / "ratings.parquet"
        for part in preprocessed["ratings"]["test"]:
            objects.download(part["uri"], path)
            columns.append(read_ratings(path, part["uri"]))
            sides.append(pq.read_table(path).drop_columns(list(Ratings._fields)))
    ratings = Ratings(*map(np.concatenate, zip(*columns, strict=True)))
    return ratings, pa.concat_tables(sides)
