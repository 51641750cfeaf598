"""The DAG `recommender`: from ratings in S3 to an evaluated recommender, with SageMaker's own jobs.

Parsing it touches neither network nor credentials. AWS is found as every boto3 client finds it, by
the environment or the machine's role: nothing here knows whether SageMaker is on AWS or on this
machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.sdk import DAG, Param, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from matinee.workflow.errors import WorkflowError
from matinee.workflow.parameters import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matinee.workflow.jobs import Trained
    from matinee.workflow.settings import Settings

# What another task returned when the task runs, a reference to it when the file is parsed.
Reference = Any
# What tasks hand on beside what they return: `preprocess` returns what `prepare` is mapped over,
# and `branch` which task comes next.
PREPROCESSED, PREPARED = "preprocessed", "prepared"

DOC = """
# Recommender

Ratings in S3 become a trained, evaluated recommender. Every run writes into its own folder under
the parameter `output`; the task `evaluate` names the `summary.json` that tells all of it.

| task | what it does |
|---|---|
| start | checks the parameters and names the run |
| preprocess | reads the ratings; reports malformed rows; filters, indexes and splits |
| prepare | encodes the splits for Factorization Machines, many ratings in several tasks at a time |
| branch | checks that all are encoded; chooses `train` or `tune` by the parameter `tune` |
| train, tune | a SageMaker training job, or a tuning job over many |
| predict | a SageMaker batch transform job over the test split |
| evaluate | RMSE, MSE, MAE beside two baselines; ten recommendations |
| clean_up | stops what still runs, deletes models and prepared data; also after a failure |

After a failure, clear the run from `prepare` on: `clean_up` has removed what `prepare` made.
"""


@contextmanager
def _final_refusals() -> Iterator[None]:
    """Fail at once where the workflow refuses its input: another try would refuse it again."""
    try:
        yield
    except WorkflowError as error:
        raise AirflowFailException(str(error)) from error


def _settings(params: Mapping[str, Any]) -> Settings:
    from matinee.workflow.settings import Settings

    settings = Settings.from_parameters(params)
    # Who may start a run may not read every file of the machine that its tasks run on.
    settings.refuse_local_files()
    return settings


def _run(run_id: str) -> str:
    from matinee.workflow.settings import run_name

    return run_name(run_id)


def _image(settings: Settings) -> str:
    import boto3

    from matinee.workflow.images import factorization_machines

    return settings.image or factorization_machines(boto3.session.Session().region_name)


def _trained(settings: Settings, ti: Any) -> Trained:
    from matinee.workflow.jobs import trained_model

    if settings.tune:
        result = ti.xcom_pull(task_ids="tune")["Tuning"]
        return trained_model(tuning_job=result["HyperParameterTuningJobName"])
    result = ti.xcom_pull(task_ids="train")["Training"]
    return trained_model(training_job=result["TrainingJobName"])


def _job(ti: Any, job: str) -> dict[str, Any]:
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

    with _final_refusals():
        return requests.training_request(_settings(params), **_job(ti, "train"))


def tuning_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `tune`."""
    from matinee.workflow import requests

    with _final_refusals():
        return requests.tuning_request(_settings(params), **_job(ti, "tune"))


def transform_request(params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Build the config of the task `predict`, for the model of whichever branch ran."""
    from matinee.workflow import requests

    with _final_refusals():
        settings = _settings(params)
        model = _trained(settings, ti)["model"]
        return requests.transform_request(settings, **_job(ti, "predict"), model=model)


def _before_job(context: Any) -> None:
    """Set what operators do not template, and stop what an earlier try left running.

    A killed task leaves its job running, and no other job of the run is due now.
    """
    import boto3

    from matinee.workflow.clean_up import stop_jobs

    context["task"].check_interval = context["params"]["check_interval"]
    stop_jobs(_run(context["run_id"]), boto3.client("sagemaker"))


def _after_job(_context: Any, result: dict[str, Any]) -> None:
    """Refuse a job that was stopped: the operators take that for success."""
    from matinee.workflow.jobs import require_completed

    kinds = {
        "Training": "TrainingJob",
        "Tuning": "HyperParameterTuningJob",
        "Transform": "TransformJob",
    }
    with _final_refusals():
        for part, kind in kinds.items():
            if part in result:
                require_completed(result[part], kind)


# Of all job operators. print_log looks at a job only twice a minute, and deferring gives up after
# 60 looks. No connection: the operators find AWS where the steps do.
_JOB: dict[str, Any] = {
    "aws_conn_id": None,
    "deferrable": False,
    "pre_execute": _before_job,
    "post_execute": _after_job,
}


def _template(macro: str) -> dict[str, Any]:
    """Return a template that renders to a dict."""
    return cast("dict[str, Any]", f"{{{{ {macro}(params, ti) }}}}")


with DAG(
    "recommender",
    description="Ratings in S3 to an evaluated recommender, with SageMaker",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    # Runs do not disturb each other, but two trainings at a time overload a small machine.
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    params={
        name: Param(
            parameter.default,
            description=parameter.help,
            section=parameter.section,
            **parameter.schema,
        )
        for name, parameter in PARAMETERS.items()
    },
    render_template_as_native_obj=True,
    user_defined_macros={
        "training_request": training_request,
        "tuning_request": tuning_request,
        "transform_request": transform_request,
    },
    tags=["matinee", "sagemaker"],
) as dag:

    @task(
        multiple_outputs=False,
        doc_md="Checks all parameters and names the run; prepares nothing outside Airflow.",
    )
    def start() -> dict[str, Any]:
        context = get_current_context()
        with _final_refusals():
            settings = _settings(context["params"])
            run = _run(context["run_id"])
            return {"run": run, "folder": settings.folder(run), "image": _image(settings)}

    @task(
        multiple_outputs=False,
        doc_md="Reads the ratings, reports malformed rows, filters, indexes and splits.",
    )
    def preprocess(started: Reference) -> list[Any]:
        from matinee.workflow.prepare import group_parts
        from matinee.workflow.preprocess import preprocess

        context = get_current_context()
        with _final_refusals():
            settings = _settings(context["params"])
            preprocessed = preprocess(settings, started)
            context["ti"].xcom_push(PREPROCESSED, preprocessed)
            return group_parts(settings, preprocessed)

    @task(
        multiple_outputs=False,
        doc_md="Encodes some parts of the splits as RecordIO-protobuf, the test split in chunks.",
    )
    def prepare(preprocessed: Reference, parts: Reference) -> list[Any]:
        from matinee.workflow.prepare import prepare_parts

        with _final_refusals():
            settings = _settings(get_current_context()["params"])
            return list(prepare_parts(settings, preprocessed, parts))

    @task.branch(doc_md="Checks that all is encoded; chooses `tune` or `train`, by `tune`.")
    def branch(preprocessed: Reference, prepared: Reference) -> str:
        from matinee.workflow.prepare import gather

        context = get_current_context()
        with _final_refusals():
            settings = _settings(context["params"])
            parts = [part for group in prepared for part in group]
            context["ti"].xcom_push(PREPARED, gather(settings, preprocessed, parts))
        return "tune" if settings.tune else "train"

    @task(
        multiple_outputs=False,
        doc_md="Measures the predictions and writes metrics.json and summary.json.",
    )
    def evaluate(preprocessed: Reference, predicted: Reference) -> dict[str, Any]:
        from matinee.workflow.evaluate import evaluate

        context = get_current_context()
        with _final_refusals():
            settings = _settings(context["params"])
            inputs = {
                "preprocessed": preprocessed,
                # Not as an argument: a branch skips what follows it at once but for its choice.
                "prepared": context["ti"].xcom_pull(task_ids="branch", key=PREPARED),
                "trained": _trained(settings, context["ti"]),
                "predictions": predicted["Transform"]["TransformOutput"]["S3OutputPath"],
            }
            return dict(evaluate(settings, inputs))

    @task(
        multiple_outputs=False,
        doc_md="Stops the run's jobs and deletes what nobody needs, whatever became of the run.",
    )
    def clean_up(started: Reference) -> dict[str, Any]:
        from matinee.workflow.clean_up import clean_up

        return dict(clean_up(_settings(get_current_context()["params"]), started))

    train = SageMakerTrainingOperator(
        task_id="train",
        doc_md="One training job, with the run's hyperparameters.",
        config=_template("training_request"),
        print_log=False,
        **_JOB,
    )
    tune = SageMakerTuningOperator(
        task_id="tune",
        doc_md="A tuning job: many training jobs, the best by `test:rmse` on the validation split.",
        config=_template("tuning_request"),
        **_JOB,
    )
    predict = SageMakerTransformOperator(
        task_id="predict",
        doc_md="A batch transform job: the model's stars for the test split.",
        config=_template("transform_request"),
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **_JOB,
    )

    started = start().as_setup()
    groups: Reference = preprocess(started)
    preprocessed = groups[PREPROCESSED]
    prepared = prepare.partial(preprocessed=preprocessed).expand(parts=groups)
    branch(preprocessed, prepared) >> [train, tune] >> predict
    evaluated = evaluate(preprocessed, predict.output)
    evaluated >> clean_up(started).as_teardown()
