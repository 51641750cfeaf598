"""Where tuning looks: scales, repeatability, and that it learns."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from typing import Any

import pytest

from matinee.sagemaker.search import (
    Choice,
    Interval,
    RangeError,
    Trial,
    combinations,
    propose,
    space,
)

SPACE: dict[str, Any] = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "1e-5", "MaxValue": "1"}],
    "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "100"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
}


def interval(scaling: str, low: float, high: float, *, is_integer: bool = False) -> Interval:
    return Interval("x", low, high, scaling, is_integer)


@pytest.mark.parametrize(
    ("parameter", "middle"),
    [
        (interval("Linear", 2, 6), 4.0),
        (interval("Logarithmic", 0.01, 100), 1.0),
        (interval("ReverseLogarithmic", 0.9, 0.999), 0.99),
    ],
)
def test_a_scale_has_its_middle(parameter: Interval, middle: float) -> None:
    assert float(parameter.at(0.0)) == pytest.approx(parameter.low)
    assert float(parameter.at(0.5)) == pytest.approx(middle)
    assert float(parameter.at(1.0)) == pytest.approx(parameter.high)
    assert parameter.position(parameter.at(0.3)) == pytest.approx(0.3)


def test_integers_share_the_line_evenly() -> None:
    parameter = interval("Linear", 1, 4, is_integer=True)
    assert [parameter.at(step / 8) for step in range(9)] == list("112233444")
    for value in "1234":
        assert parameter.at(parameter.position(value)) == value
    wide = interval("Logarithmic", 1, 1000, is_integer=True)
    for value in ("1", "37", "1000"):
        assert wide.at(wide.position(value)) == value


def test_an_interval_of_one_number_has_one_value() -> None:
    parameter = interval("Linear", 3, 3)
    assert (parameter.at(0.7), parameter.position("3.0")) == ("3.0", 0.0)


def test_auto_goes_by_magnitudes_where_the_range_is_wide() -> None:
    kind, epochs, rate = sorted(space(SPACE), key=lambda parameter: parameter.name != "kind")
    assert kind == Choice("kind", ("a", "b"))
    assert isinstance(epochs, Interval)
    assert isinstance(rate, Interval)
    assert (epochs.scaling, rate.scaling) == ("Logarithmic", "Logarithmic")
    narrow = {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "99"}]}
    (parameter,) = space(narrow)
    assert isinstance(parameter, Interval)
    assert parameter.scaling == "Linear"


def test_combinations_are_counted() -> None:
    assert combinations(space(SPACE)) == math.inf
    assert combinations([Choice("a", ("1", "2")), interval("Linear", 1, 5, is_integer=True)]) == 10


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        (
            {"CategoricalParameterRanges": [{"Name": "a", "Values": ["1"]}] * 2},
            "'a' has more than one range",
        ),
        ({"CategoricalParameterRanges": [{"Name": "a", "Values": ["1", "1"]}]}, "same value twice"),
        (
            {"IntegerParameterRanges": [{"Name": "a", "MinValue": "1.5", "MaxValue": "2"}]},
            "must each be an integer",
        ),
        (
            {"ContinuousParameterRanges": [{"Name": "a", "MinValue": "0", "MaxValue": "inf"}]},
            "no number lies from 0 to inf",
        ),
    ],
)
def test_a_bad_range_is_refused(ranges: dict[str, Any], said: str) -> None:
    with pytest.raises(RangeError, match=said):
        space(ranges)


def loss(parameters: dict[str, str]) -> float:
    kind = 0.0 if parameters["kind"] == "b" else 1.0
    rate, epochs = math.log10(float(parameters["rate"])), math.log10(int(parameters["epochs"]))
    return (rate + 2) ** 2 + (epochs - 1) ** 2 + kind


def run(strategy: str, seed: int, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for _ in range(count):
        parameters = propose(
            space(SPACE), strategy=strategy, direction="Minimize", seed=seed, trials=trials
        )
        trials.append(Trial(parameters, loss(parameters)))
    return trials


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_the_same_seed_gives_the_same_trials_in_another_process(strategy: str) -> None:
    program = (
        "import json; from tests.sagemaker.test_search import run; "
        f"print(json.dumps([trial.parameters for trial in run({strategy!r}, 5, 8)]))"
    )
    output = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", program], capture_output=True, check=True
    ).stdout
    assert json.loads(output) == [trial.parameters for trial in run(strategy, 5, 8)]
    assert run(strategy, 6, 1) != run(strategy, 5, 1)


def test_bayesian_search_learns_what_random_search_cannot() -> None:
    best = {
        strategy: statistics.median(
            min(trial.value or 0.0 for trial in run(strategy, seed, 20)) for seed in range(5)
        )
        for strategy in ("Bayesian", "Random")
    }
    assert best["Bayesian"] < best["Random"]


def test_every_combination_is_tried_before_one_is_repeated() -> None:
    parameters: list[Choice | Interval] = [
        Choice("a", ("1", "2", "3")),
        interval("Linear", 1, 4, is_integer=True),
    ]
    trials: list[Trial] = []
    for _ in range(12):
        drawn = propose(
            parameters, strategy="Bayesian", direction="Maximize", seed=1, trials=trials
        )
        trials.append(Trial(drawn, float(drawn["a"])))
    assert len({tuple(trial.parameters.items()) for trial in trials}) == 12
