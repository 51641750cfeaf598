"""The DAG file, as Airflow parses it: with no network, no credentials and nothing heavy."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import matinee.dags
from matinee.dags.schemas import declared
from matinee.workflow.parameters import PARAMETERS
from tests.dags.conftest import Drive

FILE = Path(matinee.dags.__file__).parent / "recommender.py"
UPSTREAM = {
    "start": [],
    "preprocess": ["start"],
    "drift": ["preprocess"],
    "prepare": ["drift", "preprocess"],
    "check": ["preprocess"],
    "branch": ["check", "prepare", "preprocess"],
    "train": ["branch"],
    "tune": ["branch"],
    "configure": ["branch"],
    "train_each": ["configure"],
    "choose": ["train", "train_each", "tune"],
    "predict": ["branch", "choose"],
    "evaluate": ["predict", "preprocess"],
    "recommend": ["evaluate", "preprocess"],
    "register": ["evaluate", "preprocess", "start"],
    "gate": ["evaluate", "preprocess", "register"],
    "ask": ["gate"],
    "deploy": ["ask", "gate"],
    "reject": ["ask", "gate"],
    "report": ["deploy", "recommend", "reject", "start"],
    "clean_up": ["report", "start"],
}
GROUPS = {
    "data": {"preprocess", "check", "drift", "prepare"},
    "model": {
        *("branch", "train", "tune", "configure", "train_each", "choose"),
        *("predict", "evaluate", "recommend"),
    },
    "publish": {"register", "gate", "ask", "deploy", "reject"},
    None: {"start", "report", "clean_up"},
}
JOBS = {"train", "tune", "train_each", "predict"}


@pytest.fixture(scope="module")
def dag(drive: Drive) -> dict[str, Any]:
    [answer] = drive("describe")
    return answer


def test_it_is_one_dag_without_errors_or_schedule(dag: dict[str, Any]) -> None:
    assert dag["errors"] == []
    assert dag["dags"] == ["recommender"]
    assert dag["schedule"] is None


def test_the_tasks_are_the_workflows(dag: dict[str, Any]) -> None:
    assert {name: task["upstream"] for name, task in dag["tasks"].items()} == UPSTREAM


def test_the_jobs_are_sent_by_stock_operators(dag: dict[str, Any]) -> None:
    classes = {name: dag["tasks"][name]["class"] for name in (*JOBS, "ask")}
    assert classes == {
        "train": "SageMakerTrainingOperator",
        "train_each": "SageMakerTrainingOperator",
        "tune": "SageMakerTuningOperator",
        "predict": "SageMakerTransformOperator",
        "ask": "HITLOperator",
    }


def test_the_tasks_are_in_groups_that_their_names_do_not_tell(dag: dict[str, Any]) -> None:
    groups: dict[str | None, set[str]] = {}
    for name, task in dag["tasks"].items():
        groups.setdefault(task["group"], set()).add(name)
    assert groups == GROUPS


def test_what_is_made_is_an_asset(dag: dict[str, Any]) -> None:
    outlets = {name: task["outlets"] for name, task in dag["tasks"].items() if task["outlets"]}
    assert outlets == {
        "preprocess": ["recommender-data"],
        "predict": ["recommender-predictions"],
        "deploy": ["recommender-model"],
    }


def test_jobs_and_the_deployment_link_to_the_console(dag: dict[str, Any]) -> None:
    links = {name: task["links"] for name, task in dag["tasks"].items() if task["links"]}
    assert links == {name: ["Console"] for name in (*JOBS, "deploy")}


def test_a_failed_task_is_tried_once_more_and_logged(dag: dict[str, Any]) -> None:
    for task in dag["tasks"].values():
        assert task["retries"] == 1
        assert task["on_failure"] == ["log_failure"]


def test_all_tasks_are_in_the_pool_that_is_always_there(dag: dict[str, Any]) -> None:
    assert {task["pool"] for task in dag["tasks"].values()} == {"default_pool"}


def test_a_deployment_chooses_the_schedule_the_pool_of_jobs_and_defaults(drive: Drive) -> None:
    more = {
        "AIRFLOW__MATINEE__SCHEDULE": "0 4 * * 1", "AIRFLOW__MATINEE__JOB_POOL": "sagemaker",
        "AIRFLOW__MATINEE__ENGINE": "athena", "AIRFLOW__MATINEE__SEED": "7",
    }  # fmt: skip
    [chosen] = drive("describe", more=more)
    defaults = {name: param["default"] for name, param in chosen["params"].items()}
    own = {name: parameter.default for name, parameter in PARAMETERS.items()}
    assert defaults == {**own, "engine": "athena", "seed": 7}
    assert "0 4 * * 1" in chosen["schedule"]
    pools = {name: task["pool"] for name, task in chosen["tasks"].items()}
    assert {name for name, pool in pools.items() if pool == "sagemaker"} == JOBS
    assert set(pools.values()) == {"sagemaker", "default_pool"}


def test_predicting_follows_either_branch_and_clean_up_all(dag: dict[str, Any]) -> None:
    tasks = dag["tasks"]
    for name in ("choose", "predict"):
        assert tasks[name]["trigger_rule"] == "none_failed_min_one_success"
    assert tasks["start"]["setup"]
    for name in ("report", "clean_up"):
        assert tasks[name]["teardown"]
        assert tasks[name]["trigger_rule"] == "all_done_setup_success"


def test_a_backfill_takes_the_ratings_of_before_its_interval_ends(drive: Drive) -> None:
    backfill, scheduled = drive("until", "backfill", "scheduled")
    assert backfill["until"] == "2026-01-05T04:00:00Z"
    assert scheduled["until"] is None


def test_the_dag_and_every_task_are_documented(dag: dict[str, Any]) -> None:
    for name, task in dag["tasks"].items():
        assert task["doc"].endswith(".")
        assert f"{name}" in dag["doc"]


def test_the_trigger_form_is_the_table_of_parameters(dag: dict[str, Any]) -> None:
    assert dag["params"] == {
        name: {
            "default": parameter.default,
            "help": parameter.help,
            "schema": {**declared(parameter.schema), "section": parameter.section},
        }
        for name, parameter in PARAMETERS.items()
    }


def test_parsing_imports_nothing_heavy(dag: dict[str, Any]) -> None:
    assert dag["heavy"] == []


def test_nothing_in_the_file_knows_where_aws_is() -> None:
    words = {"endpoint", "localhost", "127.0.0.1", "port", "environ", "aws_access_key_id"}
    tree = ast.parse(FILE.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
    assert not {name for name in names if name.lower() in words or "endpoint" in name}
