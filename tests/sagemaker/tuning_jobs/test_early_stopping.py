"""Which running trials are hopeless: the median rule, and Hyperband's rungs."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.sagemaker.tuning_jobs.early_stopping import Halving, MedianRule, epochs, resources


def median_rule(*ended: list[float], direction: str = "Minimize") -> MedianRule:
    rule = MedianRule(direction)
    for number, reports in enumerate(ended):
        rule.close(number, reports)
    return rule


def test_worse_than_the_median_of_running_averages_is_hopeless() -> None:
    # Averages after the second epoch: 2, 4, 6
    ended = [[3.0, 1.0, 0.0], [5.0, 3.0, 0.0], [7.0, 5.0, 0.0]]
    assert median_rule(*ended).is_hopeless(3, [9.0, 4.1])
    assert not median_rule(*ended).is_hopeless(3, [9.0, 4.0])
    upwards = median_rule(*ended, direction="Maximize")
    assert upwards.is_hopeless(3, [0.0, 3.9])
    assert not upwards.is_hopeless(4, [0.0, 4.0])


def test_each_report_counts_once() -> None:
    rule = median_rule(*[[1.0, 1.0]] * 3)
    assert rule.is_hopeless(3, [2.0])
    assert not rule.is_hopeless(3, [2.0])


def test_the_median_rule_needs_trials_that_went_on() -> None:
    assert not median_rule(*[[1.0, 1.0]] * 2).is_hopeless(2, [2.0])
    # All that ended reported once, so this one ends now too.
    assert not median_rule(*[[1.0]] * 3).is_hopeless(3, [2.0])
    assert not median_rule(*[[1.0, 1.0]] * 3).is_hopeless(3, [])


def test_a_rung_lets_a_third_pass() -> None:
    rule = Halving("Minimize", 1, 9)
    # Of two, nobody can tell; of three, the best goes on.
    assert [rule.is_hopeless(number, [value]) for number, value in enumerate([3.0, 2.0])] == [
        False,
        False,
    ]
    assert rule.is_hopeless(2, [2.5])
    assert not rule.is_hopeless(3, [1.0])
    # Between the rungs and at the second one
    assert not rule.is_hopeless(3, [1.0, 9.0])
    assert not rule.is_hopeless(3, [1.0, 9.0, 9.0])
    rule.close(4, [0.0, 8.0, 8.0])
    rule.close(5, [0.0, 7.0, 7.0])
    assert rule.is_hopeless(6, [0.0, 8.5, 8.5])


def test_nobody_is_stopped_before_the_smallest_resource_and_all_are_at_the_largest() -> None:
    rule = Halving("Maximize", 2, 5)
    for number in range(5):
        rule.close(number, [1.0, 1.0])
    assert not rule.is_hopeless(5, [0.0])
    assert rule.is_hopeless(5, [0.0, 0.0])
    assert rule.is_hopeless(6, [2.0] * 5)


@pytest.mark.parametrize(
    ("given", "statics", "found"),
    [
        ({"MinResource": 2, "MaxResource": 9}, {"epochs": "5"}, (2, 9)),
        ({}, {"n-epochs": "5"}, (1, 5)),
    ],
)
def test_resources_are_given_or_inferred(
    given: dict[str, int], statics: dict[str, str], found: tuple[int, int]
) -> None:
    config = {"StrategyConfig": {"HyperbandStrategyConfig": given}}
    assert resources(config, statics) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "must have MaxResource"),
        ({"MinResource": 3, "MaxResource": 2}, "MinResource 3 must be at most MaxResource 2"),
        ({"MaxResource": 20_001}, "at most 20000"),
    ],
)
def test_resources_that_do_not_fit_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        resources({"StrategyConfig": {"HyperbandStrategyConfig": given}}, {"epochs": "many"})


def test_epochs_are_known_by_several_names() -> None:
    assert epochs({"num_epochs": "7"}) == 7
    assert epochs({"epochs": "-1", "x": "2"}) is None
