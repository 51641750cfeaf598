"""What an endpoint may not answer. What it should, `matinee recommend`'s tests ask a real one."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from matinee.workflow.endpoint_scores import EndpointScores
from matinee.workflow.errors import EvaluationError


class Answering:
    """A runtime client whose endpoint gives one answer, whatever it is asked."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def invoke_endpoint(self, **_request: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._answer)}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"<html>", "endpoint e answered b'<html>', which has no predictions"),
        (b'{"predictions": [{"label": 1}]}', "which has no predictions with a score each"),
        (b'{"predictions": [{"score": 1}]}', "answered 1 scores for 2 records"),
        (b'{"predictions": [{"score": 1}, {"score": NaN}]}', "or some that are no number"),
    ],
)
def test_answers_that_are_no_scores_are_refused(answer: bytes, problem: str) -> None:
    with pytest.raises(EvaluationError, match=problem):
        EndpointScores("e", Answering(answer))(csr_matrix(np.eye(2, dtype=np.float32)))


def test_nothing_is_asked_for_no_records() -> None:
    nothing = csr_matrix((0, 2), dtype=np.float32)
    assert EndpointScores("e", Answering(json.dumps({}).encode()))(nothing).tolist() == []
