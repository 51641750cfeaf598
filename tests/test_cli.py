"""The command line, as far as it goes without a stack: what it refuses, and how it says so."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import socket
import subprocess
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from matinee.cli import main
from matinee.stack.home import Home
from matinee.stack.service import program


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def matinee(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *words])


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("down",),
        ("env",),
        ("logs", "airflow"),
        ("data", "movielens-100k"),
        ("data", "simulate"),
    ],
    ids=lambda words: words[-1],
)
def test_without_a_stack_the_way_to_one_is_shown(home: Path, words: tuple[str, ...]) -> None:
    result = matinee(home, *words)
    assert result.exit_code == 1
    assert result.output == f"Error: there is no stack in {home}: `matinee up` makes one\n"
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--set", "epoch=3"], "there is no parameter 'epoch'; the parameters are ratings, "),
        (["--set", "epochs"], "--set epochs: it must look like NAME=VALUE"),
        (["--set", "epochs=many"], "epochs: 'many' is not of type 'integer', 'null'"),
        (["--set", "seed=-1"], "seed: -1 is less than the minimum of 0"),
        (["--set", 'columns={"customer": "user"}'], "columns: 'video' is a required property"),
        (["--ratings", "/no/such/file"], "--ratings /no/such/file: no such file, nor an s3:// URI"),
        (["--ratings", "s3://UPPER/x"], "ratings: 's3://UPPER/x' does not match "),
        (["--preset", "best"], "'best' is not one of 'default', 'bayesian', 'original'"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_starts(
    home: Path, words: list[str], problem: str
) -> None:
    result = matinee(home, "run", *words)
    assert result.exit_code in (1, 2)
    assert problem in result.output
    assert not home.exists()


def test_a_server_that_does_not_answer_is_named(unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}/api"
    front = type(main)(commands={"ask": click.Command("ask", callback=lambda: httpx.get(url))})
    result = CliRunner().invoke(front, ["ask"])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {url} does not answer (")


def test_a_folder_of_something_else_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    result = matinee(tmp_path, "up")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path} is no matinee home and not empty")


def test_the_home_is_known_from_the_environment(home: Path) -> None:
    result = CliRunner(env={**os.environ, "MATINEE_HOME": str(home)}).invoke(main, ["status"])
    assert f"there is no stack in {home}" in result.output


@pytest.fixture
def stopped(home: Path) -> Home:
    """A home whose stack does not run."""
    return Home.open(home, random.SystemRandom())


def test_status_of_a_stopped_stack_is_a_failure(stopped: Home) -> None:
    result = matinee(stopped.path, "status")
    assert result.exit_code == 1
    assert result.output.count("stopped") == 3


def test_env_prints_what_a_shell_can_take(stopped: Home) -> None:
    ports, keys = stopped.ports, stopped.credentials
    assert matinee(stopped.path, "env").output.splitlines() == [
        f"export AWS_ENDPOINT_URL=http://127.0.0.1:{ports.sagemaker}",
        f"export AWS_ENDPOINT_URL_S3=http://127.0.0.1:{ports.seaweedfs}",
        f"export AWS_ACCESS_KEY_ID={keys.access_key_id}",
        f"export AWS_SECRET_ACCESS_KEY={keys.secret_access_key}",
        "export AWS_DEFAULT_REGION=us-east-1",
        "export AWS_REGION=us-east-1",
    ]


@pytest.mark.parametrize("name", ["movielens-100k", "simulate"])
def test_data_wants_the_stack_up(stopped: Home, name: str) -> None:
    result = matinee(stopped.path, "data", name)
    assert result.output == "Error: SeaweedFS is not running: `matinee up` starts it\n"


def test_reviews_are_simulated_into_a_file_without_a_stack(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "reviews.tsv.gz"
    result = matinee(home, "data", "simulate", str(file), "--scale", "0.001")
    assert result.exit_code == 0
    assert not home.exists()
    rows = gzip.decompress(file.read_bytes()).count(b"\n") - 1
    truth = json.loads((tmp_path / "new" / "reviews.truth.json").read_text())
    assert truth["rows"] == rows
    assert truth["files"] == {str(file): file.stat().st_size}
    size = f"{file.stat().st_size:,} bytes"
    assert f"{file}: {rows:,} simulated rows, 7 of them malformed, {size}\n" in result.output
    assert f"RMSE: {truth['attainable']['rmse']:.4f} attainable, " in result.output


def test_reviews_are_simulated_into_a_folder(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    words = ("data", "simulate", str(folder), "--scale", "0.001", "--files", "2")
    assert matinee(home, *words).exit_code == 0
    assert [path.name for path in sorted(folder.iterdir())] == [
        "part-00000.tsv.gz",
        "part-00001.tsv.gz",
    ]
    assert (tmp_path / "reviews.truth.json").exists()
    again = matinee(home, *words)
    assert again.exit_code == 1
    assert again.output.startswith(f"Error: {folder} is not empty: ")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["reviews.csv"], "reviews.csv: the name of one file ends in .tsv or .tsv.gz"),
        (["--scale", "0"], "0.0 is not in the range x>=0.0001"),
        (["--files", "0"], "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_simulated_is_refused(home: Path, words: list[str], problem: str) -> None:
    result = matinee(home, "data", "simulate", *words)
    assert result.exit_code == 2
    assert problem in result.output


def test_logs_shows_as_many_lines_as_asked_for(stopped: Home) -> None:
    assert "airflow has written no log yet" in matinee(stopped.path, "logs", "airflow").output
    stopped.log("airflow").write_text("one\ntwo\nthree\n")
    assert matinee(stopped.path, "logs", "airflow", "-n", "2").output == "two\nthree\n"


def test_logs_follows_what_is_written(stopped: Home) -> None:
    log = stopped.log("airflow")
    log.write_text("one\n")
    command = [program("matinee"), "--home", str(stopped.path), "logs", "airflow", "-f"]
    with subprocess.Popen(  # noqa: S603 -- our own program
        command, stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        with log.open("a") as file:
            file.write("two\n")
        assert following.stdout.readline() == "two\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 1


@pytest.mark.parametrize("command", ["", *sorted(main.commands)])
def test_every_command_explains_itself(home: Path, command: str) -> None:
    result = matinee(home, *command.split(), "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
