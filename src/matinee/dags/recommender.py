"""The DAG `recommender`: from ratings in S3 to a recommender in service, with SageMaker's own jobs.

Parsing it touches neither network nor credentials. AWS is found as every boto3 client finds it, by
the environment or the machine's role: nothing here knows whether SageMaker is on AWS or on this
machine. What a deployment may decide stands in the section `[matinee]` of Airflow's configuration:
`schedule` (default: none), `job_pool` (default: `default_pool`) and `console`, see `links`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import DAG, Asset, Param, TaskGroup, TriggerRule, get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from matinee.dags.links import ConsoleLink, tell_page
from matinee.workflow.errors import WorkflowError
from matinee.workflow.parameters import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matinee.workflow.decision import Answer
    from matinee.workflow.jobs import Trained
    from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

# What another task returned when the task runs, a reference to it when the file is parsed.
Reference = Any
# What tasks hand on beside what they return: `preprocess` returns what `prepare` is mapped over,
# `branch`, `gate` and `ask` which task comes next.
PREPROCESSED, PREPARED, GATED, ANSWER = "preprocessed", "prepared", "gated", "answer"
# What each took, for the report, which names them in this order.
STEP = "step"
ORDER = [
    "preprocess",
    "check",
    "prepare",
    "train",
    "tune",
    "predict",
    "evaluate",
    "register",
    "gate",
    "deploy",
    "reject",
]
APPROVE, REJECT = "Approve", "Reject"

# What a run makes, for DAGs that are to start when it is new. Each event tells the run and the URI.
DATA = Asset("recommender-data", group="recommender")
PREDICTIONS = Asset("recommender-predictions", group="recommender")
MODEL = Asset("recommender-model", group="recommender")

DOC = """
# Recommender

Ratings in S3 become a trained, evaluated recommender in service. Every run writes into its own
folder under the parameter `output`; the task `evaluate` names the `summary.json` that tells all of
it, `gate` decides with reasons in `decision.json`.

| task | what it does |
|---|---|
| start | checks the parameters and names the run |
| preprocess | reads the ratings; reports malformed rows; filters, indexes and splits |
| check | refuses splits that nothing good can come of, and those with a rating in two |
| prepare | encodes the splits for Factorization Machines, many ratings in several tasks at a time |
| branch | checks that all are encoded; chooses `train` or `tune` by the parameter `tune` |
| train, tune | a SageMaker training job, or a tuning job over many |
| predict | a SageMaker batch transform job over the test split |
| evaluate | RMSE, MSE, MAE beside two baselines; ten recommendations |
| register | a version in the model registry; skipped, with all that follows, without `publish` |
| gate | compares with the model in service on the same test ratings: `deploy` or `reject` |
| ask | with the parameter `approval` at `person`: waits for a person to decide instead |
| deploy | puts the model into service, tries it, and goes back if it answers wrongly |
| reject | puts the model aside, with the reason |
| report | one HTML file that shows all of it; also after a failure, once `evaluate` is done |
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


@contextmanager
def _step() -> Iterator[None]:
    """Do a task's work: what it refuses is final, what it took is told."""
    from matinee.workflow.steps import measured

    ti = get_current_context()["ti"]
    with _final_refusals(), measured(ti.task_id, lambda step: ti.xcom_push(STEP, step)):
        yield


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


def _before_job(context: Any) -> None:
    """Set what operators do not template, and stop what an earlier try left running.

    A killed task leaves its job running, and no other job of the run is due now. Also called when a
    deferred task goes on: its job has ended then.
    """
    import boto3

    from matinee.workflow.clean_up import stop_jobs

    operator, params = context["task"], context["params"]
    name = operator.task_id
    settings = _settings(params)
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
    stop_jobs(_run(context["run_id"]), boto3.client("sagemaker"))
    tell_page(context["ti"], _JOBS[name][2], _job(context["ti"], name)["name"])


def _after_job(context: Any, result: dict[str, Any]) -> None:
    """Refuse a job that was stopped: the operators take that for success."""
    from matinee.workflow.jobs import require_completed

    ti = context["ti"]
    part, kind, _ = _JOBS[ti.task_id]
    with _final_refusals():
        require_completed(result[part], kind)
    seconds = (datetime.now(UTC) - ti.start_date).total_seconds()
    ti.xcom_push(STEP, {"name": ti.task_id, "seconds": seconds, "peak_memory_mb": None})
    if part == "Transform":
        uri = result[part]["TransformOutput"]["S3OutputPath"]
        _tell_event(context, PREDICTIONS, uri)


def _tell_event(context: Any, asset: Asset, uri: str) -> None:
    """Let the asset's event tell where the new one lies."""
    context["outlet_events"][asset].extra = {"run": _run(context["run_id"]), "uri": uri}


# Of all job operators. print_log looks at a job only twice a minute, whatever check_interval says.
# No connection: the operators find AWS where the steps do.
_JOB: dict[str, Any] = {
    "aws_conn_id": None,
    "pool": conf.get("matinee", "job_pool", fallback="default_pool"),
    "pre_execute": _before_job,
    "post_execute": _after_job,
}


def question(ti: Any) -> str:
    """Build the body of the question that `ask` puts: what the gate found."""
    from matinee.workflow.gate import describe

    with _final_refusals():
        return describe(ti.xcom_pull(task_ids="gate", key=GATED))


def _after_answer(context: Any, _result: Any) -> None:
    """Hand on what the person said beside which button it was."""
    said = context["task"].hitl_summary
    answer: Answer = {
        "approved": said["chosen_options"] == [APPROVE],
        "by": said["responded_by_user"]["name"],
        "comment": said["params_input"].get("comment") or "",
    }
    context["ti"].xcom_push(ANSWER, answer)


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


def _verdict(ti: Any) -> dict[str, Any]:
    """Return the inputs of the steps that act upon the gate's or a person's decision."""
    return {
        "gated": ti.xcom_pull(task_ids="gate", key=GATED),
        "prepared": ti.xcom_pull(task_ids="branch", key=PREPARED),
        "predictions": _predictions(ti),
        "answer": ti.xcom_pull(task_ids="ask", key=ANSWER),
    }


def _predictions(ti: Any) -> str:
    transform = ti.xcom_pull(task_ids="predict")["Transform"]
    return str(transform["TransformOutput"]["S3OutputPath"])


def _template(macro: str) -> dict[str, Any]:
    """Return a template that renders to a dict."""
    return cast("dict[str, Any]", f"{{{{ {macro}(params, ti) }}}}")


with DAG(
    "recommender",
    description="Ratings in S3 to a recommender in service, with SageMaker",
    doc_md=DOC,
    schedule=conf.get("matinee", "schedule", fallback=None) or None,
    catchup=False,
    # Runs do not disturb each other, but two trainings at a time overload a small machine.
    max_active_runs=1,
    # Names of jobs tell the try, and of what is published the content: tries cannot collide.
    default_args={
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        "on_failure_callback": log_failure,
    },
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
        "question": question,
    },
    tags=["matinee", "sagemaker"],
) as dag:

    @task(
        multiple_outputs=False,
        doc_md="Checks all parameters and names the run; prepares nothing outside Airflow.",
    )
    def start() -> dict[str, Any]:
        context = get_current_context()
        with _step():
            settings = _settings(context["params"])
            if settings.deferrable and find_spec("aiobotocore") is None:
                raise AirflowFailException(
                    "the parameter `deferrable` needs aiobotocore: install"
                    " apache-airflow-providers-amazon[aiobotocore]"
                )
            run = _run(context["run_id"])
            return {"run": run, "folder": settings.folder(run), "image": _image(settings)}

    @task(
        multiple_outputs=False,
        doc_md="Reads the ratings, reports malformed rows, filters, indexes and splits.",
        outlets=[DATA],
    )
    def preprocess(started: Reference) -> list[Any]:
        from matinee.workflow.prepare import group_parts
        from matinee.workflow.preprocess import preprocess

        context = get_current_context()
        with _step():
            settings = _settings(context["params"])
            preprocessed = preprocess(settings, started)
            context["ti"].xcom_push(PREPROCESSED, preprocessed)
            _tell_event(context, DATA, preprocessed["report"].rpartition("/")[0])
            return group_parts(settings, preprocessed)

    @task(
        multiple_outputs=False,
        doc_md="Checks the splits and index tables before anything is trained; writes checks.json.",
    )
    def check(preprocessed: Reference) -> dict[str, Any]:
        from matinee.workflow.checks import check

        with _step():
            settings = _settings(get_current_context()["params"])
            return dict(check(settings, {"preprocessed": preprocessed}))

    @task(
        multiple_outputs=False,
        doc_md="Encodes some parts of the splits as RecordIO-protobuf, the test split in chunks.",
    )
    def prepare(preprocessed: Reference, parts: Reference) -> list[Any]:
        from matinee.workflow.prepare import prepare_parts

        with _step():
            settings = _settings(get_current_context()["params"])
            return list(prepare_parts(settings, preprocessed, parts))

    @task.branch(doc_md="Checks that all is encoded; chooses `tune` or `train`, by `tune`.")
    def branch(preprocessed: Reference, prepared: Reference) -> str:
        from matinee.workflow.prepare import gather

        context = get_current_context()
        with _step():
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
        with _step():
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
        doc_md="Makes the model the next version in the model registry, to be approved; skipped"
        " without `publish`.",
    )
    def register(
        started: Reference, preprocessed: Reference, evaluated: Reference
    ) -> dict[str, Any]:
        from matinee.workflow.register import register

        context = get_current_context()
        with _step():
            settings = _settings(context["params"])
            if not settings.publish:
                raise AirflowSkipException("the parameter `publish` is false")
            inputs = {
                "preprocessed": preprocessed,
                "trained": _trained(settings, context["ti"]),
                "evaluated": evaluated,
                "image": started["image"],
            }
            return dict(register(settings, inputs))

    @task.branch(
        doc_md="Compares the model with the one in service on the same test ratings; chooses"
        " `deploy`, `reject`, or `ask`.",
    )
    def gate(preprocessed: Reference, evaluated: Reference, registered: Reference) -> str:
        from matinee.workflow.gate import gate

        context = get_current_context()
        ti = context["ti"]
        with _step():
            inputs = {
                "preprocessed": preprocessed,
                "prepared": ti.xcom_pull(task_ids="branch", key=PREPARED),
                "evaluated": evaluated,
                "registered": registered,
                "predictions": _predictions(ti),
            }
            gated = gate(_settings(context["params"]), inputs)
        ti.xcom_push(GATED, gated)
        return {"approved": "deploy", "rejected": "reject", "asked": "ask"}[gated["verdict"]]

    @task(
        multiple_outputs=False,
        doc_md="Puts the model into service without dropping a request, asks it for test ratings,"
        " and goes back if it answers wrongly.",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        outlets=[MODEL],
    )
    def deploy() -> dict[str, Any]:
        from matinee.workflow.deploy import deploy

        context = get_current_context()
        with _step():
            settings = _settings(context["params"])
            inputs = _verdict(context["ti"])
            tell_page(context["ti"], "endpoints", context["params"]["endpoint"])
            published = deploy(settings, inputs)
            _tell_event(context, MODEL, inputs["gated"]["model_package"])
            return dict(published)

    @task(
        multiple_outputs=False,
        doc_md="Puts the model aside in the registry, with the reason; what is in service stays.",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    def reject() -> dict[str, Any]:
        from matinee.workflow.deploy import reject

        context = get_current_context()
        with _step():
            return dict(reject(_settings(context["params"]), _verdict(context["ti"])))

    @task(
        multiple_outputs=False,
        doc_md="Writes report.html, which shows the decision and what led to it.",
    )
    def report(started: Reference) -> dict[str, Any]:
        from matinee.workflow.decision import decision_uri
        from matinee.workflow.report import write_report
        from matinee.workflow.steps import together

        context = get_current_context()
        ti = context["ti"]
        with _final_refusals():
            settings = _settings(context["params"])
            evaluated = ti.xcom_pull(task_ids="evaluate")
            if evaluated is None:
                raise AirflowSkipException("nothing was evaluated")
            told = {name: ti.xcom_pull(task_ids=[name], key=STEP) for name in ORDER}
            decided = ti.xcom_pull(task_ids="gate", key=GATED) is not None
            inputs = {
                "run": started["run"],
                "summary": evaluated["summary"],
                "checks": ti.xcom_pull(task_ids="check")["checks"],
                "decision": decision_uri(settings, started["run"]) if decided else None,
                "steps": [
                    together(name, steps)
                    for name, of_task in told.items()
                    if (steps := [step for step in of_task if step is not None])
                ],
            }
            return dict(write_report(settings, inputs))

    @task(
        multiple_outputs=False,
        doc_md="Stops the run's jobs and deletes what nobody needs, whatever became of the run.",
    )
    def clean_up(started: Reference) -> dict[str, Any]:
        from matinee.workflow.clean_up import clean_up

        return dict(clean_up(_settings(get_current_context()["params"]), started))

    started = start().as_setup()

    with TaskGroup("data", prefix_group_id=False, tooltip="From ratings to records"):
        groups: Reference = preprocess(started)
        preprocessed = groups[PREPROCESSED]
        checked = check(preprocessed)
        prepared = prepare.partial(preprocessed=preprocessed).expand(parts=groups)

    with TaskGroup("model", prefix_group_id=False, tooltip="Trained, and measured"):
        train = SageMakerTrainingOperator(
            task_id="train",
            doc_md="One training job, with the run's hyperparameters.",
            config=_template("training_request"),
            print_log=False,
            **_JOB,
        )
        tune = SageMakerTuningOperator(
            task_id="tune",
            doc_md="A tuning job: many training jobs, the best by `test:rmse` on the validation"
            " split.",
            config=_template("tuning_request"),
            **_JOB,
        )
        predict = SageMakerTransformOperator(
            task_id="predict",
            doc_md="A batch transform job: the model's stars for the test split.",
            config=_template("transform_request"),
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            outlets=[PREDICTIONS],
            **_JOB,
        )
        chosen = branch(preprocessed, prepared)
        checked >> chosen >> [train, tune] >> predict
        evaluated = evaluate(preprocessed, predict.output)

    with TaskGroup("publish", prefix_group_id=False, tooltip="Compared, and put into service"):
        registered = register(started, preprocessed, evaluated)
        gated = gate(preprocessed, evaluated, registered)
        ask = HITLBranchOperator(
            task_id="ask",
            doc_md="Waits until a person approves or rejects the model, however long it takes.",
            subject="Put the model of {{ run_id }} into service?",
            body="{{ question(ti) }}",
            options=[APPROVE, REJECT],
            options_mapping={APPROVE: "deploy", REJECT: "reject"},
            params={
                "comment": Param(
                    "",
                    type=["string", "null"],
                    maxLength=500,
                    description="Kept with the decision in the model registry.",
                )
            },
            post_execute=_after_answer,
        )
        deployed: Reference = deploy()
        rejected = reject()
        gated >> ask >> [deployed, rejected]
        gated >> [deployed, rejected]

    for operator in (train, tune, predict, deployed.operator):
        operator.operator_extra_links = (ConsoleLink(),)

    # Teardowns, since they are due whatever failed, and do not hide that it did.
    reported = report(started).as_teardown()
    [deployed, rejected] >> reported >> clean_up(started).as_teardown()
