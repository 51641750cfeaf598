"""The hyperparameters of matinee-fm: those of the chosen solver, checked all at once."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from matinee.fm.adam import AdamSettings
from matinee.fm.errors import HyperparameterError
from matinee.fm.hyperparameters import DEFAULT_CONFIGURATION, Hyperparameters
from matinee.fm.matinee_hyperparameters import (
    RULES,
    SOLVERS,
    MatineeHyperparameters,
    Solver,
    default_configuration,
    solver_of,
)
from matinee.fm.mcmc import McmcSettings
from matinee.fm.sgd import SgdSettings

REQUIRED = {"feature_dim": "6", "predictor_type": "regressor"}


def parse(**values: object) -> MatineeHyperparameters:
    return MatineeHyperparameters.parse({**REQUIRED, **values})


def problem(**values: object) -> str:
    with pytest.raises(HyperparameterError) as caught:
        parse(**values)
    return str(caught.value)


def test_mcmc_is_the_default() -> None:
    given = parse(
        num_factors="3",
        epochs="20",
        burn_in="0",
        field_dims="2,3,1",
        init_sigma="0.2",
        artifact_factors="9",
        num_samples="4",
        patience="5",
        threads="1",
        seed="0",
    )

    assert given == MatineeHyperparameters(
        feature_dim=6,
        settings=McmcSettings(
            num_factors=3,
            predictor_type="regressor",
            epochs=20,
            burn_in=0,
            field_dims=(2, 3, 1),
            init_sigma=0.2,
            artifact_factors=9,
            num_samples=4,
            patience=5,
        ),
        threads=1,
        seed=0,
    )
    assert (given.epochs, given.mini_batch_size) == (20, None)


def test_sgd_has_rates_of_its_own() -> None:
    given = parse(
        solver="sgd",
        num_factors=4,
        epochs=7,
        learning_rate="1e-2",
        regularization="0",
        init_sigma=0.5,
        num_models="3",
        artifact_factors="5",
        patience="2",
        threads="2",
    )

    assert given.settings == SgdSettings(
        num_factors=4,
        predictor_type="regressor",
        epochs=7,
        learning_rate=0.01,
        regularization=0.0,
        init_sigma=0.5,
        num_models=3,
        artifact_factors=5,
        patience=2,
    )
    assert given.threads == 2


def test_adam_takes_what_sagemakers_algorithm_takes_and_more() -> None:
    strict = {
        **REQUIRED,
        **DEFAULT_CONFIGURATION,
        "num_factors": "3",
        "epochs": "4",
        "mini_batch_size": "10",
        "factors_lr": "0.5",
        "_learning_rate": "0.1",
        "_kvstore": "dist_async",
    }
    given = parse(**strict, solver="adam", num_models="2", patience="3", artifact_factors="6")

    assert given.settings == AdamSettings(
        hyperparameters=Hyperparameters.parse(strict),
        num_models=2,
        artifact_factors=6,
        patience=3,
    )
    # Its models are trained one after the other.
    assert (given.epochs, given.mini_batch_size) == (8, 10)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_default_configuration_says_the_same_as_the_defaults(solver: Solver) -> None:
    bare = parse(solver=solver)

    defaults = default_configuration(solver)
    assert not defaults.keys() & REQUIRED.keys()
    assert MatineeHyperparameters.parse({**defaults, **REQUIRED}) == bare


def test_short_runs_forget_a_sixth_of_their_sweeps() -> None:
    for epochs, burn_in in (("1", 0), ("12", 2), ("10000", McmcSettings().burn_in)):
        settings = parse(epochs=epochs).settings

        assert isinstance(settings, McmcSettings)
        assert settings.burn_in == burn_in


@pytest.mark.parametrize(
    ("given", "solver"),
    [({}, "mcmc"), ({"solver": "sgd"}, "sgd"), ({"solver": "als"}, None), ({"solver": []}, None)],
)
def test_the_solver_that_is_asked_for(given: dict[str, Any], solver: str | None) -> None:
    assert solver_of(given) == solver


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"solver": "als", "learning_rate": "0.1"},
            "'als' is not valid for 'solver': expected one of ['adam', 'sgd', 'mcmc']",
        ),
        (
            {"solver": "mcmc", "learning_rate": "0.1"},
            "'learning_rate' is not a hyperparameter of solver 'mcmc', only of 'sgd'",
        ),
        (
            {"mini_batch_size": "10"},
            "'mini_batch_size' is not a hyperparameter of solver 'mcmc', only of 'adam'",
        ),
        (
            {"solver": "sgd", "_wd": "1.0"},
            "'_wd' is not a hyperparameter of solver 'sgd', only of 'adam'",
        ),
        (
            {"solver": "adam", "threads": "1"},
            "'threads' is not a hyperparameter of solver 'adam', only of 'sgd' and 'mcmc'",
        ),
        (
            {"num_models": "2"},
            "'num_models' is not a hyperparameter of solver 'mcmc', only of 'adam' and 'sgd'",
        ),
        (
            {"field_dims": "2,3"},
            "'field_dims' add up to 5 but 'feature_dim' is 6: the fields must cover all features",
        ),
        (
            {"burn_in": "5", "epochs": "5"},
            "'burn_in' is 5: it must be below 'epochs', which is 5",
        ),
        ({"burn_in": "300"}, "burn_in is 300: it must be below epochs, which is 300"),
        ({"typo": "1"}, "Additional properties are not allowed ('typo' was unexpected)"),
    ],
)
def test_what_does_not_belong_together_is_refused(values: dict[str, str], said: str) -> None:
    assert problem(**values) == said


INTEGERS = "expected positive integers separated by commas, such as '943,1682'"
NATURAL = "expected an integer with minimum 0 and maximum 2147483647 or a string of one"
SEED = "expected a natural number of at most 39 digits"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        *[
            ("field_dims", value, INTEGERS)
            for value in ("", "3,0", "3,x", "[3,3", "{}", "3;3", [], [3, -1], [3.0, 3], 6, None)
        ],
        *[("burn_in", value, NATURAL) for value in ("-1", "1.5", "", 0.5, False, None)],
        (
            "num_samples",
            "301",
            "expected an integer with minimum 0 and maximum 300 or a string of one",
        ),
        *[("seed", value, SEED) for value in ("-1", "1e3", "9" * 40, "", 1.0, True, None)],
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_rule(name: str, value: Any, rule: str) -> None:
    assert problem(**{name: value}) == f"{value!r} is not valid for {name!r}: {rule}"


@pytest.mark.parametrize(
    "value", ["2,4", " 2, 4 ", "[2,4]", "[2, 4]", [2, 4], (np.int64(2), np.int32(4)), ["2", "4"]]
)
def test_the_forms_of_field_dims(value: Any) -> None:
    settings = parse(field_dims=value).settings

    assert isinstance(settings, McmcSettings)
    assert settings.field_dims == (2, 4)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        MatineeHyperparameters.parse(
            {"feature_dim": "x", "typo": "1", "eps": "1", "burn_in": "-1", "field_dims": "1"}
        )

    assert len(str(caught.value).split("; ")) == 5


def test_every_setting_has_a_rule_and_every_rule_a_solver() -> None:
    settings = {
        field.name for kind in (AdamSettings, McmcSettings, SgdSettings) for field in fields(kind)
    }

    assert settings - RULES.keys() == {"hyperparameters"}
    assert set().union(*SOLVERS.values()) == RULES.keys()
