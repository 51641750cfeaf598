"""`matinee recommend` against a real S3, a real local SageMaker and a real endpoint."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from matinee.cli import main
from matinee.stack.home import Home
from matinee.stack.stack import BUCKET, Stack
from matinee.workflow.objects import Objects
from tests.films import CUSTOMERS, RUN, VIDEOS, put_into_service, put_run, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("recommend")) as stack:
        yield stack


@pytest.fixture(scope="module")
def objects(stack: Stack) -> Objects:
    return Objects(stack.client("s3"))


@pytest.fixture(scope="module")
def run(objects: Objects, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return put_run(objects, stack, RUN, 1, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def endpoint(stack: Stack, run: dict[str, Any]) -> str:
    put_into_service(stack, run, "films")
    return "films"


def matinee(stack: Stack, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(stack.home.path), "recommend", *words])


def found(stack: Stack, *words: str) -> dict[str, Any]:
    result = matinee(stack, *words, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.output)
    return document


@pytest.mark.usefixtures("run")
def test_a_customer_sees_their_ratings_recommendations_and_reasons(stack: Stack) -> None:
    result = matinee(stack, "c1", "--top", "3", "--run", RUN)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"run {RUN}, asked for by name"
    assert lines[1].startswith("customer c1 has rated 7, of which the model learned from ")
    assert [line.split()[0] for line in lines[2:]] == ["rated"] * 3 + ["1", "2", "3"]
    assert "(because of Film " in result.output
    document = found(stack, "c1", "--top", "3", "--run", RUN)
    assert [f"{item['stars']:.2f}" for item in document["items"]] == [
        line.split()[1] for line in lines[5:]
    ]


@pytest.mark.usefixtures("run")
def test_what_a_terminal_would_obey_is_not_printed(stack: Stack) -> None:
    outputs = [matinee(stack, f"c{n}", "--run", RUN).output for n in range(CUSTOMERS)]
    assert any("\N{REPLACEMENT CHARACTER}[31m<script>Film 3" in output for output in outputs)
    assert not any("\x1b" in output for output in outputs)
    unknown = matinee(stack, "\x1b]0;owned\x07", "--run", RUN).output
    assert "\x1b" not in unknown
    assert "\x07" not in unknown


@pytest.mark.usefixtures("run")
def test_an_unknown_customer_is_told_so(stack: Stack) -> None:
    document = found(stack, "nobody", "--run", RUN)
    assert document["source"] == "popularity"
    assert len(document["items"]) == VIDEOS
    assert "customer nobody is unknown to this run" in matinee(stack, "nobody", "--run", RUN).output


@pytest.mark.usefixtures("run")
def test_an_endpoint_ranks_as_its_model_does(stack: Stack, endpoint: str) -> None:
    for customer in ("c1", "c5", "nobody"):
        by_model = found(stack, customer, "--run", RUN)
        by_endpoint = found(stack, customer, "--endpoint", endpoint)
        assert by_endpoint["endpoint"] == endpoint
        assert [(item["video"], item["stars"]) for item in by_endpoint["items"]] == [
            (item["video"], item["stars"]) for item in by_model["items"]
        ]


def test_what_is_in_service_goes_before_what_is_latest(
    stack: Stack, objects: Objects, run: dict[str, Any], tmp_path: Path
) -> None:
    later = put_run(objects, stack, "matinee-0000000002", 2, tmp_path)
    nothing_in_service = found(stack, "c1")
    assert nothing_in_service["run"] == later["run"]
    put_into_service(stack, run, "recommender")
    assert found(stack, "c1")["run"] == RUN
    assert found(stack, "c1", "--endpoint")["endpoint"] == "recommender"
    assert f"run {RUN}, in service at endpoint recommender\n" in matinee(stack, "c1").output


@pytest.mark.usefixtures("run")
def test_all_customers_are_written_to_the_runs_folder(stack: Stack, objects: Objects) -> None:
    result = matinee(stack, "--all", "--run", RUN, "--top", "2")
    assert result.exit_code == 0, result.output
    uri = f"s3://{BUCKET}/runs/{RUN}/recommendations.parquet"
    assert result.output.splitlines()[-1] == uri
    assert objects.modified(uri) is not None
    assert found(stack, "--all", "--run", RUN)["customers"] == CUSTOMERS


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["c1", "--run", "nowhere"], "there is no s3://matinee/runs/nowhere/summary.json; runs"),
        (["c1", "--endpoint", "nothing"], "Error: no endpoint nothing is in service"),
        ([], "name a customer, or --all of them"),
        (["c1", "--all"], "name a customer, or --all of them"),
        (["--all", "--endpoint", "films"], "--endpoint serves one customer at a time"),
        (["c1", "--top", "0"], "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_answered_is_told(stack: Stack, words: list[str], problem: str) -> None:
    result = matinee(stack, *words)
    assert result.exit_code in (1, 2)
    assert problem in result.output


def test_an_endpoint_of_something_else_is_named(stack: Stack, run: dict[str, Any]) -> None:
    put_into_service(stack, run, "strange", told=False)
    result = matinee(stack, "c1", "--endpoint", "strange")
    assert result.exit_code == 1
    assert "endpoint strange serves model strange, which is not of a model package" in result.output


def test_a_stopped_stack_is_told(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", random.SystemRandom())
    result = CliRunner().invoke(main, ["--home", str(home.path), "recommend", "c1"])
    assert result.output == "Error: SeaweedFS is not running: `matinee up` starts it\n"
    missing = CliRunner().invoke(main, ["--home", str(tmp_path / "no"), "recommend", "c1"])
    assert "there is no stack in" in missing.output
