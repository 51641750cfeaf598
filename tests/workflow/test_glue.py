"""The preprocess step in a Glue job: the job's real script, behind Glue's API."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from matinee.workflow.clean_up import clean_up
from matinee.workflow.engines.glue import Glue, GlueError
from matinee.workflow.errors import ObjectsError, RatingsError, SettingsError
from matinee.workflow.objects import Objects
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.conftest import AWS, find_by
from tests.environments import interpreter_of
from tests.workflow.conftest import as_csv, grid
from tests.workflow.local_glue import SLEEPER, Jobs, local_glue
from tests.workflow.test_engines import REQUIREMENTS, assert_same, parameters

RUN = "matinee-1"
# For the whole step; what is told before Spark is needed is told without.
IN_SPARK = Path(__file__).with_name("glue_in_spark.py")

Put = Callable[[str, bytes | str], str]


@pytest.fixture
def glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """A Glue with the job `matinee`, whose Python has no Spark."""
    jobs = Jobs("matinee", tmp_path, [sys.executable])
    with local_glue(jobs) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", url)
        yield jobs


def on_glue(ratings: str, bucket: str, **more: Any) -> Settings:
    values = parameters(ratings, bucket, "glue")
    return Settings.from_parameters({**values, "check_interval": 0.1, **more})


def left(settings: Settings) -> list[str]:
    return Objects().list(settings.output)


def test_a_job_gives_what_duckdb_gives(put: Put, bucket: str, glue: Jobs) -> None:
    python = interpreter_of("MATINEE_SPARK", "Spark", REQUIREMENTS)
    glue.command = [str(python), str(IN_SPARK)]
    ratings = put("ratings.csv", as_csv(grid(14, 11), "customer_id,product_id,star_rating"))
    more = {"side_columns": [], "features": ["history"], "until": None}
    outputs = preprocess(on_glue(ratings, bucket, **more), {"run": RUN}, part_rows=40)
    assert_same(outputs, {**parameters(ratings, bucket, "glue"), **more}, bucket)
    (run,) = glue.runs.values()
    assert run.arguments == {"--request": f"s3://{bucket}/glue/{RUN}/glue/request.json"}


def test_what_the_job_refuses_is_refused_in_its_words(put: Put, bucket: str, glue: Jobs) -> None:
    settings = on_glue(put("ratings.csv", as_csv(grid(3, 3))), bucket)
    glue.before = lambda: Objects().delete(settings.ratings)
    with pytest.raises(ObjectsError, match=r"there is no object s3://.*/ratings\.csv"):
        preprocess(settings, {"run": RUN})
    assert [run.state for run in glue.runs.values()] == ["SUCCEEDED"]
    assert left(settings) == []


@pytest.mark.usefixtures("glue")
def test_a_job_that_fails_is_an_error_that_may_pass(put: Put, bucket: str) -> None:
    settings = on_glue(put("ratings.csv", as_csv(grid(3, 3))), bucket)
    with pytest.raises(GlueError, match=r"run jr_1 of matinee ended as FAILED: .*No module named"):
        preprocess(settings, {"run": RUN})
    assert left(settings) == []


def test_a_try_stops_what_a_killed_one_left(put: Put, bucket: str, glue: Jobs) -> None:
    settings = on_glue(put("ratings.csv", as_csv(grid(3, 3))), bucket)
    request = f"{settings.folder(RUN)}/glue/request.json"
    working, glue.command = glue.command, [sys.executable, *SLEEPER]
    client = boto3.client("glue")
    others = client.start_job_run(JobName="matinee", Arguments={"--request": "s3://of/another"})
    client.start_job_run(JobName="matinee", Arguments={"--request": request})
    glue.command = working
    with pytest.raises(GlueError, match="jr_3"):
        preprocess(settings, {"run": RUN})
    assert glue.runs["jr_2"].state == "STOPPED"
    assert glue.runs[others["JobRunId"]].state == "RUNNING"
    client.close()


class Killed(BaseException):
    """The task is ended from outside."""


def test_a_task_that_is_ended_ends_its_job(put: Put, bucket: str, glue: Jobs) -> None:
    settings = on_glue(put("ratings.csv", as_csv(grid(3, 3))), bucket)
    glue.command = [sys.executable, *SLEEPER]
    looks: list[float] = []

    def end_once(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            raise Killed

    with pytest.raises(Killed):
        Glue(settings, RUN, sleep=end_once).preprocess(40)
    assert [run.state for run in glue.runs.values()] == ["STOPPED"]
    assert left(settings) == []


def test_what_cannot_be_read_starts_no_job(
    put: Put, bucket: str, glue: Jobs, tmp_path: Path
) -> None:
    (tmp_path / "r.csv").write_text(as_csv(grid(3, 3)))
    with pytest.raises(RatingsError, match="Glue reads s3:// alone"):
        preprocess(on_glue(str(tmp_path / "r.csv"), bucket), {"run": RUN})
    with pytest.raises(ObjectsError, match="there is no object"):
        preprocess(on_glue(f"s3://{bucket}/none", bucket), {"run": RUN})
    ratings = put("ratings.csv", as_csv(grid(3, 3)))
    with pytest.raises(SettingsError, match="glue_job 'of-nobody': there is no such Glue job"):
        preprocess(on_glue(ratings, bucket, glue_job="of-nobody"), {"run": RUN})
    assert glue.runs == {}


def test_clean_up_stops_a_job_and_forgets_the_request(
    aws: AWS, put: Put, bucket: str, glue: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_by(aws.environment, monkeypatch)
    settings = on_glue(f"s3://{bucket}/ratings.csv", bucket, publish=False)
    request = put(f"glue/{RUN}/glue/request.json", "{}")
    glue.command = [sys.executable, *SLEEPER]
    client = boto3.client("glue")
    client.start_job_run(JobName="matinee", Arguments={"--request": request})
    assert clean_up(settings, {"run": RUN})["deleted_objects"] == 1
    assert glue.runs["jr_1"].state == "STOPPED"
    client.close()
