"""Where tuning looks: scales, repeatability, and that it learns."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from typing import Any

import pytest

from matinee.sagemaker.tuning_jobs.ranges import Choice, Interval, space
from matinee.sagemaker.tuning_jobs.search import Trial, propose

SPACE: dict[str, Any] = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "1e-5", "MaxValue": "1"}],
    "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "100"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
}


def loss(parameters: dict[str, str]) -> float:
    kind = 0.0 if parameters["kind"] == "b" else 1.0
    rate, epochs = math.log10(float(parameters["rate"])), math.log10(int(parameters["epochs"]))
    return (rate + 2) ** 2 + (epochs - 1) ** 2 + kind


def run(strategy: str, seed: int, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for _ in range(count):
        parameters = propose(
            space(SPACE), strategy=strategy, direction="Minimize", seed=str(seed), trials=trials
        )
        trials.append(Trial(parameters, loss(parameters)))
    return trials


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
def test_the_same_seed_gives_the_same_trials_in_another_process(strategy: str) -> None:
    program = (
        "import json; from tests.sagemaker.tuning_jobs.test_search import run; "
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
            min(trial.value or 0.0 for trial in run(strategy, seed, 30)) for seed in range(5)
        )
        for strategy in ("Bayesian", "Random")
    }
    assert best["Bayesian"] < best["Random"]


def test_every_combination_is_tried_before_one_is_repeated() -> None:
    parameters: list[Choice | Interval] = [
        Choice("a", ("1", "2", "3")),
        Interval("x", 1, 4, "Linear", is_integer=True),
    ]
    trials: list[Trial] = []
    for _ in range(12):
        drawn = propose(
            parameters, strategy="Bayesian", direction="Maximize", seed="1", trials=trials
        )
        trials.append(Trial(drawn, float(drawn["a"])))
    assert len({tuple(trial.parameters.items()) for trial in trials}) == 12


def test_what_earlier_searches_found_guides_the_first_trial() -> None:
    earlier = run("Bayesian", 1, 30)
    arguments: dict[str, Any] = {"strategy": "Bayesian", "direction": "Minimize", "trials": []}
    first, guided = (
        statistics.median(
            loss(propose(space(SPACE), **arguments, seed=str(seed), earlier=known))
            for seed in range(5)
        )
        for known in ([], earlier)
    )
    assert guided < first


def test_a_grid_has_every_combination_once() -> None:
    parameters = [Choice("a", ("1", "2")), Choice("b", ("1", "2", "3"))]
    trials: list[Trial] = []
    for _ in range(6):
        drawn = propose(parameters, strategy="Grid", direction="Maximize", seed="", trials=trials)
        trials.append(Trial(drawn, None))
    assert len({tuple(trial.parameters.items()) for trial in trials}) == 6


def test_a_long_search_is_still_quick() -> None:
    places = [number * 1999 % 5000 / 5000 for number in range(5000)]
    trials = [Trial({"x": repr(place)}, abs(place - 0.7)) for place in places]
    ranges = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]}
    drawn = propose(
        space(ranges), strategy="Bayesian", direction="Minimize", seed="1", trials=trials
    )
    assert float(drawn["x"]) == pytest.approx(0.7, abs=0.1)
