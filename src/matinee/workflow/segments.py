"""The errors of a part of the test ratings: by how well its customer and video are known, by stars.

And calibration: whether what is predicted is what comes, bin by bin of the prediction. Segments
without ratings are left out. Refuses nothing: the caller has checked that all arrays are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matinee.workflow.baselines import errors

# A customer or video is cold if there is no training rating of it; up from each of these it is one
# bin warmer.
FROM_RATINGS = (0, 1, 5, 10, 20, 50, 100)
CALIBRATION_WIDTH = 0.25
_LOWEST, _HIGHEST = 1.0, 5.0

Predictions = Mapping[str, NDArray[np.floating[Any]]]


def by_training_ratings(
    predictions: Predictions, stars: NDArray[np.float32], known: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Measure segments by the number of training ratings.

    Parameters
    ----------
    predictions : mapping
        Predictor to its predictions, each of shape (n,).
    stars : ndarray, shape (n,)
    known : ndarray, shape (n,)
        How many training ratings there are of the customer, or of the video, of each test rating.

    Returns
    -------
    list of dict
        `from` and `to` training ratings (`to` is None for the last), `rows`, and for each predictor
        `rmse`, `mae` and `mean_error`, predicted minus actual.
    """
    bounds = [*FROM_RATINGS[1:], None]
    places = np.searchsorted(FROM_RATINGS, known, side="right") - 1
    return [
        {"from": low, "to": None if bound is None else bound - 1, **measured}
        for low, bound, measured in (
            (FROM_RATINGS[place], bounds[place], measured)
            for place, measured in _measured(predictions, stars, places)
        )
    ]


def by_stars(predictions: Predictions, stars: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Measure segments by the stars that were given, halves to the higher star; otherwise as
    `by_training_ratings`."""
    rounded = np.floor(stars + 0.5).astype(np.int64)
    return [
        {"stars": star, **measured} for star, measured in _measured(predictions, stars, rounded)
    ]


def calibration(predicted: NDArray[np.floating[Any]], stars: NDArray[np.float32]) -> dict[str, Any]:
    """Compare the mean prediction with the mean of the stars, in bins of the prediction.

    Parameters
    ----------
    predicted, stars : ndarray, shape (n,)

    Returns
    -------
    dict
        `width` of a bin in stars; `bins`, each with `from`, `to`, `rows`, `predicted` and `actual`
        mean (the first and the last also hold what is predicted beyond 1 and 5); `error`, the mean
        difference between the two without its sign, weighted by rows (the expected calibration
        error of M. P. Naeini et al., AAAI 2015, for a number instead of a probability).
    """
    count = round((_HIGHEST - _LOWEST) / CALIBRATION_WIDTH)
    places = np.floor((predicted - _LOWEST) / CALIBRATION_WIDTH).astype(np.int64)
    places = np.clip(places, 0, count - 1)
    rows = np.bincount(places, minlength=count)
    predicted_sums = np.bincount(places, weights=predicted, minlength=count)
    actual_sums = np.bincount(places, weights=stars, minlength=count)
    bins = [
        {
            "from": _LOWEST + place * CALIBRATION_WIDTH,
            "to": _LOWEST + (place + 1) * CALIBRATION_WIDTH,
            "rows": int(rows[place]),
            "predicted": float(predicted_sums[place] / rows[place]),
            "actual": float(actual_sums[place] / rows[place]),
        }
        for place in np.flatnonzero(rows).tolist()
    ]
    error = float(np.abs(predicted_sums - actual_sums).sum() / len(stars))
    return {"width": CALIBRATION_WIDTH, "bins": bins, "error": error}


def _measured(
    predictions: Predictions, stars: NDArray[np.float32], places: NDArray[np.int64]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for place in np.unique(places).tolist():
        chosen = places == place
        measured: dict[str, Any] = {"rows": int(chosen.sum())}
        for name, predicted in predictions.items():
            off = errors(predicted[chosen], stars[chosen])
            mean_error = float(np.mean(predicted[chosen].astype(np.float64) - stars[chosen]))
            measured[name] = {"rmse": off.rmse, "mae": off.mae, "mean_error": mean_error}
        yield place, measured
