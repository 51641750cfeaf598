"""The registry of training images."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee.sagemaker.algorithms import (
    BUILT_IN,
    FACTORIZATION_MACHINES,
    MATINEE_FM,
    Algorithm,
    NoCommandError,
    UnknownImageError,
    find,
    repository,
)
from matinee.sagemaker.machine.commands import Command


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1", None),
        ("390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/factorization-machines:latest", None),
        ("factorization-machines", None),
        ("localhost:5000/factorization-machines@sha256:0123", None),
        ("localhost/team/model", "team/model"),
        ("registry.example/team/model:2", "team/model"),
        ("team/model", "team/model"),
    ],
)
def test_an_image_is_known_by_its_repository(image: str, name: str | None) -> None:
    assert repository(image) == (name or "factorization-machines")


def test_an_unknown_image_is_refused_by_name() -> None:
    assert find(BUILT_IN, "1.dkr.ecr/factorization-machines:1") is FACTORIZATION_MACHINES
    assert find(BUILT_IN, "1.dkr.ecr/matinee-fm:1") is MATINEE_FM
    with pytest.raises(UnknownImageError, match="Cannot find repository: xgboost of image"):
        find(BUILT_IN, "683313688378.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1")


def test_a_job_may_bring_an_entrypoint_where_the_image_takes_one() -> None:
    python = BUILT_IN["sagemaker-scikit-learn"]
    command = python.command("process", ["python3", "/opt/ml/x.py"], ["--a", "1"])
    assert command.words == ("python3", "/opt/ml/x.py", "--a", "1")
    assert (Path(command.search_path) / "python3").exists()
    with pytest.raises(NoCommandError, match="without a process command; give the job a Contain"):
        python.command("process")
    with pytest.raises(NoCommandError, match="takes no ContainerEntrypoint"):
        MATINEE_FM.command("train", ["python3"])
    with pytest.raises(NoCommandError, match=r"is registered without a process command$"):
        MATINEE_FM.command("process")


def test_a_jobs_arguments_follow_a_programs_and_replace_an_images() -> None:
    program, image = Command(("run", "train")), Command(("train",), image="mine:1")
    assert Algorithm(train=program).command("train", (), ["-v"]).words == ("run", "train", "-v")
    assert Algorithm(train=image).command("train", (), ["-v"]).words == ("-v",)
    own = Algorithm(entrypoint=image).command("process", ["bash", "-c"], ["ls"])
    assert (own.entrypoint, own.words, own.image) == (("bash", "-c"), ("ls",), "mine:1")


def test_the_definitions_of_factorization_machines_are_awss() -> None:
    patterns = {item["Name"]: item["Regex"] for item in FACTORIZATION_MACHINES.metric_definitions}
    assert len(patterns) == 26
    assert patterns["test:rmse"] == r"#quality_metric: host=\S+, test rmse <loss>=(\S+)"
    assert patterns["train:binary_f_beta:batch"] == (
        r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train binary_f_1.000 <score>=(\S+)"
    )
    assert set(FACTORIZATION_MACHINES.objectives or ()) <= patterns.keys()


def test_matinee_fm_is_also_measured_and_tuned_by_a_validation_channel() -> None:
    patterns = {item["Name"]: item["Regex"] for item in MATINEE_FM.metric_definitions}
    assert patterns["validation:rmse"] == r"#quality_metric: host=\S+, validation rmse <loss>=(\S+)"
    assert patterns["validation:binary_f_beta:epoch"] == (
        r"#quality_metric: host=\S+, epoch=\S+, validation binary_f_1.000 <score>=(\S+)"
    )
    assert len(MATINEE_FM.metric_definitions) == len(patterns) == 26 + 12
    objectives = MATINEE_FM.objectives or {}
    assert set(objectives) <= patterns.keys()
    assert objectives["validation:rmse"] == "Minimize"
    assert (FACTORIZATION_MACHINES.objectives or {}).items() < objectives.items()


def test_the_strict_algorithm_is_tuned_by_nothing_of_matinees() -> None:
    strict, more = FACTORIZATION_MACHINES.tunable, MATINEE_FM.tunable
    assert strict is not None
    assert more is not None
    assert strict < more
    assert not strict & {"learning_rate", "num_factors", "solver"}
    assert "solver" not in more
