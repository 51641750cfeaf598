"""A tuning job's trials: each with its objective, the best so far, and how parameters led there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.store import Resource
from matinee.sagemaker.tuning_jobs import trials

# More lines than this hide each other.
MOST_LINES = 200

Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes
    ----------
    number
        From 1, in the order they were started.
    job
        Its training job.
    objective
        None until it has one.
    best_so_far
        The best objective of this and all earlier trials.
    tuned
        Its hyperparameters.
    """

    number: int
    job: Resource
    objective: float | None
    best_so_far: float | None
    tuned: Mapping[str, str]


def of(context: Context, tuning_job: Resource) -> list[Trial]:
    """Return the trials of a tuning job, in the order of their numbers."""
    direction = _direction(tuning_job)
    found: list[Trial] = []
    best: float | None = None
    children = trials.children_of(context.store, tuning_job.arn, tuning_job.private["folder"])
    for child in children:
        value = trials.objective(child)
        if value is not None and (best is None or trials.is_better(value, best, direction)):
            best = value
        number, tuned = int(child.private["trial"]), child.private["tuned"]
        found.append(Trial(number, child, value, best, tuned))
    return found


def _direction(tuning_job: Resource) -> str:
    return str(_objective(tuning_job).get("Type", "Minimize"))


def _objective(tuning_job: Resource) -> Mapping[str, Any]:
    document = tuning_job.document
    definition = document.get("TrainingJobDefinition") or document["TrainingJobDefinitions"][0]
    found: Mapping[str, Any] = document["HyperParameterTuningJobConfig"].get(
        "HyperParameterTuningJobObjective"
    ) or definition.get("TuningObjective", {})
    return found


def figures(tuning_job: Resource, found: Sequence[Trial]) -> list[Figure]:
    """Return the figures of the trials that have an objective: by number, and over all axes."""
    done = [trial for trial in found if trial.objective is not None]
    if not done:
        return []
    name = str(_objective(tuning_job).get("MetricName", "objective"))
    return [_by_number(name, done), _parallel(tuning_job, name, done)]


def _by_number(name: str, done: Sequence[Trial]) -> Figure:
    numbers = [trial.number for trial in done]
    return {
        "title": f"{name} by trial",
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "trial",
                "x": numbers,
                "y": [trial.objective for trial in done],
                "text": [trial.job.name for trial in done],
            },
            {
                "type": "scatter",
                "mode": "lines",
                "line": {"shape": "hv"},
                "name": "best so far",
                "x": numbers,
                "y": [trial.best_so_far for trial in done],
            },
        ],
        "layout": {"xaxis": {"title": {"text": "trial"}}, "showlegend": True},
    }


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of the parallel coordinates: where each trial is on it, from 0 to 1, and its ends."""

    label: str
    places: list[float | None]
    low: str
    high: str


def _parallel(tuning_job: Resource, name: str, done: Sequence[Trial]) -> Figure:
    """Return lines over parallel axes, drawn as SVG; their shade says how good the trial is."""
    direction = _direction(tuning_job)
    ranked = sorted(
        done, key=lambda trial: trial.objective or 0.0, reverse=direction == "Maximize"
    )[:MOST_LINES]
    labels = sorted({label for trial in ranked for label in trial.tuned})
    axes = [_axis(label, [trial.tuned.get(label) for trial in ranked]) for label in labels]
    axes.append(_axis(name, [str(trial.objective) for trial in ranked]))
    positions = list(range(len(axes)))
    last = max(len(ranked) - 1, 1)
    # The best is drawn last, over the others.
    lines = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"trial {trial.number}",
            "x": positions,
            "y": [axis.places[rank] for axis in axes],
            "meta": {"shade": 1 - rank / last},
            "hoverinfo": "name",
        }
        for rank, trial in reversed(list(enumerate(ranked)))
    ]
    ends = [
        {"x": position, "y": y, "text": text, "showarrow": False, "yshift": shift}
        for position, axis in enumerate(axes)
        for y, text, shift in ((0, axis.low, -10), (1, axis.high, 10))
    ]
    return {
        "title": "Parallel coordinates, best trials darkest",
        "data": lines,
        "layout": {
            "showlegend": False,
            "hovermode": "closest",
            "annotations": ends,
            "xaxis": {
                "tickvals": positions,
                "ticktext": [axis.label for axis in axes],
                "range": [-0.2, len(axes) - 0.8],
                "side": "top",
            },
            "yaxis": {"range": [-0.12, 1.12], "visible": False},
        },
    }


def _axis(label: str, values: Sequence[str | None]) -> _Axis:
    known = [value for value in values if value is not None]
    numbers = [_number(value) for value in known]
    if any(number is None for number in numbers):
        words = sorted(set(known))
        last = max(len(words) - 1, 1)
        places = [None if value is None else words.index(value) / last for value in values]
        return _Axis(label, places, words[0], words[-1])
    floats = [number for number in numbers if number is not None]
    low, high = min(floats), max(floats)
    # As a range over several powers of ten is searched, so is it shown.
    is_logarithmic = low > 0 and high / low >= 100

    def place(value: str | None) -> float | None:
        number = None if value is None else _number(value)
        if number is None:
            return None
        if low == high:
            return 0.5
        if is_logarithmic:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    return _Axis(label, [place(value) for value in values], f"{low:.4g}", f"{high:.4g}")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
