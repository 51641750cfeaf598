"""The tasks that are SageMaker jobs: their requests, what precedes them and what follows.

The operators are stock; what they do not template, or take for success though it is none, is seen
to here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.configuration import conf

from matinee.dags.exchange import (
    PREDICTIONS,
    PREPARED,
    STEP,
    final_refusals,
    run_of,
    settings_of,
    tell_event,
    trained,
)
from matinee.dags.links import tell_page

if TYPE_CHECKING:
    from collections.abc import Mapping


def job_of(ti: Any, job: str) -> dict[str, Any]:
    """Return what the request of any job of the run needs besides the settings."""
    from matinee.workflow.requests import job_name

    prepared = ti.xcom_pull(task_ids="branch", key=PREPARED)
    return {
        "prepared": prepared,
        "name": job_name(prepared["run"], job, ti.try_number),
        "image": ti.xcom_pull(task_ids="start")["image"],
    }


def training_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `train`."""
    from matinee.workflow import requests

    with final_refusals():
        return requests.training_request(settings_of(params), **job_of(ti, "train"))


def tuning_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `tune`."""
    from matinee.workflow import requests

    with final_refusals():
        return requests.tuning_request(settings_of(params), **job_of(ti, "tune"))


def transform_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `predict`, for the model of whichever branch ran."""
    from matinee.workflow import requests

    with final_refusals():
        settings = settings_of(params)
        model = trained(settings, ti)["model"]
        return requests.transform_request(settings, **job_of(ti, "predict"), model=model)


# Of each task with a job: its part of the operator's result, what boto3 calls the job, its page.
_JOBS = {
    "train": ("Training", "TrainingJob", "training-jobs"),
    "tune": ("Tuning", "HyperParameterTuningJob", "tuning-jobs"),
    "predict": ("Transform", "TransformJob", "transform-jobs"),
}
# A trigger gives up after so many looks, unless the operator takes another number.
_TRIGGER_LOOKS = 480
# The longest that a transform job may run: SageMaker's quota.
_TRANSFORM_SECONDS = 5 * 24 * 3600


def before_job(context: Any) -> None:
    """Set what operators do not template, and stop what an earlier try left running.

    A killed task leaves its job running, and no other job of the run is due now. Also called when a
    deferred task goes on: its job has ended then.
    """
    import boto3

    from matinee.workflow.clean_up import stop_jobs

    operator, params = context["task"], context["params"]
    name = operator.task_id
    settings = settings_of(params)
    operator.deferrable = settings.deferrable
    operator.check_interval = settings.check_interval
    if settings.deferrable:
        seconds = settings.training_max_seconds
        if name == "tune":
            rounds = -(-settings.tuning_jobs // settings.tuning_parallel_jobs)
            operator.check_interval = max(
                settings.check_interval, seconds * rounds / _TRIGGER_LOOKS
            )
        if name == "predict":
            seconds = _TRANSFORM_SECONDS
        # Starting and uploading take time too, and only the job itself may decide that it is over.
        operator.max_attempts = round(2 * (seconds + 3600) / settings.check_interval)
    stop_jobs(run_of(context["run_id"]), boto3.client("sagemaker"))
    tell_page(context["ti"], _JOBS[name][2], job_of(context["ti"], name)["name"])


def after_job(context: Any, result: dict[str, Any]) -> None:
    """Refuse a job that was stopped: the operators take that for success."""
    from matinee.workflow.jobs import require_completed

    ti = context["ti"]
    part, kind, _ = _JOBS[ti.task_id]
    with final_refusals():
        require_completed(result[part], kind)
    seconds = (datetime.now(UTC) - ti.start_date).total_seconds()
    ti.xcom_push(STEP, {"name": ti.task_id, "seconds": seconds, "peak_memory_mb": None})
    if part == "Transform":
        uri = result[part]["TransformOutput"]["S3OutputPath"]
        tell_event(context, PREDICTIONS, uri)


# Of all job operators. print_log looks at a job only twice a minute, whatever check_interval says.
# No connection: the operators find AWS where the steps do.
JOB: dict[str, Any] = {
    "aws_conn_id": None,
    "pool": conf.get("matinee", "job_pool", fallback="default_pool"),
    "pre_execute": before_job,
    "post_execute": after_job,
}


def template(macro: str) -> dict[str, Any]:
    """Return a template that renders to a dict."""
    return cast("dict[str, Any]", f"{{{{ {macro}(params, ti) }}}}")
