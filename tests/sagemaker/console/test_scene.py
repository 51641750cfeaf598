"""The console of a real server process with real jobs: what goes on, what can be done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.sagemaker.console.conftest import TOKEN
from tests.sagemaker.console.scene import Scene
from tests.sagemaker.jobs.conftest import until


@pytest.fixture
def user(scene: Scene) -> Iterator[httpx.Client]:
    origin = {"origin": scene.jobs.server.endpoint}
    address = scene.jobs.server.endpoint
    with httpx.Client(base_url=address, trust_env=False, headers=origin, timeout=30) as client:
        assert client.get("/console/sign-in", params={"token": TOKEN}).status_code == 303
        yield client


def test_a_running_job_is_shown_until_its_end(
    user: httpx.Client, scene: Scene, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    name = scene.begin(gate, [0.5, 0.25])
    page, curves = f"/console/training-jobs/{name}", f"/console/compare/curves?job={name}"
    scene.jobs.wait_until_waiting(name)
    assert f'data-live="{page}/live"' in user.get(page).text
    until(lambda: user.get(curves).json()["figures"])
    drawn = user.get(curves).json()
    assert drawn["is_live"]
    (figure,) = drawn["figures"]
    assert (figure["title"], figure["data"][0]["y"]) == ("loss", [0.5, 0.25])
    assert user.get(f"{page}/live").headers["x-matinee-live"] == "yes"
    gate.touch()
    scene.jobs.trained(name)
    parts = user.get(f"{page}/live")
    assert parts.headers["x-matinee-live"] == "no"
    assert '<span class="pill completed">Completed</span>' in parts.text
    assert re.search(r'<th scope="row">loss</th><td class="number">0.25</td>', parts.text)
    assert "model.tar.gz" in parts.text
    assert "data-live" not in user.get(page).text
    assert not user.get(curves).json()["is_live"]


def test_a_job_is_stopped(user: httpx.Client, scene: Scene, tmp_path: Path) -> None:
    name = scene.begin(tmp_path / "gate", [0.5])
    scene.jobs.wait_until_waiting(name)
    page = f"/console/training-jobs/{name}"
    assert user.post(f"{page}/stop", headers={"origin": "http://127.0.0.1:1"}).status_code == 403
    assert scene.jobs.describe(name)["TrainingJobStatus"] == "InProgress"
    answer = user.post(f"{page}/stop")
    assert (answer.status_code, answer.headers["location"]) == (303, page)
    assert scene.jobs.trained(name)["TrainingJobStatus"] == "Stopped"
    assert "is in status Stopped" in user.post(f"{page}/stop").text


def test_trials_and_the_best_of_them(user: httpx.Client, scene: Scene) -> None:
    page = user.get(f"/console/tuning-jobs/{scene.tuning}").text
    best = scene.jobs.describe_tuning(scene.tuning)["BestTrainingJob"]
    name = best["TrainingJobName"]
    assert f'<a href="/console/training-jobs/{name}">{name}</a>' in page
    assert page.count('<tr class="best">') == 1
    found = user.get(f"/console/tuning-jobs/{scene.tuning}/trials").json()
    by_number, parallel = found["figures"]
    objectives, best_so_far = (trace["y"] for trace in by_number["data"])
    assert by_number["data"][0]["x"] == [1, 2, 3, 4, 5, 6]  # as in the names of the jobs
    assert len(objectives) == 6
    assert best_so_far == [min(objectives[: number + 1]) for number in range(6)]
    assert best_so_far[-1] == best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert parallel["layout"]["xaxis"]["ticktext"] == ["rate", "x", "loss"]
    assert len(parallel["data"]) == 6
    assert all(0 <= y <= 1 for trace in parallel["data"] for y in trace["y"])
    assert parallel["data"][-1]["y"][-1] == 0  # the best is the last, and has the least loss


def test_an_endpoint_answers_as_it_answers_anybody(user: httpx.Client, scene: Scene) -> None:
    page = f"/console/endpoints/{scene.endpoint}"
    assert "CurrentInstanceCount" in user.get(page).text
    form = {"record": "1\r\n2", "content_type": "text/csv", "accept": "text/csv"}
    answer = user.post(f"{page}/try", data=form).text
    assert "&lt;1&gt;\n&lt;2&gt;" in answer
    assert "from AllTraffic in" in answer
    answer = user.post(f"{page}/try", data={**form, "record": "bad"}).text
    assert "ModelError: Received client error (400)" in answer
    none = user.post("/console/endpoints/none/try", data=form)
    assert none.status_code == 404
    assert user.post(f"{page}/try", data=form, headers={"origin": "null"}).status_code == 403
    assert user.post(f"{page}/try", content=b"x" * (1 << 21)).status_code == 413


def test_every_kind_has_its_page(user: httpx.Client, scene: Scene) -> None:
    first = scene.trained[0]
    pages = {
        f"training-jobs/{first}": "Airflow run",
        f"training-jobs/{scene.failed}": "the data are none",
        f"transform-jobs/{scene.transform}": "S3OutputPath",
        "models": "model-",
        "registry/recommender": "0.9121",
        "my-page/": "Added in us-east-1",
        f"endpoints/{scene.endpoint}/logs": "No lines",
    }
    for path, words in pages.items():
        answer = user.get(f"/console/{path}")
        assert (answer.status_code, words in answer.text) == (200, True), path
        assert "<script>alert" not in answer.text
    log = user.get(f"/console/training-jobs/{first}/logs", params={"search": "ALERT"}).text
    assert "&lt;script&gt;alert(&#39;of a log&#39;)&lt;/script&gt;" in log


def test_lineage_leads_from_the_job_to_what_came_of_it(user: httpx.Client, scene: Scene) -> None:
    job = scene.jobs.describe(scene.trained[0])
    page = user.get("/console/lineage", params={"arn": job["TrainingJobArn"]}).text
    came_from, came_of = page.split("What came of it")
    assert "my-algorithm:1" in came_from
    assert "Produced" in came_of
    assert job["ModelArtifacts"]["S3ModelArtifacts"] in came_of
    assert '<a href="/console/packages/recommender%2F000000002">' in came_of
