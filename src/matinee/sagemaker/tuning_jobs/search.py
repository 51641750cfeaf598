"""Where a tuning job looks next: from its ranges and the trials so far to new hyperparameters.

A proposal depends on nothing but its arguments: the same seed, number and trials give the same
hyperparameters, in this process or another. A proposal already tried is drawn again. Bayesian
search is Optuna's tree-structured Parzen estimator over all hyperparameters together.
"""

from __future__ import annotations

import heapq
import importlib
import math
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matinee.sagemaker.tuning_jobs.ranges import Interval, Parameter, combination, combinations

_DRAWS = 20
# Bayesian search: how many results there must be before they count.
_FIRST_TRIALS = 5
# So many trials are enough to learn from, and still quickly read: the best and the latest.
_MOST_KNOWN = 1000
_BEST_KNOWN = 100
_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Trial:
    """Hyperparameters that were tried, and the objective; None while unknown, or without one."""

    parameters: Mapping[str, str]
    value: float | None


def propose(
    parameters: Sequence[Parameter],
    *,
    strategy: str,
    direction: str,
    seed: str,
    trials: Sequence[Trial],
    earlier: Sequence[Trial] = (),
) -> dict[str, str]:
    """Return the hyperparameters of the next trial.

    Parameters
    ----------
    parameters
        What ``ranges.space`` returned.
    strategy
        ``Bayesian``, ``Random``, ``Hyperband`` (which draws at random too) or ``Grid``.
    direction
        ``Minimize`` or ``Maximize``.
    seed
        Of the whole search.
    trials
        All trials before, in order.
    earlier
        What other searches found in the same space; known, but not counted as tried.
    """
    if strategy == "Grid":
        return combination(parameters, len(trials))
    tried = {_key(trial.parameters) for trial in trials}
    drawn: dict[str, str] = {}
    for draw in range(_DRAWS):
        source = random.Random(f"{seed}/{len(trials)}/{draw}")  # noqa: S311 - no secret
        known = [*earlier, *trials]
        if strategy == "Bayesian" and _results(known) >= _FIRST_TRIALS and parameters:
            drawn = _estimate(parameters, direction, source.randrange(_SEEDS), known)
        else:
            drawn = {parameter.name: parameter.at(source.random()) for parameter in parameters}
        if _key(drawn) not in tried:
            return drawn
    possible = combinations(parameters)
    if math.isinf(possible):
        return drawn
    everything = (combination(parameters, number) for number in range(int(possible)))
    return next((values for values in everything if _key(values) not in tried), drawn)


def get_ready() -> None:
    """Load what Bayesian search needs, in the background: the first trials do not need it yet."""
    threading.Thread(target=importlib.import_module, args=("optuna",), daemon=True).start()


def _key(parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(parameters.items()))


def _results(trials: Sequence[Trial]) -> int:
    return sum(trial.value is not None for trial in trials)


def _telling(trials: Sequence[Trial], direction: str) -> Sequence[Trial]:
    if len(trials) <= _MOST_KNOWN:
        return trials
    sign = 1.0 if direction == "Minimize" else -1.0
    rated = [(sign * trial.value, n) for n, trial in enumerate(trials) if trial.value is not None]
    kept = {number for _, number in heapq.nsmallest(_BEST_KNOWN, rated)}
    kept.update(range(len(trials) - (_MOST_KNOWN - _BEST_KNOWN), len(trials)))
    return [trials[number] for number in sorted(kept)]


def _estimate(
    parameters: Sequence[Parameter], direction: str, seed: int, trials: Sequence[Trial]
) -> dict[str, str]:
    # Here, because a server without tuning jobs need not spend that time.
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=_FIRST_TRIALS, multivariate=True, constant_liar=True
    )
    distributions: dict[str, BaseDistribution] = {
        parameter.name: FloatDistribution(0.0, 1.0)
        if isinstance(parameter, Interval)
        else CategoricalDistribution(parameter.options)
        for parameter in parameters
    }
    study = optuna.create_study(
        direction="minimize" if direction == "Minimize" else "maximize", sampler=sampler
    )
    for trial in _telling(trials, direction):
        study.add_trial(
            create_trial(
                params={
                    parameter.name: parameter.position(trial.parameters[parameter.name])
                    if isinstance(parameter, Interval)
                    else trial.parameters[parameter.name]
                    for parameter in parameters
                },
                distributions=distributions,
                value=trial.value,
                # A trial without result still tells where not to look at the same time.
                state=TrialState.RUNNING if trial.value is None else TrialState.COMPLETE,
            )
        )
    drawn = study.ask(distributions).params
    return {
        parameter.name: parameter.at(drawn[parameter.name])
        if isinstance(parameter, Interval)
        else str(drawn[parameter.name])
        for parameter in parameters
    }
