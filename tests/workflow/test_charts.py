"""The charts' numbers, texts and labels; test_report_page shows that a browser draws them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from matinee.workflow import charts
from matinee.workflow.learning import Curve
from tests.workflow.run_document import HOSTILE, metrics, run_document


def bars(chart: charts.Chart) -> list[tuple[Any, Any]]:
    [trace] = chart.figure["data"]
    return list(zip(trace["x"], trace["y"], strict=True))


def test_the_funnel_tells_what_is_left() -> None:
    chart = charts.funnel(run_document()["data"]["funnel"])
    assert chart.summary == "Of 4,059,189 usable ratings 1,713,000 are left, 42.2%."
    assert chart.rows[1] == [HOSTILE, 1_713_000, 140_458, 38_392]
    # What plotly might take for markup is escaped, but for the line breaks.
    label = bars(chart)[1][1].replace("<br>", "")
    assert "<" not in label
    assert ">" not in label


def test_stars_are_shares() -> None:
    chart = charts.stars({"1": 25, "4.5": 75})
    assert bars(chart) == [("1", 0.25), ("4.5", 0.75)]
    assert chart.summary == "100 ratings; the most frequent are 4.5 stars, 75.0%."


def test_activity_doubles_its_bins() -> None:
    chart = charts.activity({"customers": [1, 3], "videos": [0, 0, 2]})
    assert chart.rows == [["1", 1, 0], ["2 to 3", 3, 0], ["4 to 7", 0, 2]]
    assert [trace["y"] for trace in chart.figure["data"]] == [[0.25, 0.75], [0, 0, 1]]


def test_a_long_curve_is_drawn_whole_and_listed_in_part() -> None:
    curve: Curve = {
        "host": "algo-1",
        "channel": "train",
        "metric": "rmse",
        "epochs": [*range(1_000)],
        "values": [1.0] * 999 + [0.5],
    }
    chart = charts.learning([curve], "rmse")
    assert len(chart.figure["data"][0]["x"]) == 1_000
    assert len(chart.rows) <= 60
    assert chart.rows[-1] == [1_000, "train", 0.5]
    assert chart.summary == "RMSE: train ends at 0.5000."


def test_hosts_are_told_apart() -> None:
    curves: list[Curve] = [
        {"host": host, "channel": "train", "metric": "rmse", "epochs": [0], "values": [1.0]}
        for host in ("algo-1", "algo-2")
    ]
    names = [trace["name"] for trace in charts.learning(curves, "rmse").figure["data"]]
    assert names == ["train, algo-1", "train, algo-2"]


def test_the_best_so_far_never_gets_worse() -> None:
    chart = charts.best_so_far(run_document()["trials"])
    best, trials = chart.figure["data"]
    assert (best["x"], best["y"]) == ([1, 2, 4], [0.95, 0.91, 0.91])
    assert trials["y"] == [0.95, 0.91, 0.93]
    assert chart.summary.startswith("3 of 4 trials reached a value; the best is 0.9100, of trial 2")
    assert [row[2] for row in chart.rows] == ["Completed", "Completed", "Failed", "Completed"]


def test_what_is_to_grow_is_best_when_largest() -> None:
    trials = {**run_document()["trials"], "minimize": False}
    assert charts.best_so_far(trials).figure["data"][0]["y"] == [0.95, 0.95, 0.95]  # type: ignore[arg-type]


def test_trials_are_lines_from_axis_to_axis() -> None:
    chart = charts.parallel_coordinates(run_document()["trials"])
    best, near, rest = chart.figure["data"]
    # epochs 5 to 9, factors_lr 0.0001 to 0.05 (by its logarithm), test:rmse 0.91 to 0.95.
    assert best["y"][:3] == [1, 1, 0]
    assert near["y"][:3] == [None, pytest.approx(0.741, abs=0.001), pytest.approx(0.5)]
    assert rest["y"][:3] == [0, 0, 1]
    assert chart.head == ["job", "epochs", "factors_lr", "test:rmse"]
    assert "epochs 9, factors_lr 0.05: test:rmse 0.9100" in chart.summary


def test_one_trial_is_enough() -> None:
    trials = run_document()["trials"]
    trials["trials"] = trials["trials"][:1]
    assert charts.parallel_coordinates(trials).figure["data"][0]["y"][:3] == [0, 0, 0]
    assert charts.best_so_far(trials).rows[0][3] == 0.95


def test_errors_have_their_intervals() -> None:
    measured = metrics()
    chart = charts.errors(measured)
    [points] = chart.figure["data"]
    assert points["x"] == [measured[name]["rmse"] for name in ("model", "bias", "popular", "mean")]
    low, high = measured["intervals"]["model"]["rmse"]
    assert points["error_x"]["array"][0] == pytest.approx(high - measured["model"]["rmse"])
    assert points["error_x"]["arrayminus"][0] == pytest.approx(measured["model"]["rmse"] - low)


def test_errors_without_intervals_are_drawn_too() -> None:
    measured = metrics()
    measured["intervals"]["model"]["rmse"] = None
    assert charts.errors(measured).rows[0][2:] == [None, None]


@pytest.mark.parametrize(
    ("segment", "label"),
    [
        ({"from": 0, "to": 0}, "0"),
        ({"from": 1, "to": 4}, "1 to 4"),
        ({"from": 100, "to": None}, "100 and more"),
        ({"stars": 3}, "3"),
    ],
)
def test_segments_are_named_by_their_bounds(segment: dict[str, Any], label: str) -> None:
    assert charts.segment_label(segment) == label


def test_every_chart_has_a_title_units_a_text_and_numbers() -> None:
    document = run_document()
    measured = document["summary"]["metrics"]
    drawn = [
        charts.funnel(document["data"]["funnel"]),
        charts.stars(document["data"]["stars"]),
        charts.activity(document["activity"]),
        charts.learning(document["curves"], "rmse"),
        charts.best_so_far(document["trials"]),
        charts.errors(measured),
        charts.segments("stars", "RMSE", measured["segments"]["stars"], "stars given"),
        charts.calibration(measured["calibration"]),
        charts.seconds(document["steps"]),
    ]
    assert len({chart.name for chart in drawn}) == len(drawn)
    for chart in drawn:
        assert chart.title
        assert chart.summary.endswith(".")
        assert all(len(row) == len(chart.head) for row in chart.rows)
        assert chart.figure["layout"]["xaxis"]["title"]["text"]
        # The page's colours, not plotly's own.
        assert "template" not in chart.figure["layout"]
        assert json.dumps(chart.figure, allow_nan=False)
