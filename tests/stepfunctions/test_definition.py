"""The state machine as Step Functions would check it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from statelint.cli import main as statelint

from matinee.stepfunctions.definition import SUBSTITUTIONS, definition, substituted
from tests.stepfunctions.machine import machine


def tasks(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every task, those in a map too."""
    for name, state in document["States"].items():
        if state["Type"] == "Task":
            yield name, state
        if state["Type"] == "Map":
            yield from tasks(state["ItemProcessor"])


TASKS = dict(tasks(definition()))


def test_statelint_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert statelint([machine("some-bucket")]) == 0, capsys.readouterr().out


def test_what_a_deployment_knows_stands_in_it_and_nothing_else() -> None:
    text = json.dumps(definition())
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(SUBSTITUTIONS)
    assert "${" not in machine("some-bucket")
    assert not re.search(r"\d{12}|us-east-1|arn:aws:", text)
    with pytest.raises(KeyError, match="Bucket"):
        substituted(definition(), {name: "" for name in SUBSTITUTIONS if name != "Bucket"})


@pytest.mark.parametrize("name", TASKS)
def test_a_task_names_fields_that_the_api_has_and_all_that_it_requires(name: str) -> None:
    state = TASKS[name]
    service, _, action = state["Resource"].rpartition(":::")[2].rpartition(":")
    action = action.removesuffix(".sync")
    client = boto3.client(service.removeprefix("aws-sdk:"), region_name="us-east-1")
    shape = client.meta.service_model.operation_model(action[0].upper() + action[1:]).input_shape
    named = {field.removesuffix(".$") for field in state["Parameters"]}
    assert named <= set(shape.members)
    assert set(shape.required_members) <= named
    client.close()


def test_every_task_is_tried_again_and_its_failure_cleaned_up() -> None:
    for name, state in TASKS.items():
        assert state["Retry"], name
        if name == "TrainOne":
            continue  # what it is mapped by catches
        [catch] = state["Catch"]
        after = {"PutParameters": "Failed", "CleanUp": "Ended"}.get(name, "CleanUp")
        assert (catch["ErrorEquals"], catch["Next"]) == (["States.ALL"], after)


def test_each_try_of_a_job_has_a_name_of_its_own() -> None:
    names = {
        field: value
        for state in TASKS.values()
        for field, value in state["Parameters"].items()
        if re.fullmatch(r"\w+JobName\.\$", field)
    }
    assert names
    for value in names.values():
        assert value.endswith("States.MathAdd($$.State.RetryCount, 1))")
