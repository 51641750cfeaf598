"""The question to a person, which Airflow asks in the task `ask`, and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matinee.dags.exchange import GATED, final_refusals

if TYPE_CHECKING:
    from matinee.workflow.decision import Answer

APPROVE, REJECT = "Approve", "Reject"


def question(ti: Any) -> str:
    """Build the body of the question: what the gate found."""
    from matinee.workflow.gate import describe

    with final_refusals():
        return describe(ti.xcom_pull(task_ids="gate", key=GATED))


def answer_of(ti: Any) -> Answer | None:
    """Return what the person said; None where nobody was asked."""
    said = ti.xcom_pull(task_ids="ask")
    if said is None:
        return None
    return {
        "approved": said["chosen_options"] == [APPROVE],
        "by": said["responded_by_user"]["name"],
        "comment": said["params_input"].get("comment") or "",
    }
