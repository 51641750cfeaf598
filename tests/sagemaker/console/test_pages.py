"""Pages of what is in the store: whole, escaped, and cheap however much there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from matinee.sagemaker.schema import Document
from matinee.sagemaker.store import Resource
from tests.sagemaker.conftest import NOON, ROLE_ARN, Front

HOSTILE = "<script>alert('x')</script>&\"'"
ESCAPED = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&#34;&#39;"
FM = "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"


def training_job(front: Front, name: str, number: int = 0, **changes: Any) -> Resource:
    created = NOON + timedelta(seconds=number)
    document = {
        "TrainingJobName": name,
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "SecondaryStatusTransitions": [],
        "HyperParameters": {"num_factors": "64"},
        "AlgorithmSpecification": {"TrainingImage": FM, "MetricDefinitions": []},
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "RoleArn": ROLE_ARN,
        "CreationTime": created,
        "TrainingStartTime": created,
        "TrainingEndTime": created + timedelta(seconds=90),
        **changes,
    }
    arn = front.context.arn(f"training-job/{name}")
    status = document["TrainingJobStatus"]
    private = {"folder": front.context.new_id(), "hosts": []}
    return Resource("TrainingJob", name, arn, status, created, created, document, private)


@dataclass
class Reads:
    """What a request asked of the database."""

    statements: list[tuple[str, Any]] = field(default_factory=list)
    rows: int = 0


@contextmanager
def reads(front: Front, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    """Watch what is asked of the database, and how many rows are read of resources."""
    engine = front.context.store._engine
    found = Reads()

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            found.statements.append((statement, values))

    plain = Document.process_result_value

    def counted(self: Document, value: Any, dialect: sa.Dialect) -> Any:
        found.rows += 1
        return plain(self, value, dialect)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Document, "process_result_value", counted)
            yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def plan(front: Front, statement: str, values: Any) -> str:
    """Return how SQLite answers a question."""
    with front.context.store._engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    return "\n".join(row[-1] for row in rows)


def row_names(page: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', page)


@pytest.fixture
def full(console_front: Front) -> Front:
    """A server with 10,000 training jobs."""
    console_front.context.store.insert_missing(
        [
            training_job(
                console_front,
                f"job-{number:05d}",
                number,
                TrainingJobStatus="Failed" if number % 100 == 0 else "Completed",
            )
            for number in range(10_000)
        ]
    )
    return console_front


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("", "job-09999"),
        ("?status=Completed", "job-09999"),
        ("?status=Failed", "job-09900"),
        ("?name=JOB-04", "job-04999"),
        ("?status=Failed&name=b-04", "job-04900"),
    ],
)
def test_a_page_of_ten_thousand_jobs_reads_a_page_of_them(
    browser: httpx.Client, full: Front, monkeypatch: pytest.MonkeyPatch, query: str, first: str
) -> None:
    with reads(full, monkeypatch) as found:
        page = browser.get(f"/console/training-jobs{query}").text
    assert row_names(page)[0] == first
    assert len(row_names(page)) <= 50
    assert len(found.statements) == 2
    assert found.rows <= 2 * 51  # a resource has two documents
    for statement, values in found.statements:
        assert "SEARCH resources USING" in plan(full, statement, values)


@pytest.mark.usefixtures("full")
def test_pages_follow_each_other_without_a_gap(browser: httpx.Client) -> None:
    address, seen = "/console/training-jobs?name=job-08", []
    while True:
        page = browser.get(address).text
        seen += row_names(page)
        following = re.search(r'rel="next" href="([^"]*)"', page)
        if following is None:
            break
        address = "/console/training-jobs" + following[1].replace("&amp;", "&")
    assert seen == [f"job-{number:05d}" for number in range(8999, 7999, -1)]
    assert browser.get("/console/training-jobs?after=nonsense").status_code == 404


def test_the_overview_counts_without_reading(
    browser: httpx.Client, full: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reads(full, monkeypatch) as found:
        page = browser.get("/console/").text
    assert "<strong>10,000</strong> Training jobs" in page
    assert 'href="/console/training-jobs?status=Failed"><span class="pill failed">' in page
    assert found.rows <= 2 * 5


def test_a_job_page_does_not_depend_on_the_others(
    browser: httpx.Client, full: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reads(full, monkeypatch) as found:
        assert browser.get("/console/training-jobs/job-05000").status_code == 200
    assert found.rows <= 2 * 3


def test_hostile_words_are_shown_and_not_obeyed(
    browser: httpx.Client, console_front: Front
) -> None:
    store = console_front.context.store
    name = HOSTILE.replace("/", "-")
    job = training_job(
        console_front,
        name,
        TrainingJobStatus="Failed",
        SecondaryStatus="Failed",
        FailureReason=HOSTILE,
        HyperParameters={HOSTILE: HOSTILE},
        Environment={"A": HOSTILE},
        FinalMetricDataList=[{"MetricName": HOSTILE, "Value": 1.0, "Timestamp": NOON}],
    )
    store.insert(
        job, [{"Key": "owner", "Value": HOSTILE}, {"Key": "airflow-run", "Value": HOSTILE}]
    )
    log = [(int(NOON.timestamp() * 1000), HOSTILE)]
    document = {**job.document, "TrainingJobName": "logged"}
    console_front.add_job("TrainingJob", "logged", log, document)
    encoded = httpx.QueryParams({"job": name})
    pages = [
        "/console/",
        "/console/training-jobs",
        f"/console/training-jobs?{httpx.QueryParams({'name': HOSTILE, 'status': HOSTILE})}",
        f"/console/compare?{encoded}&job=logged&{httpx.QueryParams({'job': HOSTILE})}",
        f"/console/lineage?{httpx.QueryParams({'arn': job.arn})}",
        "/console/training-jobs/logged/logs",
        f"/console/training-jobs/logged/logs?{httpx.QueryParams({'search': HOSTILE})}",
        f"/console/nowhere/{HOSTILE}",
    ]
    listed = browser.get("/console/training-jobs").text
    pages += re.findall(r'<th scope="row"><a href="([^"]*)"', listed)
    assert len(pages) == 10
    escaped = {page: ESCAPED in browser.get(page).text for page in pages}
    assert sum(escaped.values()) >= 6, escaped
    for page in pages:
        text = browser.get(page).text
        assert "<script>alert" not in text
        assert "\"'" not in text.replace(HOSTILE, "!")


def test_a_job_says_where_it_came_from(browser: httpx.Client, console_front: Front) -> None:
    job = training_job(console_front, "of-a-run")
    console_front.context.store.insert(job, [{"Key": "airflow-run", "Value": "manual__1+0"}])
    page = browser.get("/console/training-jobs/of-a-run").text
    assert (
        '<a href="http://127.0.0.1:8080/runs/manual__1%2B0" rel="noreferrer">Airflow run</a>'
        in page
    )


def test_logs_are_paged_and_searched(browser: httpx.Client, console_front: Front) -> None:
    noon = int(NOON.timestamp() * 1000)
    log = [(noon + number, f"line {number}") for number in range(1000)]
    job = training_job(console_front, "talkative")
    console_front.add_job("TrainingJob", "talkative", log, job.document)

    def numbers(query: str) -> list[int]:
        page = browser.get(f"/console/training-jobs/talkative/logs{query}").text
        return [int(number) for number in re.findall(r"<span>line (\d+)</span>", page)]

    assert numbers("") == list(range(800, 1000))
    assert numbers("?before=800") == list(range(600, 800))
    assert numbers("?before=100") == list(range(100))
    assert numbers("?search=LINE 77") == [77, *range(770, 780)]
    assert numbers("?search=line&before=300") == list(range(100, 300))
    assert numbers("?search=nothing") == []
    assert browser.get("/console/training-jobs/talkative/logs?before=x").status_code == 400
    tail = browser.get("/console/training-jobs/talkative").text
    assert re.findall(r"<span>line (\d+)</span>", tail) == [str(n) for n in range(980, 1000)]


def test_what_is_not_there_is_said(browser: httpx.Client) -> None:
    for path in (
        *(f"{kind}-jobs/none" for kind in ("training", "tuning", "transform", "processing")),
        *("models/none", "endpoints/none", "registry/none", "packages/none/1"),
        *("lineage?arn=none", "training-jobs/none/logs", "training-jobs/none/live", "nowhere"),
    ):
        answer = browser.get(f"/console/{path}")
        assert answer.status_code == 404, path
        assert '<a href="/console/">To the overview</a>' in answer.text


def test_too_many_jobs_are_not_compared(browser: httpx.Client) -> None:
    query = "&".join(f"job={number}" for number in range(9))
    answer = browser.get(f"/console/compare?{query}")
    assert answer.status_code == 400
    assert "at most 8" in answer.text


def test_a_comparison_marks_what_differs(browser: httpx.Client, console_front: Front) -> None:
    for name, factors in (("one", "32"), ("two", "64")):
        chosen = {"num_factors": factors, "epochs": "10"}
        console_front.context.store.insert(
            training_job(console_front, name, HyperParameters=chosen)
        )
    page = browser.get("/console/compare?job=one&job=two&job=three").text
    assert "There is no training job three." in page
    assert re.search(r'<tr class="differs"><th scope="row">num_factors.*?32.*?64', page)
    assert re.search(r'<tr><th scope="row">epochs</th><td>10</td><td>10</td>', page)
    page = browser.get("/console/compare?job=one&job=two&only=differences").text
    assert "num_factors" in page
    assert "epochs" not in page
    curves = browser.get("/console/compare/curves?job=one&job=two")
    assert json.loads(curves.text) == {"figures": [], "is_live": False}


def test_the_registry_shows_versions_with_approval_and_figures(
    browser: httpx.Client, console_front: Front
) -> None:
    client = console_front.client("sagemaker")
    client.create_model_package_group(
        ModelPackageGroupName="recommender", ModelPackageGroupDescription=HOSTILE
    )
    for rmse in ("0.95", "0.91"):
        client.create_model_package(
            ModelPackageGroupName="recommender",
            ModelApprovalStatus="Approved" if rmse == "0.91" else "Rejected",
            CustomerMetadataProperties={"rmse": rmse, "run": "matinee-1"},
            InferenceSpecification={"Containers": [{"Image": FM}]},
            SkipModelValidation="All",
        )
    assert row_names(browser.get("/console/registry").text) == ["recommender"]
    page = browser.get("/console/registry/recommender").text
    assert row_names(page) == ["Version 2", "Version 1"]
    assert '<th scope="col" class="number">rmse</th>' in page
    assert ESCAPED in page
    address = re.findall(r'<th scope="row"><a href="([^"]*)"', page)[0]
    assert address == "/console/packages/recommender%2F000000002"
    page = browser.get(address).text
    assert '<span class="pill approved">Approved</span>' in page
    assert '<th scope="row">rmse</th><td>0.91</td>' in page
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package/recommender/2"
    page = browser.get("/console/lineage", params={"arn": arn}).text
    assert FM in page
    assert "ContributedTo" in page


@pytest.mark.parametrize("path", ["static/console.css", "static/console.js", "static/icon.svg"])
def test_files_are_served(browser: httpx.Client, path: str) -> None:
    assert browser.get(f"/console/{path}").status_code == 200


def test_plotly_comes_from_the_installed_package(browser: httpx.Client) -> None:
    answer = browser.get("/console/static/plotly.min.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert len(answer.content) > 1_000_000
