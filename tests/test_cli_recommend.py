"""`matinee recommend` against a real S3, a real local SageMaker and a real endpoint."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from click.testing import CliRunner, Result

from matinee.cli import main
from matinee.fm import artifact
from matinee.fm.model import Model
from matinee.stack.home import Home
from matinee.stack.stack import BUCKET, Stack
from matinee.workflow.objects import Objects
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.conftest import running

CUSTOMERS, VIDEOS = 12, 10
RUN = "matinee-0000000001"
HOSTILE = "\x1b[31m<script>Film 3"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1"
ROLE = "arn:aws:iam::000000000000:role/matinee-sagemaker"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """S3 and SageMaker of a home; Airflow has no part in this."""
    folder = tmp_path_factory.mktemp("recommend")
    home = Home.open(folder / "home", random.SystemRandom())
    stack = Stack(home, os.environ)
    for service in (stack.seaweedfs, stack.sagemaker):
        (home.path / service.name).mkdir(exist_ok=True)
    with running(stack.seaweedfs, home.path), running(stack.sagemaker, home.path):
        yield stack


@pytest.fixture(scope="module")
def objects(stack: Stack) -> Objects:
    return Objects(stack.client("s3"))


def put_run(objects: Objects, stack: Stack, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Write what a run leaves: ratings, tables, a model and the summary."""
    rows = [
        f"c{customer},v{video},{1 + (customer * video) % 5},{title(video)}"
        for customer in range(CUSTOMERS)
        for video in range(VIDEOS)
        if (customer + video) % 3
    ]
    ratings = folder / "ratings.csv"
    ratings.write_text("\n".join(["user_id,item_id,rating,title", *rows]) + "\n")
    columns = {"customer": "user_id", "video": "item_id", "stars": "rating", "title": "title"}
    filters = {"min_ratings_per_customer": 1, "min_ratings_per_video": 1}
    settings = Settings.from_parameters({"ratings": str(ratings), "columns": columns, **filters})
    with pytest.MonkeyPatch.context() as environment:
        # It remembers the keys of the first that asked: other tests' S3.
        environment.setattr(boto3, "DEFAULT_SESSION", None)
        for variable, value in stack.client_environment().items():
            environment.setenv(variable, value)
        preprocessed = preprocess(settings, {"run": name})
    rng = np.random.default_rng(seed)
    width = CUSTOMERS + VIDEOS
    factors = rng.normal(0, 1, (width, 4)).astype(np.float32)
    linear = rng.normal(0, 1, width).astype(np.float32)
    path = folder / "model_algo-1"
    artifact.write(Model(3.0, linear, factors, "regressor"), path)
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        archive.add(path, path.name)
    packed = folder / "model.tar.gz"
    packed.write_bytes(body.getvalue())
    model = f"{settings.folder(name)}/model.tar.gz"
    objects.upload(packed, model)
    summary = {
        "run": name,
        "settings": settings.to_parameters(),
        "funnel": [{"ratings": len(rows), "customers": CUSTOMERS, "videos": VIDEOS}],
        "artifacts": {
            "model": model,
            "report": preprocessed["report"],
            **{kind: preprocessed[kind] for kind in ("customers", "videos", "ratings")},
        },
    }
    objects.write_json(summary, f"{settings.folder(name)}/summary.json")
    return summary


def title(video: int) -> str:
    return HOSTILE if video == 3 else f"Film {video}"


@pytest.fixture(scope="module")
def run(objects: Objects, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return put_run(objects, stack, RUN, 1, tmp_path_factory.mktemp("run"))


def put_into_service(stack: Stack, summary: dict[str, Any], name: str, *, told: bool) -> None:
    """Serve a run's model, of a package that tells of its run or not."""
    sagemaker = stack.client("sagemaker")
    about = {"run": summary["run"], "summary": f"s3://{BUCKET}/runs/{summary['run']}/summary.json"}
    model = summary["artifacts"]["model"]
    package = sagemaker.create_model_package(
        ModelPackageName=name,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": model}],
            "SupportedContentTypes": ["application/x-recordio-protobuf"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties=about if told else {"by": "somebody"},
    )["ModelPackageArn"]
    container = {"ModelPackageName": package}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "all",
                "ModelName": name,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


@pytest.fixture(scope="module")
def endpoint(stack: Stack, run: dict[str, Any]) -> str:
    put_into_service(stack, run, "films", told=True)
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
    put_into_service(stack, run, "recommender", told=True)
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
        (["c1", "--endpoint", "nothing"], "Error: there is no endpoint nothing"),
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
