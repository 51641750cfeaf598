"""The ranges of hyperparameters: scales, values, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from matinee.sagemaker.tuning_jobs.ranges import (
    Choice,
    Interval,
    Parameter,
    RangeError,
    combination,
    combinations,
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


def test_every_combination_has_its_number() -> None:
    parameters: list[Parameter] = [
        Choice("a", ("x", "y")),
        interval("Linear", 5, 7, is_integer=True),
    ]
    found = [combination(parameters, number) for number in range(6)]
    assert found[0] == {"a": "x", "x": "5"}
    assert found[1] == {"a": "x", "x": "6"}
    assert found[5] == {"a": "y", "x": "7"}
    assert len({tuple(values.items()) for values in found}) == 6


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Choice("a", ("x", "y")), "x", "z"),
        (interval("Linear", 1, 2), "1.5", "2.1"),
        (interval("Linear", 1, 2), "2", "many"),
        (interval("Linear", 1, 2, is_integer=True), "2", "1.5"),
    ],
)
def test_a_range_knows_its_values(parameter: Choice | Interval, inside: str, outside: str) -> None:
    assert parameter.holds(inside)
    assert not parameter.holds(outside)


def test_a_place_on_the_line_is_a_choice() -> None:
    parameter = Choice("a", ("x", "y"))
    assert [parameter.at(position) for position in (0.0, 0.49, 0.5, 1.0)] == ["x", "x", "y", "y"]
