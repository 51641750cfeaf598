"""Predictions that need no model: the mean, a video's mean, the mean with biases of both sides.

A model that does not beat them has learned nothing. The biases are those of Y. Koren and R. Bell,
"Advances in Collaborative Filtering" (Recommender Systems Handbook, 2011, section 3.2.1), estimated
one after the other, each damped towards zero: b_i = sum(r - mean) / (damping_i + n_i), then b_u =
sum(r - mean - b_i) / (damping_u + n_u).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.workflow.prepare import Ratings

DAMPINGS = (0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0)


class Errors(NamedTuple):
    """How far predictions are off, in stars."""

    rmse: float
    mse: float
    mae: float


def errors(predicted: NDArray[np.floating[Any]], stars: NDArray[np.float32]) -> Errors:
    """Measure predictions against stars, both of shape (n,), in float64."""
    residual = np.asarray(predicted, np.float64) - stars
    mse = float(np.mean(residual**2))
    return Errors(rmse=float(np.sqrt(mse)), mse=mse, mae=float(np.mean(np.abs(residual))))


class BiasModel(NamedTuple):
    """The mean, and what each customer and video adds to it."""

    mean: float
    customers: NDArray[np.float64]
    videos: NDArray[np.float64]
    customer_damping: float
    video_damping: float

    def predict(self, rated: Ratings) -> NDArray[np.float64]:
        """Return the predicted stars, shape (n,)."""
        return self.mean + self.customers[rated.customer] + self.videos[rated.video]


def fit_biases(
    train: Ratings, validate: Ratings, customer_count: int, video_count: int
) -> BiasModel:
    """Fit the biases on the training ratings, with the dampings that fit the validation ratings
    best.

    Parameters
    ----------
    train, validate : Ratings
    customer_count, video_count : int

    Returns
    -------
    BiasModel
        Customers and videos without training ratings have no bias.
    """
    candidates = (
        _fit(train, customer_count, video_count, customer_damping, video_damping)
        for customer_damping, video_damping in itertools.product(DAMPINGS, DAMPINGS)
    )
    return min(candidates, key=lambda model: errors(model.predict(validate), validate.stars).mse)


def fit_video_means(train: Ratings, video_count: int) -> NDArray[np.float64]:
    """Return the mean stars of each video, shape (video_count,); without any, of all ratings."""
    stars = train.stars.astype(np.float64)
    mean = float(stars.mean())
    return mean + _damped(stars - mean, train.video, video_count, 0.0)


def _fit(
    train: Ratings,
    customer_count: int,
    video_count: int,
    customer_damping: float,
    video_damping: float,
) -> BiasModel:
    stars = train.stars.astype(np.float64)
    mean = float(stars.mean())
    videos = _damped(stars - mean, train.video, video_count, video_damping)
    rest = stars - mean - videos[train.video]
    customers = _damped(rest, train.customer, customer_count, customer_damping)
    return BiasModel(mean, customers, videos, customer_damping, video_damping)


def _damped(
    residual: NDArray[np.float64], group: NDArray[np.int32], groups: int, damping: float
) -> NDArray[np.float64]:
    totals = np.bincount(group, weights=residual, minlength=groups)
    counts = np.bincount(group, minlength=groups)
    # A group without ratings has total 0: any divisor but 0 gives it no bias.
    divisors = np.where(counts > 0, counts + damping, 1.0)
    return np.asarray(totals / divisors)
