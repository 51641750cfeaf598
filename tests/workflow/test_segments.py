"""Segments and calibration, on ratings whose right answer can be seen, and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.workflow.segments import by_stars, by_training_ratings, calibration


def test_segments_are_cut_by_training_ratings() -> None:
    found = by_training_ratings(
        {"model": np.array([3.0, 5.0, 4.0, 1.0])},
        np.array([4, 4, 4, 4], np.float32),
        np.array([0, 4, 1, 100]),
    )
    assert found == [
        {"from": 0, "to": 0, "rows": 1, "model": {"rmse": 1, "mae": 1, "mean_error": -1}},
        {
            "from": 1,
            "to": 4,
            "rows": 2,
            "model": {"rmse": math.sqrt(0.5), "mae": 0.5, "mean_error": 0.5},
        },
        {"from": 100, "to": None, "rows": 1, "model": {"rmse": 3, "mae": 3, "mean_error": -3}},
    ]


@pytest.mark.parametrize(
    ("known", "bounds"),
    [
        (5, (5, 9)),
        (9, (5, 9)),
        (10, (10, 19)),
        (49, (20, 49)),
        (99, (50, 99)),
        (10**6, (100, None)),
    ],
)
def test_a_bin_holds_both_its_bounds(known: int, bounds: tuple[int, int | None]) -> None:
    [found] = by_training_ratings({"model": np.ones(1)}, np.ones(1, np.float32), np.array([known]))
    assert (found["from"], found["to"]) == bounds


def test_stars_are_rounded_halves_up() -> None:
    found = by_stars({"model": np.full(4, 2.0)}, np.array([1, 1.5, 2.4, 2.5], np.float32))
    assert [(segment["stars"], segment["rows"]) for segment in found] == [(1, 1), (2, 2), (3, 1)]


def test_predictions_beyond_the_scale_count_in_the_outermost_bins() -> None:
    found = calibration(np.array([-3.0, 1.1, 7.0]), np.array([1, 2, 5], np.float32))
    assert found["bins"] == [
        {"from": 1, "to": 1.25, "rows": 2, "predicted": pytest.approx(-0.95), "actual": 1.5},
        {"from": 4.75, "to": 5, "rows": 1, "predicted": 7, "actual": 5},
    ]
    assert found["error"] == pytest.approx((2 * 2.45 + 2) / 3)


PAIRS = st.lists(
    st.tuples(st.floats(-2, 8, width=32), st.sampled_from([1.0, 2.5, 4.0, 5.0])),
    min_size=1,
    max_size=60,
)


@given(PAIRS)
def test_calibration_is_that_of_a_plain_loop(pairs: list[tuple[float, float]]) -> None:
    predicted, stars = np.array(pairs).T
    found = calibration(predicted, stars.astype(np.float32))
    bins: dict[int, list[tuple[float, float]]] = {}
    for guess, actual in pairs:
        place = min(max(math.floor((guess - 1) / 0.25), 0), 15)
        bins.setdefault(place, []).append((guess, actual))
    assert [entry["rows"] for entry in found["bins"]] == [
        len(bins[place]) for place in sorted(bins)
    ]
    off = 0.0
    for place, entry in zip(sorted(bins), found["bins"], strict=True):
        guesses, actuals = zip(*bins[place], strict=True)
        assert entry["predicted"] == pytest.approx(sum(guesses) / len(guesses))
        assert entry["actual"] == pytest.approx(sum(actuals) / len(actuals))
        off += abs(sum(guesses) - sum(actuals))
    assert found["error"] == pytest.approx(off / len(pairs), abs=1e-12)


@given(PAIRS, st.data())
def test_segments_share_out_the_squared_error(
    pairs: list[tuple[float, float]], data: st.DataObject
) -> None:
    predicted, stars = np.array(pairs).T
    known = np.array(
        data.draw(st.lists(st.integers(0, 200), min_size=len(pairs), max_size=len(pairs)))
    )
    total = float(np.sum((predicted - stars) ** 2))
    for found in (
        by_training_ratings({"model": predicted}, stars.astype(np.float32), known),
        by_stars({"model": predicted}, stars.astype(np.float32)),
    ):
        assert sum(segment["rows"] for segment in found) == len(pairs)
        shared = sum(segment["rows"] * segment["model"]["rmse"] ** 2 for segment in found)
        assert shared == pytest.approx(total, abs=1e-9)
