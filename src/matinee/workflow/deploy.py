"""The last steps of publishing: an approved model goes into service, a rejected one is put aside.

Deploying updates the endpoint, asks it for some test ratings, and takes it back at once if it does
not answer what batch transform predicted. Whatever happens stands in the registry and in the run's
decision, with its reason.
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple, TypedDict

import boto3
import numpy as np
from botocore.exceptions import BotoCoreError, ClientError
from numpy.typing import NDArray

from matinee import recordio
from matinee.workflow.decision import Answer, Decision, Verdict
from matinee.workflow.endpoint import Endpoint, Served, hosting
from matinee.workflow.errors import PublishError
from matinee.workflow.evaluate import read_predictions
from matinee.workflow.gate import Gated
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import Prepared
from matinee.workflow.requests import JSON_LINES, RECORDIO
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

# Test ratings that the endpoint is asked for.
SMOKE_ROWS = 100
# Two machines need not add floats in the same order.
TOLERANCE = 1e-3
_LONGEST_REASON = 1024


class Published(TypedDict):
    """Where the decision stands, and the endpoint that serves the model, if one does."""

    run: str
    decision: str
    reason: str
    endpoint: str | None


def deploy(settings: Settings, inputs: dict[str, Any]) -> Published:
    """Approve a model, put it into service and see whether it answers rightly.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `gated` and `prepared`, as those steps returned them, `predictions`, the URI of the batch
        transform job's output, and `answer`, what a person said, or None.

    Returns
    -------
    Published

    Raises
    ------
    PublishError
        If the endpoint was changed since the gate looked, does not come into service, or answers
        wrongly; in the last two cases the model is rejected and the former one in service.
    """
    gated: Gated = inputs["gated"]
    candidate, replaces = gated["model_package"], gated["replaces"]
    sagemaker = boto3.client("sagemaker")
    endpoint = Endpoint(settings.endpoint, sagemaker, check_s=settings.check_interval)
    probe = _probe(inputs["prepared"], inputs["predictions"])
    former = endpoint.served()
    now = None if former is None else former.model_package
    # The candidate itself, where an earlier try of this step was cut off.
    if now not in (candidate, replaces):
        reason = (
            f"endpoint {settings.endpoint} serves {now or 'nothing'} now, but"
            f" {replaces or 'nothing'} when the gate compared"
        )
        _set_approval(sagemaker, candidate, "rejected", reason)
        _write(gated, "rejected", reason, None)
        raise PublishError(f"{reason}: run the workflow again")
    reason = _reason(gated, inputs["answer"])
    _set_approval(sagemaker, candidate, "approved", reason)
    try:
        endpoint.serve(candidate, hosting(settings))
        _smoke(settings.endpoint, probe)
    except (PublishError, BotoCoreError, ClientError) as error:
        reason = f"{error}; {_take_back(endpoint, candidate, replaces, former)}"
        _set_approval(sagemaker, candidate, "rejected", reason)
        _write(gated, "rejected", reason, None)
        raise PublishError(reason) from error
    return _write(gated, "approved", reason, settings.endpoint)


def reject(gated: Gated, answer: Answer | None) -> Published:
    """Put a model aside; the endpoint goes on as it is.

    Parameters
    ----------
    gated : Gated
        What the gate found.
    answer : Answer or None
        What a person said, if one was asked.
    """
    reason = _reason(gated, answer)
    _set_approval(boto3.client("sagemaker"), gated["model_package"], "rejected", reason)
    return _write(gated, "rejected", reason, None)


def _reason(gated: Gated, answer: Answer | None) -> str:
    if answer is None:
        return gated["found"]
    deed = "approved" if answer["approved"] else "rejected"
    comment = f" ({answer['comment']})" if answer["comment"] else ""
    return f"{deed} by {answer['by']}{comment}; {gated['found']}"


def _set_approval(sagemaker: Any, model_package: str, verdict: Verdict, reason: str) -> None:
    sagemaker.update_model_package(
        ModelPackageArn=model_package,
        ModelApprovalStatus=verdict.capitalize(),
        ApprovalDescription=reason[:_LONGEST_REASON],
    )


def _write(gated: Gated, verdict: Verdict, reason: str, endpoint: str | None) -> Published:
    objects = Objects()
    before: Decision = objects.read_json(gated["decision"])
    decision: Decision = {**before, "decision": verdict, "reason": reason, "endpoint": endpoint}
    objects.write_json(decision, gated["decision"])
    logger.info("%s: %s", verdict, reason)
    return {
        "run": gated["run"],
        "decision": gated["decision"],
        "reason": reason,
        "endpoint": endpoint,
    }


def _take_back(
    endpoint: Endpoint, candidate: str, replaces: str | None, former: Served | None
) -> str:
    """Put what was in service before into service again; say what was done."""
    if replaces is None or former is None:
        endpoint.delete()
        return "as before, no model is in service"
    served = endpoint.served()
    if served is not None and served.model_package == candidate:
        endpoint.serve(replaces, former.hosting)
        return f"the endpoint went back to {replaces}"
    return f"the endpoint still serves {replaces}"


class _Probe(NamedTuple):
    """Test ratings for an endpoint, as RecordIO-protobuf, and the scores that it must answer."""

    body: bytes
    expected: NDArray[np.float64]


def _probe(prepared: Prepared, predictions: str) -> _Probe:
    objects = Objects()
    expected = read_predictions(objects, predictions, prepared["test_chunks"])
    records = recordio.decode(objects.read(f"{prepared['test']}test_0.protobuf"))
    features = records.features[:SMOKE_ROWS]
    return _Probe(recordio.encode(features), expected[: features.shape[0]])


def _smoke(endpoint: str, probe: _Probe) -> None:
    """Ask the endpoint for some test ratings; they must be predicted as batch transform did."""
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, ContentType=RECORDIO, Accept=JSON_LINES, Body=probe.body
    )
    body: bytes = answer["Body"].read()
    try:
        scores = np.array([json.loads(line)["score"] for line in body.splitlines()], np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"endpoint {endpoint} answers something else than scores: {body[:200]!r}"
        ) from error
    expected = probe.expected
    if len(scores) != len(expected):
        raise PublishError(
            f"endpoint {endpoint} answers {len(scores)} scores for {len(expected)} ratings"
        )
    wrong = ~np.isclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PublishError(
            f"endpoint {endpoint} answers wrongly: {int(wrong.sum())} of {len(expected)} test"
            f" ratings differ from batch transform's, the first, number {row}, is"
            f" {scores[row]:.6f} instead of {expected[row]:.6f}"
        )
