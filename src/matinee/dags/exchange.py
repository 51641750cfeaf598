"""What the tasks of the DAG hand to each other, and what all of them do alike.

Small values go through XCom under the keys below, everything else through S3 by its URI. What the
workflow refuses ends a task for good, since another try would refuse it again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Asset, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from matinee.workflow.errors import WorkflowError

if TYPE_CHECKING:
    from matinee.workflow.jobs import Trained
    from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

# What tasks hand on beside what they return: `preprocess` returns what `prepare` is mapped over,
# `branch` and `gate` which task comes next.
PREPROCESSED, PREPARED, GATED = "preprocessed", "prepared", "gated"
# The key by which a later run finds this one's model, and the model that an earlier one has left.
TRAINED_BY, REUSED = "trained_by", "reused"
# What each took, for the report.
STEP = "step"

# What a run makes, for DAGs that are to start when it is new. Each event tells the run and the URI.
DATA = Asset("recommender-data", group="recommender")
PREDICTIONS = Asset("recommender-predictions", group="recommender")
MODEL = Asset("recommender-model", group="recommender")


@contextmanager
def final_refusals() -> Iterator[None]:
    """Fail at once where the workflow refuses its input: another try would refuse it again."""
    try:
        yield
    except WorkflowError as error:
        raise AirflowFailException(str(error)) from error


@contextmanager
def step() -> Iterator[None]:
    """Do a task's work: what it refuses is final, what it took is told."""
    from matinee.workflow.steps import measured

    ti = get_current_context()["ti"]
    with final_refusals(), measured(ti.task_id, lambda step: ti.xcom_push(STEP, step)):
        yield


def settings_of(params: Mapping[str, Any]) -> Settings:
    """Read a run's parameters.

    Raises
    ------
    SettingsError
        Naming everything that is wrong.
    """
    from matinee.workflow.settings import Settings

    settings = Settings.from_parameters(params)
    # Who may start a run may not read every file of the machine that its tasks run on.
    settings.refuse_local_files()
    return settings


def settings_in(context: Mapping[str, Any]) -> Settings:
    """Read a run's parameters in one of its tasks; see `settings_of`.

    A backfill takes the ratings before the end of its data interval, unless it is told otherwise.
    """
    params = dict(context["params"])
    if params["until"] is None and context["dag_run"].run_type == "backfill":
        end = context["data_interval_end"].astimezone(UTC)
        params["until"] = f"{end:%Y-%m-%dT%H:%M:%SZ}"
    return settings_of(params)


def run_of(run_id: str) -> str:
    """Return the name of a run, by the id that Airflow gave it."""
    from matinee.workflow.settings import run_name

    return run_name(run_id)


def trained(ti: Any) -> Trained:
    """Return the model of a run, which an earlier one may have trained."""
    reused = ti.xcom_pull(task_ids="branch", key=REUSED)
    return cast("Trained", reused or ti.xcom_pull(task_ids="choose"))


def trained_by(ti: Any) -> dict[str, Any]:
    """Return the jobs that trained the run's models, as `select` takes them."""
    if tuned := ti.xcom_pull(task_ids="tune"):
        return {"tuning_job": tuned["Tuning"]["HyperParameterTuningJobName"]}
    results = [*ti.xcom_pull(task_ids=["train"]), *ti.xcom_pull(task_ids=["train_each"])]
    return {
        "training_jobs": [
            result["Training"]["TrainingJobName"] for result in results if result is not None
        ]
    }


def tell_event(context: Any, asset: Asset, uri: str) -> None:
    """Let the asset's event tell where the new one lies."""
    context["outlet_events"][asset].extra = {"run": run_of(context["run_id"]), "uri": uri}


def log_failure(context: Any) -> None:
    """Log in one line which task failed, and why."""
    ti, error = context["ti"], context.get("exception")
    reason = f"{type(error).__name__}: {error}" if error else "it was killed, or never started"
    logger.error(
        "task %s of run %s failed at try %s: %s",
        ti.task_id,
        context["run_id"],
        ti.try_number,
        " ".join(reason.split()),
    )


def predictions(ti: Any) -> str:
    """Return the URI of the batch transform job's output."""
    transform = ti.xcom_pull(task_ids="predict")["Transform"]
    return str(transform["TransformOutput"]["S3OutputPath"])
