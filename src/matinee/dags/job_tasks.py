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

    from matinee.workflow.settings import Settings


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
        request = requests.training_request(settings_of(params), **job_of(ti, "train"))
        return _tagged(request, ti)


def tuning_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `tune`."""
    from matinee.workflow import requests

    with final_refusals():
        return _tagged(requests.tuning_request(settings_of(params), **job_of(ti, "tune")), ti)


def transform_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `predict`, for the model of whichever branch ran."""
    from matinee.workflow import requests

    with final_refusals():
        request = requests.transform_request(
            settings_of(params), **job_of(ti, "predict"), model=trained(ti)["model"]
        )
        return {**request, "Transform": _tagged(request["Transform"], ti)}


def _configuration_request(settings: Settings, ti: Any, number: int) -> dict[str, Any]:
    from matinee.workflow import requests

    job = job_of(ti, "train")
    request = requests.configuration_request(
        settings, job["prepared"], number, attempt=ti.try_number, image=job["image"]
    )
    return _tagged(request, ti)


def _tagged(request: dict[str, Any], ti: Any) -> dict[str, Any]:
    """Add the tag by which a job is found from the run, and the run from the job."""
    # Of what Airflow allows in an id, SageMaker refuses this in a tag.
    run_id = ti.run_id.replace("~", "_")
    return {**request, "Tags": [{"Key": RUN_TAG, "Value": run_id[:_LONGEST_TAG]}]}


RUN_TAG = "airflow-run"
_LONGEST_TAG = 256
# Of each task with a job: its part of the operator's result, what boto3 calls the job, its page.
_JOBS = {
    "train": ("Training", "TrainingJob", "training-jobs"),
    "train_each": ("Training", "TrainingJob", "training-jobs"),
    "tune": ("Tuning", "HyperParameterTuningJob", "tuning-jobs"),
    "predict": ("Transform", "TransformJob", "transform-jobs"),
}
# A trigger gives up after so many looks, unless the operator takes another number.
_TRIGGER_LOOKS = 480
# The longest that a transform job may run: SageMaker's quota.
_TRANSFORM_SECONDS = 5 * 24 * 3600


def before_job(context: Any) -> None:
    """Set what operators do not template, and stop what an earlier try left running.

    A killed task leaves its job running, and no other job of the run is due now, but for those of
    the other configurations. Also called when a deferred task goes on: its job has ended then.
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
    ti, jobs = context["ti"], run_of(context["run_id"])
    if name == "train_each":
        # What it is mapped over is no template, and the job's name is to tell the try.
        number = operator.config["configuration"]
        operator.config = _configuration_request(settings, ti, number)
        jobs, job = f"{jobs}-train-{number}", operator.config["TrainingJobName"]
    else:
        job = job_of(ti, name)["name"]
    stop_jobs(jobs, boto3.client("sagemaker"))
    tell_page(ti, _JOBS[name][2], job)


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
