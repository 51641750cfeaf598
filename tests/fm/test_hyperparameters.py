"""Hyperparameters arrive as strings, leave typed, and are refused by name, value and rule."""

import logging
from typing import Any

import pytest

from matinee.fm.errors import HyperparameterError
from matinee.fm.hyperparameters import DEFAULT_CONFIGURATION, Hyperparameters

REQUIRED = {"feature_dim": "100", "num_factors": "8", "predictor_type": "regressor"}


def test_strings_become_typed_values() -> None:
    parsed = Hyperparameters.parse(
        {
            **REQUIRED,
            "epochs": "20",
            "factors_lr": "5e-3",
            "bias_init_method": "constant",
            "bias_init_value": "-3.5",
            "clip_gradient": "-1",
            "use_linear": "false",
            "_learning_rate": ".5",
        }
    )

    assert parsed == Hyperparameters(
        feature_dim=100,
        num_factors=8,
        predictor_type="regressor",
        epochs=20,
        factors_lr=0.005,
        bias_init_method="constant",
        bias_init_value=-3.5,
        clip_gradient=-1.0,
        use_linear=False,
        learning_rate=0.5,
    )


def test_json_numbers_and_booleans_are_taken_too() -> None:
    given = {**REQUIRED, "feature_dim": 100, "factors_lr": 1, "use_bias": False}

    parsed = Hyperparameters.parse(given)

    assert (parsed.feature_dim, parsed.factors_lr, parsed.use_bias) == (100, 1.0, False)


def test_the_default_configuration_says_the_same_as_the_defaults() -> None:
    assert Hyperparameters.parse({**DEFAULT_CONFIGURATION, **REQUIRED}) == Hyperparameters(
        feature_dim=100, num_factors=8, predictor_type="regressor"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_data_format", "record"),
        ("_kvstore", "dist_async"),
        ("_log_level", "debug"),
        ("_num_gpus", "auto"),
        ("_num_kv_servers", "auto"),
        ("_optimizer", "adam"),
        ("_tuning_objective_metric", "test:rmse"),
        ("_use_full_symbolic", "False"),
    ],
)
def test_undocumented_names_are_accepted(name: str, value: str) -> None:
    Hyperparameters.parse({**REQUIRED, name: value})


INTEGER = (
    "expected a string matching '^([1-9][0-9]*)$' "
    "or an integer with minimum 1 and maximum 2147483647"
)
NUMBER = "expected a finite float32 number or a string of one"
NON_NEGATIVE = "expected a finite float32 number with minimum 0 or a string of one"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        *[
            (name, value, INTEGER)
            for name in (
                "feature_dim",
                "num_factors",
                "epochs",
                "mini_batch_size",
                "batch_metrics_publish_interval",
            )
            for value in ("0", "-1", "1.0", "abc", "", " 1", "01", "1_0", "²", 0, 1.5, True, None)
        ],
        ("feature_dim", "2147483648", INTEGER),
        ("feature_dim", "9" * 5000, INTEGER),
        *[
            (f"{group}_{name}", value, NON_NEGATIVE)
            for group in ("bias", "linear", "factors")
            for name in ("lr", "wd", "init_sigma", "init_scale")
            for value in ("-0.1", "nan", "inf", "1e39", "x", "", "1,5", "1_0", True, None, [1])
        ],
        *[
            (name, value, NUMBER)
            for name in (
                "bias_init_value",
                "linear_init_value",
                "factors_init_value",
                "clip_gradient",
                "rescale_grad",
                "eps",
            )
            for value in ("NaN", "-Infinity", "-1e39", "one", float("nan"), False)
        ],
        ("predictor_type", "ranker", "expected one of ['binary_classifier', 'regressor']"),
        ("bias_init_method", "xavier", "expected one of ['normal', 'uniform', 'constant']"),
        ("use_bias", "yes", "expected one of ['true', 'false']"),
        ("use_linear", 1, "expected one of ['true', 'false']"),
        ("_optimizer", "sgd", "expected one of ['adam']"),
        ("_data_format", "csv", "expected one of ['record']"),
        ("_kvstore", 1, "expected a string"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_rule(name: str, value: Any, rule: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.parse({**REQUIRED, name: value})

    assert str(caught.value) == f"{value!r} is not valid for {name!r}: {rule}"


def test_a_missing_name_is_refused() -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.parse({"num_factors": "8"})

    assert str(caught.value) == (
        "No value(s) were specified for 'feature_dim', 'predictor_type' "
        "which are required hyperparameter(s)"
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [(["mini_batch_siz"], "'mini_batch_siz' was"), (["b", "a"], "'a', 'b' were")],
)
def test_an_unknown_name_is_refused(names: list[str], said: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.parse({**REQUIRED, **dict.fromkeys(names, "1")})

    assert str(caught.value) == f"Additional properties are not allowed ({said} unexpected)"


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        Hyperparameters.parse({"feature_dim": "x", "num_factors": "8", "typo": "1"})

    assert len(str(caught.value).split("; ")) == 3


@pytest.mark.parametrize(
    ("method", "suffix", "fallback"), [("uniform", "scale", 0.07), ("constant", "value", 0.0)]
)
def test_a_method_without_its_number_falls_back_and_warns(
    method: str, suffix: str, fallback: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        parsed = Hyperparameters.parse({**REQUIRED, "linear_init_method": method})

    assert getattr(parsed, f"linear_init_{suffix}") == fallback
    assert caplog.messages == [
        f"linear_init_method is {method!r} but linear_init_{suffix} is not given: "
        f"{fallback} is used"
    ]


@pytest.mark.parametrize(("method", "suffix"), [("uniform", "scale"), ("constant", "value")])
def test_a_method_with_its_number_does_not_warn(
    method: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    Hyperparameters.parse({**REQUIRED, "bias_init_method": method, f"bias_init_{suffix}": "0.5"})

    assert caplog.messages == []
