"""The report of a real run: real jobs of the local SageMaker, their logs, and the file in S3."""

from __future__ import annotations

import html
import json
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import boto3
import pytest

from matinee.workflow.checks import check
from matinee.workflow.errors import ObjectsError
from matinee.workflow.evaluate import evaluate
from matinee.workflow.images import factorization_machines
from matinee.workflow.jobs import trained_model
from matinee.workflow.learning import learning_curves, tuning_trials
from matinee.workflow.objects import Objects, split_uri
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.report import gather, render, verdict, write_report
from matinee.workflow.requests import job_name, transform_request, tuning_request
from matinee.workflow.settings import Settings
from matinee.workflow.usage import job_usage
from tests.conftest import AWS, find_by
from tests.workflow.conftest import as_csv, grid
from tests.workflow.run_document import HOSTILE, empty_document, run_document

RUN = "matinee-1"
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"


class Finished(NamedTuple):
    """A run whose steps are all done."""

    settings: Settings
    inputs: dict[str, Any]
    tuning_job: str


@pytest.fixture(scope="module")
def finished(aws: AWS) -> Iterator[Finished]:
    """Do a run up to its evaluation: a tuning job of two trials and a transform job."""
    bucket = f"test-{secrets.token_hex(8)}"
    with pytest.MonkeyPatch.context() as patch:
        find_by(aws.environment, patch)
        s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="r.csv", Body=as_csv(grid(15, 15)).encode())
        yield _do(bucket, sagemaker)
        s3.close()
        sagemaker.close()


def _do(bucket: str, sagemaker: Any) -> Finished:
    settings = Settings.from_parameters(
        {
            "ratings": f"s3://{bucket}/r.csv",
            "output": f"s3://{bucket}/runs",
            "role": ROLE,
            "tune": True,
            "tuning_jobs": 2,
            "num_factors": 2,
            "epochs": 3,
            "tuning_ranges": {"factors_lr": [0.001, 0.1], "linear_lr": [0.001, 0.1]},
        }
    )
    preprocessed = preprocess(settings, {"run": RUN})
    checked = check(settings, {"preprocessed": preprocessed})
    prepared = prepare(settings, dict(preprocessed))
    image = factorization_machines("us-east-1")
    tuning = job_name(RUN, "tune", 1)
    sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(settings, prepared, name=tuning, image=image)
    )
    _wait(
        lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=tuning)[
            "HyperParameterTuningJobStatus"
        ]
    )
    trained = trained_model(tuning_job=tuning, client=sagemaker)
    name = job_name(RUN, "predict", 1)
    request = transform_request(settings, prepared, name=name, image=image, model=trained["model"])
    sagemaker.create_model(**request["Model"])
    sagemaker.create_transform_job(**request["Transform"])
    _wait(lambda: sagemaker.describe_transform_job(TransformJobName=name)["TransformJobStatus"])
    evaluated = evaluate(
        settings,
        {
            "preprocessed": preprocessed,
            "prepared": prepared,
            "trained": trained,
            "predictions": request["Transform"]["TransformOutput"]["S3OutputPath"],
        },
    )
    inputs = {
        "run": RUN,
        "summary": evaluated["summary"],
        "checks": checked["checks"],
        "steps": [{"name": "preprocess", "seconds": 1.5, "peak_memory_mb": 100.0}],
    }
    return Finished(settings, inputs, tuning)


def _wait(status: Any) -> None:
    deadline = time.monotonic() + 120
    while (found := status()) == "InProgress":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found == "Completed"


def test_curves_are_read_off_the_jobs_log(finished: Finished) -> None:
    summary = Objects().read_json(finished.inputs["summary"])
    logs = boto3.client("logs")
    found = learning_curves(summary["training"]["job"], logs)
    curves = {curve["channel"]: curve for curve in found if curve["metric"] == "rmse"}
    assert curves["train"]["host"] == "algo-1"
    assert curves["train"]["epochs"] == [0, 1, 2]
    described = boto3.client("sagemaker").describe_training_job(
        TrainingJobName=summary["training"]["job"]
    )
    final = {metric["MetricName"]: metric["Value"] for metric in described["FinalMetricDataList"]}
    assert curves["train"]["values"][-1] == pytest.approx(final["train:rmse"], rel=1e-6)
    assert curves["test"]["epochs"] == [2]
    assert curves["test"]["values"] == [pytest.approx(final["test:rmse"], rel=1e-6)]
    assert learning_curves("no-such-job", logs) == []


def test_trials_are_those_of_the_tuning_job(finished: Finished) -> None:
    trials = tuning_trials(finished.tuning_job, boto3.client("sagemaker"))
    assert (trials["metric"], trials["minimize"]) == ("test:rmse", True)
    assert [trial["status"] for trial in trials["trials"]] == ["Completed", "Completed"]
    for trial in trials["trials"]:
        assert trial["objective"] is not None
        assert trial["hyperparameters"].keys() == {"factors_lr", "linear_lr"}
        assert 0.001 <= trial["hyperparameters"]["factors_lr"] <= 0.1


@pytest.mark.usefixtures("finished")
def test_usage_is_of_the_runs_jobs_alone() -> None:
    sagemaker = boto3.client("sagemaker")
    usage = job_usage(RUN, sagemaker)
    assert [(job["kind"], job["instance_type"]) for job in usage] == [
        ("training", "ml.c5.xlarge"),
        ("training", "ml.c5.xlarge"),
        ("transform", "ml.c5.xlarge"),
    ]
    assert all(job["job"].startswith(f"{RUN}-") for job in usage)
    assert all(job["billable_seconds"] >= 1 for job in usage)
    # A name that is the beginning, or the end, of the run's is another run's.
    assert not [job for job in job_usage("matinee-", sagemaker) if job in usage]
    assert job_usage("atinee-1", sagemaker) == []


def test_the_file_in_s3_holds_everything(finished: Finished) -> None:
    outputs = write_report(finished.settings, finished.inputs)
    assert outputs == {"run": RUN, "report": f"{finished.settings.folder(RUN)}/report.html"}
    bucket, key = split_uri(outputs["report"])
    answer = boto3.client("s3").get_object(Bucket=bucket, Key=key)
    assert answer["ContentType"] == "text/html; charset=utf-8"
    page = answer["Body"].read().decode()
    assert figures(page).keys() == {
        "funnel", "stars", "activity", "learning-rmse", "best-so-far", "parallel-coordinates",
        "errors", "segments-customers", "segments-videos", "segments-stars", "calibration",
        "seconds",
    }  # fmt: skip
    assert "none was recorded" in page
    assert page == render(gather(finished.settings, finished.inputs))


def test_the_activity_is_counted_in_doubling_bins(finished: Finished) -> None:
    document = gather(finished.settings, finished.inputs)
    # 15 customers and 15 videos with 15 ratings each: 8 to 15.
    assert document["activity"] == {"customers": [0, 0, 0, 15], "videos": [0, 0, 0, 15]}


def test_a_document_that_is_named_but_missing_is_refused(finished: Finished) -> None:
    uri = f"{finished.settings.folder(RUN)}/nothing.json"
    with pytest.raises(ObjectsError, match=r"nothing\.json"):
        write_report(finished.settings, {**finished.inputs, "decision": uri})


def test_a_run_that_broke_off_has_a_report_too(finished: Finished) -> None:
    document = gather(finished.settings, {"run": "matinee-2"})
    assert document["summary"] is None
    assert "The model was not evaluated" in render(document).replace("the model", "The model")


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
    assert found is not None
    drawn: dict[str, Any] = json.loads(found[1])
    return drawn


def test_hostile_names_stay_text() -> None:
    page = render(run_document())
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert "<img" not in page.split("<main>")[1].split("</main>")[0]
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    # Only our own scripts, each named by its hash in the policy.
    assert page.count("</script>") == 3
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert html.unescape(policy[1]).startswith("default-src 'none'; script-src 'sha256-")


def test_what_is_missing_is_said() -> None:
    page = render(empty_document())
    for text in (
        "There are no metrics",
        "There are no recommendations",
        "There are no learning curves",
        "Nothing was tuned",
        "There is no data report",
        "The data were not checked",
        "How long the steps took was not recorded",
        "No SageMaker job of this run was found",
    ):
        assert text in page
    assert figures(page) == {}


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ([-0.05, -0.01], "The model is better than"),
        ([0.01, 0.05], "The model is worse than"),
        ([-0.01, 0.05], "The model is not distinguishable from"),
        (None, "RMSE 0."),
    ],
)
def test_the_verdict_is_that_of_the_interval(bound: list[float] | None, words: str) -> None:
    document = run_document()
    document["summary"]["metrics"]["intervals"]["differences"]["bias"]["rmse"] = bound
    said = verdict(document)
    assert said is not None
    assert said.startswith(words)


@pytest.mark.parametrize(
    ("replaces", "words"),
    [
        (None, "no model before this one"),
        ("arn:of/recommender/1", "arn:of/recommender/1, which was not compared"),
    ],
)
def test_the_decision_tells_what_was_in_service(replaces: str | None, words: str) -> None:
    document = run_document()
    assert "RMSE 0.9000, MAE 0.7000, of run matinee-0" in render(document)
    document["decision"] |= {"in_service": None, "difference": None, "replaces": replaces}
    assert words in render(document)


def test_prices_are_those_given() -> None:
    document = run_document()
    document["prices"] = {
        "date": "2026-01-01",
        "currency": "EUR",
        "source": "mine",
        "per_hour": {"ml.c5.xlarge": 0.5},
    }
    page = render(document)
    assert 'data-price="ml.c5.xlarge" value="0.5"' in page
    assert 'data-price="ml.c4.xlarge" value=""' in page
    assert 'value="2026-01-01"' in page


def test_big_numbers_are_readable() -> None:
    page = render(run_document())
    for text in ("4,060,000 rows", "811 malformed", "1,028,000 ratings to", "140,458 customers"):
        assert text in page
