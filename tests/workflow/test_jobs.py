"""How jobs ended, and which model is the run's."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.workflow.errors import EvaluationError
from matinee.workflow.jobs import require_completed


@pytest.mark.parametrize("kind", ["TrainingJob", "HyperParameterTuningJob", "TransformJob"])
def test_completed_is_fine(kind: str) -> None:
    require_completed({f"{kind}Name": "n", f"{kind}Status": "Completed"}, kind)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"},
            r"TrainingJob n ended as Stopped \(MaxRuntimeExceeded\), not as Completed",
        ),
        ({"TrainingJobStatus": "Stopped"}, r"ended as Stopped \(Stopped\)"),
        ({"TrainingJobStatus": "Failed"}, "ended as Failed"),
    ],
)
def test_another_end_is_refused(description: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        require_completed({"TrainingJobName": "n", **description}, "TrainingJob")
