"""The whole of matinee as a user has it: `matinee` commands on one real stack, in this order."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from matinee.stack import processes
from matinee.stack.airflow import Airflow
from matinee.stack.airflow_api import AirflowAPI, AirflowError
from matinee.stack.home import Home
from matinee.stack.service import program
from matinee.stack.stack import Stack
from tests.cloud.conftest import emulating

TASKS = (
    "start",
    "preprocess",
    "check",
    "prepare",
    "branch",
    "train",
    "predict",
    "evaluate",
    "register",
    "gate",
    "deploy",
    "report",
    "clean_up",
)
LIMIT_S = 420


def matinee(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- our own program
        [program("matinee"), "--home", str(home), *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a stack that `matinee up` started."""
    home = tmp_path_factory.mktemp("whole") / "home"
    done = matinee(home, "up")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield home
    finally:
        matinee(home, "down")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings of 20 videos by 30 customers: the odd like the odd, the even the even."""
    lines = ["customer_id,product_id,star_rating,product_title"]
    lines += [
        f"c{customer},v{video},{5 if (customer + video) % 2 == 0 else 1},Video {video}"
        for customer in range(30)
        for video in range(20)
        if (customer * 7 + video * 3) % 5
    ]
    path = tmp_path_factory.mktemp("ratings") / "small.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_second_up_finds_the_stack_up(home: Path) -> None:
    done = matinee(home, "up")
    assert done.returncode == 0, done.stderr
    assert "The stack was up already." in done.stdout
    for service in ("seaweedfs", "sagemaker", "airflow"):
        assert f"{service:<12} is already up" in done.stdout


def test_status_shows_all_of_it_running(home: Path) -> None:
    done = matinee(home, "status")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("running") == 3


def test_nothing_listens_but_on_loopback(home: Path) -> None:
    listening = {
        connection.laddr.ip
        for process in processes.members(home)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_env_leads_any_aws_client_to_the_stack(home: Path) -> None:
    printed = matinee(home, "env").stdout
    exported = dict(word.split("=", 1) for word in shlex.split(printed) if word != "export")
    script = (
        "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'],"
        " boto3.client('sts').get_caller_identity()['Account'],"
        " boto3.client('sagemaker').list_training_jobs()['TrainingJobSummaries'])"
    )
    done = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, "-c", script],
        env={**os.environ, **exported},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "matinee 000000000000 []\n", done.stderr


@pytest.fixture
def airflow(home: Path) -> Airflow:
    return Stack(Home.open(home, random.SystemRandom()), os.environ).airflow


def test_airflow_refuses_a_wrong_parameter_readably(airflow: Airflow) -> None:
    with airflow.api() as api, pytest.raises(AirflowError) as caught:
        api.trigger("recommender", {"epochs": "many"})
    assert caught.value.status == 400
    assert str(caught.value) == (
        "Invalid input for param epochs: 'many' is not of type 'integer', 'null'"
    )


def test_airflow_wants_the_password(airflow: Airflow) -> None:
    with (
        AirflowAPI(airflow.address, "guessed") as api,
        pytest.raises(AirflowError, match="login as admin failed") as caught,
    ):
        api.dag("recommender")
    assert caught.value.status == 401


def test_a_run_ends_in_recommendations(home: Path, ratings: Path) -> None:
    more = ("--set", "epochs=3", "--set", "gate_baseline=none")
    done = matinee(home, "run", "--ratings", str(ratings), *more)
    assert done.returncode == 0, done.stdout + done.stderr
    for task in TASKS:
        assert f"{task:<12} success" in done.stdout
    assert "tune         skipped" in done.stdout
    assert "s3://matinee/ratings/small.csv" in done.stdout
    for words in ("Errors on", "Factorization Machines", "For customer c", "model.tar.gz"):
        assert words in done.stdout
    assert "is stopped" not in done.stdout, "the stack was up before"
    assert "The model recommender/1 is approved" in done.stdout
    assert "no model is in service and none has to be beaten: RMSE" in done.stdout
    assert "endpoint recommender serves it" in done.stdout
    [report] = (home / "reports").iterdir()
    assert f"report       {report}" in done.stdout
    assert "Decision: approved" in report.read_text()


def test_the_state_machine_takes_up_what_the_dag_has_made(home: Path, ratings: Path) -> None:
    more = ("--set", "epochs=3", "--set", "publish=false")
    done = matinee(home, "stepfunctions", "run", "--ratings", str(ratings), *more)
    assert done.returncode == 0, done.stdout + done.stderr
    for state in ("Data", "CreateModel", "Predict", "Publish", "CleanUp"):
        assert f"{state:<12} success" in done.stdout
    assert "Train" not in done.stdout
    for step in ("preprocess", "train"):
        assert f"{step} was not done again: it is that of run matinee-" in done.stdout
    assert "Errors on" in done.stdout
    assert "is stopped" not in done.stdout, "the stack was up before"
    assert len([*(home / "reports").iterdir()]) == 2


def test_there_is_nothing_to_go_back_to_before_the_second_model(home: Path) -> None:
    done = matinee(home, "rollback")
    assert done.returncode == 1
    assert "model-package/recommender/1, and no version before it is approved" in done.stderr


def answer(api: AirflowAPI, run_id: str) -> dict[str, Any]:
    """Approve the model of a run as a person does by Airflow's pages; return the question."""
    path = f"/api/v2/dags/recommender/dagRuns/{run_id}/taskInstances/ask/-1/hitlDetails"
    asked = api._ask("GET", path)
    said = {"chosen_options": ["Approve"], "params_input": {"comment": "as agreed"}}
    api._ask("PATCH", path, json=said)
    return asked


def test_a_person_who_is_asked_decides(home: Path, ratings: Path, airflow: Airflow) -> None:
    command = [program("matinee"), "--home", str(home), "run", "--ratings", str(ratings)]
    command += ["--set", "approval=person", "--set", "epochs=2", "--set", "gate_tolerance=0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        subprocess.Popen(  # noqa: S603 -- our own program
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as watching,
        airflow.api() as api,
    ):
        assert watching.stdout is not None
        shown = ""
        for line in watching.stdout:
            shown += line
            if line.startswith("ask ") and "awaiting_input" in line:
                asked = answer(api, shown.partition("run ")[2].partition("\n")[0])
        assert watching.wait(LIMIT_S) == 0, shown
    assert "It will ask for your approval: http://127.0.0.1:" in shown
    assert "| candidate: arn:aws:sagemaker:" in asked["body"]
    assert "The model recommender/2 is approved" in shown
    assert "approved by admin (as agreed); the gate would have" in shown


def test_rollback_tells_from_what_to_what(home: Path) -> None:
    done = matinee(home, "rollback")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Endpoint recommender went back"
    assert lines[1].startswith("  from recommender/2, matinee-")
    assert lines[2].startswith("  to   recommender/1, matinee-")
    assert "test ratings" in lines[2]


def test_a_failed_task_is_told_with_its_reason_and_log(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("customer_id,product_id,star_rating\nc1,v1,loved it\n")
    done = matinee(home, "run", "--ratings", str(empty))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Task preprocess failed (try 1)" in done.stdout
    assert (
        "reason: RatingsError: none of the 1 rows of s3://matinee/ratings/empty.csv is a usable"
        in done.stdout
    )
    assert "caused by" not in done.stdout, "one reason, once"
    assert "task_id=preprocess/attempt=1.log" in done.stdout


def test_a_run_on_a_stack_of_aws_is_followed_as_one_here(
    home: Path, airflow: Airflow, tmp_path: Path
) -> None:
    """CloudFormation and the secret are an emulator's, all else is the local stack's."""
    empty = tmp_path / "empty.csv"
    empty.write_text("customer_id,product_id,star_rating\nc1,v1,loved it\n")
    local = Stack(Home.open(home, random.SystemRandom()), os.environ).client_environment()
    with emulating(tmp_path) as emulator:
        secret = emulator.client("secretsmanager").create_secret(
            Name="admin", SecretString=airflow.password
        )
        outputs = {
            "Bucket": "matinee",
            "SageMakerRoleArn": "arn:aws:iam::000000000000:role/matinee-sagemaker",
            "AirflowAddress": airflow.address,
            "AdminSecretArn": secret["ARN"],
        }
        template = {
            "Description": "matinee on AWS: a test",
            "Parameters": {"Recommender": {"Type": "String", "Default": "films"}},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
        emulator.client("cloudformation").create_stack(
            StackName="matinee", TemplateBody=json.dumps(template)
        )
        services = {
            f"AWS_ENDPOINT_URL_{service}": emulator.address
            for service in ("CLOUDFORMATION", "SECRETS_MANAGER")
        }
        done = subprocess.run(  # noqa: S603 -- our own program
            [program("matinee"), "--home", str(tmp_path), "cloud", "run", "--ratings", str(empty)],
            env={**os.environ, **local, **services},
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Task preprocess failed (try 1)" in done.stdout
    assert "reason: RatingsError: none of the 1 rows of s3://matinee/ratings/empty" in done.stdout
    assert "log group /matinee/matinee: " in done.stdout
    with airflow.api() as api:
        run_id = done.stdout.partition("run ")[2].partition("\n")[0]
        conf = api.run("recommender", run_id)["conf"]
    assert conf == {
        "ratings": "s3://matinee/ratings/empty.csv", "output": "s3://matinee/runs",
        "role": outputs["SageMakerRoleArn"], "endpoint": "films", "model_package_group": "films",
    }  # fmt: skip


def test_logs_shows_the_last_lines(home: Path) -> None:
    done = matinee(home, "logs", "sagemaker", "-n", "2")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2


def test_an_interrupted_run_goes_on_in_a_stack_that_was_up(home: Path, ratings: Path) -> None:
    command = [program("matinee"), "--home", str(home), "run", "--ratings", str(ratings)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 -- our own program
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            if line.startswith("start "):
                watching.send_signal(signal.SIGINT)
                break
        rest = watching.stdout.read()
        assert watching.wait(LIMIT_S) == 130
    assert "No longer watching. The run goes on: http://127.0.0.1:" in rest


def test_down_ends_every_process(home: Path) -> None:
    assert len(processes.members(home)) > 8
    done = matinee(home, "down")
    assert done.returncode == 0, done.stderr
    assert "The stack is down." in done.stdout
    assert processes.members(home) == []
    status = matinee(home, "status")
    assert status.returncode == 1
    assert status.stdout.count("stopped") == 3
