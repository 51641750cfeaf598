"""What Airflow refuses by the schemas that it is told is what a run refuses."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from matinee.dags.schemas import DRAFT_7, declared
from matinee.workflow.parameters import PARAMETERS

VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "none", "s3://b/k", -1, 0, 1, 0.5, 10**9, [], ["x"], [1, 2], [{}], {}),
    *({"x": 1}, [{"x": 1}], [{"epochs": 0}], {"factors_lr": [0, 1]}, {"factors_lr": ["x"]}),
)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_declared_schema_takes_what_the_parameter_takes(name: str) -> None:
    schema = PARAMETERS[name].schema
    told = declared(schema)
    validator = validator_for(told)
    validator.check_schema(told)
    taken = [value for value in VALUES if Draft202012Validator(schema).is_valid(value)]
    assert [value for value in VALUES if validator(told).is_valid(value)] == taken


def test_the_draft_is_that_of_the_words() -> None:
    words = {name for name, found in PARAMETERS.items() if "$schema" not in declared(found.schema)}
    assert words == {"tuning_ranges"}
    assert declared({"type": "integer"}) == {"$schema": DRAFT_7, "type": "integer"}
