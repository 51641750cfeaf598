"""The report's charts, drawn by plotly: each from a document of the run, with its numbers as text.

A chart has a title, axes with units, a sentence that says what it shows to those who cannot see it,
and a table of the same numbers. Colours are left to the page, which knows whether it is light or
dark: traces take them in order. Whatever the number of ratings, a chart draws some dozens of
points: the documents are aggregates. Refuses nothing; a chart of nothing is not asked for.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from matinee.workflow.learning import Curve, Trial, Trials

PREDICTORS = {
    "model": "model",
    "bias": "customer and video biases",
    "popular": "mean of the video",
    "mean": "mean of all stars",
}

# The algorithm's test channel holds the validation ratings: the test ratings are kept from it.
_CHANNELS = {"train": "train", "validation": "validation", "test": "validate, after the last epoch"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and its text.

    Attributes
    ----------
    name : str
        Unique in the page.
    title, summary : str
        What it is, and what it shows in a sentence.
    figure : dict
        plotly's `data` and `layout`.
    head : list of str
        Columns of the table of its numbers.
    rows : list of list
        The rows: text and numbers.
    """

    name: str
    title: str
    summary: str
    figure: dict[str, Any]
    head: list[str]
    rows: list[list[Any]]


def funnel(steps: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw how many ratings each step of preprocessing left."""
    names = [step["step"] for step in steps]
    counts = [step["ratings"] for step in steps]
    left = counts[-1] / counts[0] if counts[0] else 0
    figure = go.Figure(
        go.Bar(x=counts, y=_labels(names), orientation="h", hovertemplate="%{x:,} ratings")
    )
    figure.update_yaxes(autorange="reversed")
    return _chart(
        "funnel",
        "Ratings left by each step",
        f"Of {counts[0]:,} usable ratings {counts[-1]:,} are left, {left:.1%}.",
        figure,
        ["step", "ratings", "customers", "videos"],
        [[step["step"], step["ratings"], step["customers"], step["videos"]] for step in steps],
        x="ratings",
    )


def stars(histogram: Mapping[str, int]) -> Chart:
    """Draw how often each number of stars was given."""
    total = sum(histogram.values())
    most = max(histogram, key=lambda star: histogram[star])
    shares = [count / total for count in histogram.values()]
    figure = go.Figure(go.Bar(x=[*histogram], y=shares, hovertemplate="%{x} stars: %{y:.1%}"))
    return _chart(
        "stars",
        "Stars given",
        f"{total:,} ratings; the most frequent are {most} stars, {histogram[most] / total:.1%}.",
        figure,
        ["stars", "ratings", "share"],
        [[star, count, f"{count / total:.1%}"] for star, count in histogram.items()],
        x="stars",
        y="share of ratings",
        y_format=".0%",
        x_category=True,
    )


def activity(counts: Mapping[str, Sequence[int]]) -> Chart:
    """Draw how many customers and videos have how many ratings.

    Parameters
    ----------
    counts : mapping
        "customers" and "videos" to how many of them have 1, 2 to 3, 4 to 7 and so on ratings: as
        many bins as there are, each twice as wide as the one before.
    """
    bins = max(map(len, counts.values()))
    labels = [_doubling(place) for place in range(bins)]
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=labels,
                y=[count / sum(of_name) for count in of_name],
                customdata=[*of_name],
                hovertemplate="%{x} ratings: %{customdata:,} " + name + ", %{y:.1%}",
            )
            for name, of_name in counts.items()
        ]
    )
    rows = [
        [label, *(of_name[place] if place < len(of_name) else 0 for of_name in counts.values())]
        for place, label in enumerate(labels)
    ]
    totals = ", ".join(f"{sum(of_name):,} {name}" for name, of_name in counts.items())
    return _chart(
        "activity",
        "How many ratings customers and videos have",
        f"{totals}; bins double in width.",
        figure,
        ["ratings", *counts],
        rows,
        x="ratings each",
        y="share of customers, of videos",
        y_format=".0%",
        x_category=True,
    )


def learning(curves: Sequence[Curve], metric: str) -> Chart:
    """Draw a metric of the training job by epoch."""
    chosen = [curve for curve in curves if curve["metric"] == metric]
    hosts = {curve["host"] for curve in chosen}
    figure = go.Figure()
    rows = []
    ends = []
    for curve in chosen:
        name = _CHANNELS[curve["channel"]]
        if len(hosts) > 1:
            name = f"{name}, {curve['host']}"
        figure.add_scatter(
            name=html.escape(name),
            x=[epoch + 1 for epoch in curve["epochs"]],
            y=curve["values"],
            mode="lines+markers" if len(curve["epochs"]) < 60 else "lines",
            hovertemplate="epoch %{x}: %{y:.4f}",
        )
        ends.append(f"{name} ends at {curve['values'][-1]:.4f}")
        rows += [
            [epoch + 1, name, value]
            for epoch, value in _thinned([*zip(curve["epochs"], curve["values"], strict=True)])
        ]
    return _chart(
        f"learning-{metric}",
        f"Learning curve: {metric} by epoch",
        f"{metric.upper()}: {'; '.join(ends)}.",
        figure,
        ["epoch", "split", metric],
        rows,
        x="epoch",
        y=f"{metric}{' in stars' if metric == 'rmse' else ''}",
    )


def best_so_far(trials: Trials) -> Chart:
    """Draw each trial's objective and the best of those before it."""
    done = [(n, trial) for n, trial in enumerate(trials["trials"], 1) if _reached(trial)]
    numbers = [n for n, _ in done]
    values = [_objective(trial) for _, trial in done]
    better = min if trials["minimize"] else max
    best = [better(values[: place + 1]) for place in range(len(values))]
    metric = html.escape(trials["metric"])
    figure = go.Figure(
        [
            go.Scatter(name="best so far", x=numbers, y=best, mode="lines", line={"shape": "hv"}),
            go.Scatter(
                name="trial", x=numbers, y=values, mode="markers",
                hovertemplate="trial %{x}: %{y:.4f}",
            ),
        ]
    )  # fmt: skip
    return _chart(
        "best-so-far",
        f"Tuning: {trials['metric']} of each trial",
        f"{len(done)} of {len(trials['trials'])} trials reached a value; the best is"
        f" {best[-1]:.4f}, of trial {numbers[values.index(best[-1])]}.",
        figure,
        ["trial", "job", "status", trials["metric"]],
        [
            [n, trial["job"], trial["status"], trial["objective"]]
            for n, trial in enumerate(trials["trials"], 1)
        ],
        x="trial",
        y=metric,
    )


def parallel_coordinates(trials: Trials) -> Chart:
    """Draw each trial as a line through its hyperparameters and its objective.

    As lines, not as plotly's own parallel coordinates: those cannot be read by keyboard or printed
    in both themes.
    """
    done = [trial for trial in trials["trials"] if _reached(trial)]
    names = sorted({name for trial in done for name in trial["hyperparameters"]})
    axes = [*names, trials["metric"]]
    columns: list[list[float | None]] = [
        *([trial["hyperparameters"].get(name) for trial in done] for name in names),
        [_objective(trial) for trial in done],
    ]
    scaled = [_scaled(column) for column in columns]
    order = sorted(
        range(len(done)), key=lambda n: _objective(done[n]), reverse=not trials["minimize"]
    )
    best, quarter = order[0], order[1 : max(2, len(order) // 4)]
    rest = [n for n in range(len(done)) if n != best and n not in quarter]
    figure = go.Figure()
    for name, members, width in (
        ("best trial", [best], 4),
        ("next best quarter", quarter, 2),
        ("other trials", rest, 0.5),
    ):
        x: list[int | None] = []
        y: list[float | None] = []
        text: list[str | None] = []
        for n in members:
            x += [*range(len(axes)), None]
            y += [*(column[n] for column in scaled), None]
            text += [
                *(
                    f"{axis}: {_short(column[n])}"
                    for axis, column in zip(axes, columns, strict=True)
                ),
                None,
            ]
        figure.add_scatter(
            name=name, x=x, y=y, text=text, mode="lines+markers", line={"width": width},
            hovertemplate="%{text}",
        )  # fmt: skip
    for place, column in enumerate(columns):
        known = [value for value in column if value is not None]
        for value, at, shift in ((min(known), 0, -14), (max(known), 1, 14)):
            figure.add_annotation(x=place, y=at, text=_short(value), showarrow=False, yshift=shift)
    figure.update_xaxes(
        tickvals=[*range(len(axes))], ticktext=_labels(axes), range=[-0.35, len(axes) - 0.65]
    )
    figure.update_yaxes(visible=False, range=[-0.15, 1.15])
    winner = done[best]
    described = ", ".join(f"{name} {_short(winner['hyperparameters'].get(name))}" for name in names)
    return _chart(
        "parallel-coordinates",
        "Tuning: hyperparameters of each trial",
        f"The best trial has {described}: {trials['metric']} {_objective(winner):.4f}. Each axis"
        " goes from the smallest to the largest value that was tried, by its logarithm where they"
        " are more than a hundredfold apart.",
        figure,
        ["job", *axes],
        [
            [trial["job"], *(trial["hyperparameters"].get(n) for n in names), trial["objective"]]
            for trial in done
        ],
    )


def errors(metrics: Mapping[str, Any]) -> Chart:
    """Draw RMSE and its interval of the model and the baselines."""
    names = [name for name in PREDICTORS if name in metrics]
    values = [metrics[name]["rmse"] for name in names]
    bounds = [metrics.get("intervals", {}).get(name, {}).get("rmse") for name in names]
    figure = go.Figure(
        go.Scatter(
            x=values,
            y=[PREDICTORS[name] for name in names],
            mode="markers",
            marker={"size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [
                    bound[1] - value if bound else 0
                    for value, bound in zip(values, bounds, strict=True)
                ],
                "arrayminus": [
                    value - bound[0] if bound else 0
                    for value, bound in zip(values, bounds, strict=True)
                ],
            },
            hovertemplate="%{y}: RMSE %{x:.4f}",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return _chart(
        "errors",
        "RMSE on the test ratings, with 95 % intervals",
        "; ".join(
            f"{PREDICTORS[name]} {_with_interval(value, bound)}"
            for name, value, bound in zip(names, values, bounds, strict=True)
        )
        + ". Lower is better.",
        figure,
        ["predictor", "RMSE", "from", "to"],
        [
            [PREDICTORS[name], value, *(bound or [None, None])]
            for name, value, bound in zip(names, values, bounds, strict=True)
        ],
        x="RMSE in stars",
    )


def segments(name: str, title: str, found: Sequence[Mapping[str, Any]], x: str) -> Chart:
    """Draw RMSE of the model and the biases in each segment."""
    labels = [segment_label(segment) for segment in found]
    figure = go.Figure(
        [
            go.Bar(
                name=PREDICTORS[predictor],
                x=labels,
                y=[segment[predictor]["rmse"] for segment in found],
                customdata=[segment["rows"] for segment in found],
                hovertemplate="%{x}: RMSE %{y:.4f}, %{customdata:,} ratings",
            )
            for predictor in ("model", "bias")
        ]
    )
    worst = max(found, key=lambda segment: float(segment["model"]["rmse"]))
    best = min(found, key=lambda segment: float(segment["model"]["rmse"]))
    return _chart(
        f"segments-{name}",
        title,
        f"The model's RMSE is lowest at {segment_label(best)} ({best['model']['rmse']:.3f}) and"
        f" highest at {segment_label(worst)} ({worst['model']['rmse']:.3f}).",
        figure,
        [x, "test ratings", "model RMSE", "biases RMSE", "model mean error"],
        [
            [
                label,
                segment["rows"],
                segment["model"]["rmse"],
                segment["bias"]["rmse"],
                segment["model"]["mean_error"],
            ]
            for label, segment in zip(labels, found, strict=True)
        ],
        x=x,
        y="RMSE in stars",
        x_category=True,
    )


def segment_label(segment: Mapping[str, Any]) -> str:
    """Name a segment: its stars, or its bounds."""
    if "stars" in segment:
        return f"{segment['stars']}"
    low, high = segment["from"], segment["to"]
    if high is None:
        return f"{low} and more"
    return f"{low}" if low == high else f"{low} to {high}"


def calibration(found: Mapping[str, Any]) -> Chart:
    """Draw the mean of the stars by the mean prediction."""
    bins = found["bins"]
    rows = [entry["rows"] for entry in bins]
    largest = max(rows)
    ends = [min(1.0, *(entry["predicted"] for entry in bins)), 5.0]
    figure = go.Figure(
        [
            go.Scatter(
                name="model",
                x=[entry["predicted"] for entry in bins],
                y=[entry["actual"] for entry in bins],
                mode="lines+markers",
                marker={"size": [6 + 14 * math.sqrt(count / largest) for count in rows]},
                customdata=rows,
                hovertemplate="predicted %{x:.2f}, given %{y:.2f}, %{customdata:,} ratings",
            ),
            go.Scatter(name="perfect", x=ends, y=ends, mode="lines", line={"dash": "dot"}),
        ]
    )
    return _chart(
        "calibration",
        "Calibration: stars given by stars predicted",
        f"On average a bin's prediction is {found['error']:.3f} stars off its mean. Points are"
        " larger where more is predicted so.",
        figure,
        ["predicted from", "to", "test ratings", "mean predicted", "mean given"],
        [
            [entry["from"], entry["to"], entry["rows"], entry["predicted"], entry["actual"]]
            for entry in bins
        ],
        x="predicted stars",
        y="stars given",
    )


def seconds(steps: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw how long each step took."""
    figure = go.Figure(
        go.Bar(
            x=[step["seconds"] for step in steps],
            y=_labels([step["name"] for step in steps]),
            orientation="h",
            hovertemplate="%{x:.1f} s",
        )
    )
    figure.update_yaxes(autorange="reversed")
    total = sum(step["seconds"] for step in steps)
    longest = max(steps, key=lambda step: float(step["seconds"]))
    return _chart(
        "seconds",
        "Time of each step",
        f"{total:,.1f} s in all; the longest is {longest['name']}, {longest['seconds']:,.1f} s.",
        figure,
        ["step", "seconds", "peak memory in MB"],
        [[step["name"], step["seconds"], step.get("peak_memory_mb")] for step in steps],
        x="seconds",
    )


def _chart(
    name: str,
    title: str,
    summary: str,
    figure: go.Figure,
    head: list[str],
    rows: list[list[Any]],
    *,
    x: str = "",
    y: str = "",
    y_format: str = "",
    x_category: bool = False,
) -> Chart:
    figure.update_xaxes(title={"text": html.escape(x)}, automargin=True)
    figure.update_yaxes(title={"text": html.escape(y)}, automargin=True)
    if y_format:
        figure.update_yaxes(tickformat=y_format)
    if x_category:
        figure.update_xaxes(type="category")
    drawn = figure.to_plotly_json()
    # Colours and fonts are the page's.
    drawn["layout"].pop("template", None)
    return Chart(
        name, title, summary, {"data": drawn["data"], "layout": drawn["layout"]}, head, rows
    )


def _labels(names: Sequence[str]) -> list[str]:
    """Return names as plotly may show them: it takes some HTML for markup. Long ones are broken."""
    return ["<br>".join(map(html.escape, textwrap.wrap(name, 20))) for name in names]


def _doubling(place: int) -> str:
    low, high = 2**place, 2 ** (place + 1) - 1
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _thinned(points: list[tuple[int, float]], most: int = 60) -> list[tuple[int, float]]:
    """Keep some points of many for a table, evenly, the last among them."""
    every = -(-len(points) // most)
    return points[::-1][::every][::-1]


def _reached(trial: Trial) -> bool:
    return trial["objective"] is not None and math.isfinite(trial["objective"])


def _objective(trial: Trial) -> float:
    value = trial["objective"]
    return math.nan if value is None else value


def _scaled(column: Sequence[float | None]) -> list[float | None]:
    """Put values between 0 and 1, by their logarithm if they spread over a hundredfold."""
    known = [value for value in column if value is not None]
    scale = math.log if min(known) > 0 and max(known) / min(known) > 100 else float
    low, high = scale(min(known)), scale(max(known))
    spread = high - low or 1.0
    return [None if value is None else (scale(value) - low) / spread for value in column]


def _short(value: float | None) -> str:
    return "not set" if value is None else f"{value:.4g}"


def _with_interval(value: float, bound: Sequence[float] | None) -> str:
    return f"{value:.4f}" if bound is None else f"{value:.4f} ({bound[0]:.4f} to {bound[1]:.4f})"
