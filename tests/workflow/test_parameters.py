"""The table of run parameters: complete, self-consistent, and strict."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from matinee.workflow.errors import SettingsError
from matinee.workflow.hyperparameters import HYPERPARAMETERS, PRESETS
from matinee.workflow.parameters import PARAMETERS, Parameter, from_text, validate


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=list(PARAMETERS))
def test_every_parameter_has_a_legal_schema_that_its_default_keeps(parameter: Parameter) -> None:
    Draft202012Validator.check_schema(parameter.schema)
    Draft202012Validator(parameter.schema).validate(parameter.default)
    assert parameter.help.endswith(".")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_keeps_its_schema(preset: str) -> None:
    validate({"preset": preset, **PRESETS[preset]})


def test_the_help_of_a_parameter_that_presets_decide_names_their_values() -> None:
    assert PARAMETERS["epochs"].help.endswith("Presets: default 15, bayesian 300, original 10.")
    assert "original unset (0.1)" in PARAMETERS["bias_lr"].help
    decided = {name for preset in PRESETS.values() for name in preset} | set(HYPERPARAMETERS)
    assert {p.name for p in PARAMETERS.values() if "Presets:" in p.help} == decided


def test_the_original_preset_is_the_published_example() -> None:
    assert PRESETS["original"] == {
        "num_factors": 64,
        "epochs": 10,
        "mini_batch_size": 200,
        "tuning_ranges": {"factors_lr": [0.0001, 0.2], "factors_init_sigma": [0.0001, 1]},
        "tuning_jobs": 20,
        "tuning_parallel_jobs": 2,
        "training_instance_type": "ml.c5.4xlarge",
        "training_volume_gb": 30,
        "training_max_seconds": 3600,
        "transform_instance_type": "ml.c4.xlarge",
    }


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("ratings", "file.tsv", "does not match"),
        ("ratings", "s3://bucket", "does not match"),
        ("ratings", 7, "7 is not of type 'string'"),
        ("output", "runs/here", "does not match"),
        ("role", "a role", "does not match"),
        ("preset", "best", "'best' is not one of"),
        ("seed", -1, "-1 is less than the minimum of 0"),
        ("seed", None, "None is not of type 'integer'"),
        ("check_interval", 0, "0 is less than the minimum of 0.1"),
        ("tune", "yes", "'yes' is not of type 'boolean'"),
        ("min_ratings_per_customer", 0, "0 is less than the minimum of 1"),
        ("min_ratings_per_video", 2.5, "2.5 is not of type 'integer'"),
        ("train_fraction", 1, "1 is greater than or equal to the maximum of 1"),
        ("test_fraction", 0, "0 is less than or equal to the minimum of 0"),
        ("columns", {"customer": "a", "video": "b"}, "'stars' is a required property"),
        ("columns", {"customer": "", "video": "b", "stars": "c"}, "['customer']"),
        ("columns", {"customer": "a", "video": "b", "stars": "c", "age": "d"}, "'age'"),
        ("epochs", 0, "0 is less than the minimum of 1"),
        ("epochs", True, "True is not of type 'integer', 'null'"),
        ("factors_lr", -0.1, "-0.1 is less than the minimum of 0"),
        ("factors_lr", "fast", "'fast' is not of type 'number', 'null'"),
        ("bias_init_method", "zeros", "'zeros' is not one of"),
        ("tuning_ranges", {}, "{} should be non-empty"),
        ("tuning_ranges", {"solver": [1, 2]}, "'solver' is not one of"),
        ("tuning_ranges", {"epochs": [1]}, "['epochs']: [1] is too short"),
        ("tuning_ranges", {"epochs": [1, 2, "Log"]}, "['epochs'][2]: 'Log' is not one of"),
        ("tuning_jobs", 751, "751 is greater than the maximum of 750"),
        ("training_instance_type", "big", "'big' does not match"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_the_rule(
    name: str, value: Any, rule: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        validate({name: value})
    assert name in str(refusal.value)
    assert rule in str(refusal.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"^2 run parameters are wrong: .*epoch.*; seed: -1 is"):
        validate({"epoch": 3, "seed": -1})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ratings", "s3://b/1", "s3://b/1"),
        ("preset", "original", "original"),
        ("tune", "true", True),
        ("epochs", "12", 12),
        ("epochs", "null", None),
        ("check_interval", "0.5", 0.5),
        ("columns", '{"customer": "u"}', {"customer": "u"}),
        ("training_instance_type", "ml.m5.large", "ml.m5.large"),
        ("epochs", "twelve", "twelve"),
    ],
)
def test_text_from_a_command_line_becomes_a_value(name: str, text: str, value: Any) -> None:
    assert from_text(name, text) == value


def test_text_for_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is no parameter 'epoch'; the parameters are"):
        from_text("epoch", "3")
