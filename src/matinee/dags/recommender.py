"""The DAG `recommender`: from ratings in S3 to a recommender in service, with SageMaker's own jobs.

Parsing it touches neither network nor credentials. AWS is found as every boto3 client finds it, by
the environment or the machine's role: nothing here knows whether SageMaker is on AWS or on this
machine. What a deployment may decide stands in the section `[matinee]` of Airflow's configuration:
`schedule` (default: none), `job_pool` (default: `default_pool`), `console`, see `links`, and the
defaults of run parameters, see `defaults`.
"""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, Param, TaskGroup, TriggerRule, get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from matinee.dags.defaults import default_of
from matinee.dags.exchange import (
    DATA,
    GATED,
    MODEL,
    PREDICTIONS,
    PREPARED,
    PREPROCESSED,
    REUSED,
    STEP,
    TRAINED_BY,
    final_refusals,
    log_failure,
    predictions,
    run_of,
    settings_in,
    step,
    tell_event,
    trained,
    trained_by,
)
from matinee.dags.job_tasks import (
    JOB,
    template,
    training_request,
    transform_request,
    tuning_request,
)
from matinee.dags.links import ConsoleLink, tell_page
from matinee.dags.person import APPROVE, REJECT, answer_of, question
from matinee.dags.schemas import declared
from matinee.workflow.parameters import PARAMETERS

# What another task returned when the task runs, a reference to it when the file is parsed.
Reference = Any
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
| drift | keeps what the ratings are like; with `retrain` at `drift`, may end the run |
| prepare | encodes the splits for Factorization Machines, many ratings in several tasks at a time |
| branch | checks that all are encoded; chooses `train`, `tune` or `configure` by the parameters |
| train, tune | a SageMaker training job, or a tuning job over many |
| configure, train_each | a training job for each of the parameter `configurations` |
| choose | the best of the trained models, or the average of the `ensemble_size` best |
| predict | a SageMaker batch transform job over the test split |
| evaluate | RMSE, MSE, MAE beside two baselines; ten recommendations |
| recommend | the best videos for every customer, as Parquet |
| register | a version in the model registry; skipped, with all that follows, without `publish` |
| gate | compares with the model in service on the same test ratings: `deploy` or `reject` |
| ask | with the parameter `approval` at `person`: waits for a person to decide instead |
| deploy | puts the model into service, tries it, and goes back if it answers wrongly |
| reject | puts the model aside, with the reason |
| report | one HTML file that shows all of it; also after a failure, once `evaluate` is done |
| clean_up | stops what still runs, deletes models and prepared data; also after a failure |

After a failure, clear the run from `prepare` on: `clean_up` has removed what `prepare` made.
"""


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
            default_of(parameter),
            description=parameter.help,
            section=parameter.section,
            **declared(parameter.schema),
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
        from matinee.workflow.images import image_of

        context = get_current_context()
        with step():
            settings = settings_in(context)
            if settings.deferrable and find_spec("aiobotocore") is None:
                raise AirflowFailException(
                    "the parameter `deferrable` needs aiobotocore: install"
                    " apache-airflow-providers-amazon[aiobotocore]"
                )
            run = run_of(context["run_id"])
            return {"run": run, "folder": settings.folder(run), "image": image_of(settings)}

    @task(
        multiple_outputs=False,
        doc_md="Reads the ratings, reports malformed rows, filters, indexes and splits.",
        outlets=[DATA],
    )
    def preprocess(started: Reference) -> list[Any]:
        from matinee.workflow.prepare import group_parts
        from matinee.workflow.stages import preprocess_or_reuse

        context = get_current_context()
        with step():
            settings = settings_in(context)
            preprocessed, trained_by = preprocess_or_reuse(
                settings, started["run"], started["image"]
            )
            context["ti"].xcom_push(PREPROCESSED, preprocessed)
            context["ti"].xcom_push(TRAINED_BY, trained_by)
            tell_event(context, DATA, preprocessed["report"].rpartition("/")[0])
            return group_parts(settings, preprocessed)

    @task(
        multiple_outputs=False,
        doc_md="Checks the splits and index tables before anything is trained; writes checks.json.",
    )
    def check(preprocessed: Reference) -> dict[str, Any]:
        from matinee.workflow.checks import check

        with step():
            settings = settings_in(get_current_context())
            return dict(check(settings, {"preprocessed": preprocessed}))

    @task.short_circuit(
        doc_md="Writes profile.json, what the ratings are like; with `retrain` at `drift`, skips"
        " the rest if they are like those that the model in service learned from.",
    )
    def drift(preprocessed: Reference) -> bool:
        from matinee.workflow.drift import is_due

        with step():
            return is_due(settings_in(get_current_context()), preprocessed)

    @task(
        multiple_outputs=False,
        doc_md="Encodes some parts of the splits as RecordIO-protobuf, the test split in chunks.",
    )
    def prepare(preprocessed: Reference, parts: Reference) -> list[Any]:
        from matinee.workflow.prepare import prepare_parts

        with step():
            settings = settings_in(get_current_context())
            return list(prepare_parts(settings, preprocessed, parts))

    @task.branch(
        doc_md="Checks that all is encoded; chooses `tune`, `configure` or `train`, by the"
        " parameters, or `predict` where an earlier run has trained the same model.",
    )
    def branch(preprocessed: Reference, prepared: Reference) -> str:
        from matinee.workflow.prepare import gather
        from matinee.workflow.stages import find_trained, training

        context = get_current_context()
        ti = context["ti"]
        with step():
            settings = settings_in(context)
            parts = [part for group in prepared for part in group]
            ti.xcom_push(PREPARED, gather(settings, preprocessed, parts))
            key = ti.xcom_pull(task_ids="preprocess", key=TRAINED_BY)
            found = find_trained(settings, preprocessed["run"], key)
            if found is not None:
                ti.xcom_push(REUSED, found)
                return "predict"
        return training(settings)

    @task(multiple_outputs=False, doc_md="Lists the configurations, each of which is trained.")
    def configure() -> list[Any]:
        with step():
            settings = settings_in(get_current_context())
            return [{"configuration": number} for number in range(len(settings.configurations))]

    @task(
        multiple_outputs=False,
        doc_md="The run's model: the best by `test:rmse` on the validation split, or the average of"
        " the `ensemble_size` best as one model.",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    def choose() -> dict[str, Any]:
        from matinee.workflow.candidates import select

        context = get_current_context()
        with step():
            inputs = {"run": run_of(context["run_id"]), **trained_by(context["ti"])}
            return dict(select(settings_in(context), inputs))

    @task(
        multiple_outputs=False,
        doc_md="Measures the predictions and writes metrics.json and summary.json.",
    )
    def evaluate(preprocessed: Reference, predicted: Reference) -> dict[str, Any]:
        from matinee.workflow.stages import evaluate_and_remember

        context = get_current_context()
        ti = context["ti"]
        with step():
            settings = settings_in(context)
            inputs = {
                "preprocessed": preprocessed,
                # Not as an argument: a branch skips what follows it at once but for its choice.
                "prepared": ti.xcom_pull(task_ids="branch", key=PREPARED),
                "trained": trained(ti),
                "predictions": predicted["Transform"]["TransformOutput"]["S3OutputPath"],
            }
            key = ti.xcom_pull(task_ids="preprocess", key=TRAINED_BY)
            return dict(evaluate_and_remember(settings, inputs, key))

    @task(
        multiple_outputs=False,
        doc_md="Writes recommendations.parquet, the best videos for every customer; skipped where"
        " `recommendations` is 0.",
    )
    def recommend(preprocessed: Reference) -> dict[str, Any]:
        from matinee.workflow.recommend import recommend_all

        context = get_current_context()
        with step():
            settings = settings_in(context)
            if not settings.recommendations:
                raise AirflowSkipException("the parameter `recommendations` is 0")
            inputs = {"preprocessed": preprocessed, "trained": trained(context["ti"])}
            return dict(recommend_all(settings, inputs, count=settings.recommendations))

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
        with step():
            settings = settings_in(context)
            if not settings.publish:
                raise AirflowSkipException("the parameter `publish` is false")
            inputs = {
                "preprocessed": preprocessed,
                "trained": trained(context["ti"]),
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
        with step():
            inputs = {
                "preprocessed": preprocessed,
                "prepared": ti.xcom_pull(task_ids="branch", key=PREPARED),
                "evaluated": evaluated,
                "registered": registered,
                "predictions": predictions(ti),
            }
            gated = gate(settings_in(context), inputs)
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
        ti = context["ti"]
        with step():
            settings = settings_in(context)
            answer = answer_of(ti)
            if answer is not None and not answer["approved"]:
                raise AirflowSkipException(f"{answer['by']} rejected the model")
            inputs = {
                "gated": ti.xcom_pull(task_ids="gate", key=GATED),
                "prepared": ti.xcom_pull(task_ids="branch", key=PREPARED),
                "predictions": predictions(ti),
                "answer": answer,
            }
            tell_page(ti, "endpoints", context["params"]["endpoint"])
            published = deploy(settings, inputs)
            tell_event(context, MODEL, inputs["gated"]["model_package"])
            return dict(published)

    @task(
        multiple_outputs=False,
        doc_md="Puts the model aside in the registry, with the reason; what is in service stays.",
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    def reject() -> dict[str, Any]:
        from matinee.workflow.deploy import reject

        ti = get_current_context()["ti"]
        with step():
            answer = answer_of(ti)
            if answer is not None and answer["approved"]:
                raise AirflowSkipException(f"{answer['by']} approved the model")
            return dict(reject(ti.xcom_pull(task_ids="gate", key=GATED), answer))

    @task(
        multiple_outputs=False,
        doc_md="Writes report.html, which shows the decision and what led to it.",
    )
    def report(started: Reference) -> dict[str, Any]:
        from matinee.workflow.decision import decision_uri
        from matinee.workflow.report import write_report
        from matinee.workflow.steps import ORDER, in_order

        context = get_current_context()
        ti = context["ti"]
        with final_refusals():
            settings = settings_in(context)
            evaluated = ti.xcom_pull(task_ids="evaluate")
            if evaluated is None:
                raise AirflowSkipException("nothing was evaluated")
            told = {
                name: [step for step in ti.xcom_pull(task_ids=[name], key=STEP) if step is not None]
                for name in ORDER
            }
            decided = ti.xcom_pull(task_ids="gate", key=GATED) is not None
            inputs = {
                "run": started["run"],
                "summary": evaluated["summary"],
                "checks": ti.xcom_pull(task_ids="check")["checks"],
                "decision": decision_uri(settings, started["run"]) if decided else None,
                "steps": in_order(told),
            }
            return dict(write_report(settings, inputs))

    @task(
        multiple_outputs=False,
        doc_md="Stops the run's jobs and deletes what nobody needs, whatever became of the run.",
    )
    def clean_up(started: Reference) -> dict[str, Any]:
        from matinee.workflow.clean_up import clean_up

        return dict(clean_up(settings_in(get_current_context()), started))

    started = start().as_setup()

    with TaskGroup("data", prefix_group_id=False, tooltip="From ratings to records"):
        groups: Reference = preprocess(started)
        preprocessed = groups[PREPROCESSED]
        checked = check(preprocessed)
        drifted = drift(preprocessed)
        prepared = prepare.partial(preprocessed=preprocessed).expand(parts=groups)
        drifted >> prepared

    with TaskGroup("model", prefix_group_id=False, tooltip="Trained, and measured"):
        train = SageMakerTrainingOperator(
            task_id="train",
            doc_md="One training job, with the run's hyperparameters.",
            config=template("training_request"),
            print_log=False,
            **JOB,
        )
        configured = configure()
        train_each = SageMakerTrainingOperator.partial(
            task_id="train_each",
            doc_md="A training job of each configuration, at a time as far as the pool allows.",
            print_log=False,
            **JOB,
        ).expand(config=configured)
        tune = SageMakerTuningOperator(
            task_id="tune",
            doc_md="A tuning job: many training jobs, the best by `test:rmse` on the validation"
            " split.",
            config=template("tuning_request"),
            **JOB,
        )
        predict = SageMakerTransformOperator(
            task_id="predict",
            doc_md="A batch transform job: the model's stars for the test split.",
            config=template("transform_request"),
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            outlets=[PREDICTIONS],
            **JOB,
        )
        chosen = branch(preprocessed, prepared)
        model = choose()
        checked >> chosen >> [train, tune, configured]
        [train, tune, train_each] >> model >> predict
        chosen >> predict
        evaluated = evaluate(preprocessed, predict.output)
        recommended = recommend(preprocessed)
        evaluated >> recommended

    with TaskGroup("publish", prefix_group_id=False, tooltip="Compared, and put into service"):
        registered = register(started, preprocessed, evaluated)
        gated = gate(preprocessed, evaluated, registered)
        ask = HITLOperator(
            task_id="ask",
            doc_md="Waits until a person approves or rejects the model, however long it takes.",
            subject="Put the model of {{ run_id }} into service?",
            body="{{ question(ti) }}",
            options=[APPROVE, REJECT],
            params={
                "comment": Param(
                    "",
                    type=["string", "null"],
                    maxLength=500,
                    description="Kept with the decision in the model registry.",
                )
            },
        )
        deployed: Reference = deploy()
        rejected = reject()
        gated >> ask >> [deployed, rejected]
        gated >> [deployed, rejected]

    for operator in (train, train_each, tune, predict, deployed.operator):
        operator.operator_extra_links = (ConsoleLink(),)

    # Teardowns, since they are due whatever failed, and do not hide that it did.
    reported = report(started).as_teardown()
    [deployed, rejected, recommended] >> reported >> clean_up(started).as_teardown()
