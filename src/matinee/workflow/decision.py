"""What became of a run's model, and why: `decision.json` in the run's folder.

The gate writes it, and whoever acts upon it (deploying, rejecting, rolling back) writes it anew,
with what came of that.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from matinee.workflow.settings import Settings

Verdict = Literal["approved", "rejected", "asked"]


class Scores(TypedDict):
    """How far predictions are off, in stars."""

    rmse: float
    mae: float


class InService(Scores):
    """The model in service, on the ratings that both were compared on."""

    run: str
    model_package: str


class Difference(TypedDict):
    """The candidate's RMSE less that of the model in service, with the 95 % interval of it."""

    rmse: float
    interval: list[float]


class Decision(TypedDict):
    """The document.

    `test_rows` are the ratings that `candidate` and `in_service` were measured on: those of the
    test split that the model in service was not trained on. `replaces` is the model package that
    was in service when the gate looked, whether or not it could be compared. `endpoint` is null
    until the model is in service.
    """

    decision: Verdict
    reason: str
    run: str
    test_rows: int
    candidate: Scores
    in_service: InService | None
    difference: Difference | None
    model_package: str
    replaces: str | None
    endpoint: str | None


class Answer(TypedDict):
    """What a person decided."""

    approved: bool
    by: str
    comment: str


def decision_uri(settings: Settings, run: str) -> str:
    """Return where a run's decision lies."""
    return f"{settings.folder(run)}/decision.json"
