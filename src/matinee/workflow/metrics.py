"""What `metrics.json` says: how good a model is on the test ratings, beside what needs no model.

Errors of the model and of three baselines with their bootstrap intervals, by segment, calibration,
and the ranking of the whole catalogue. docs/evaluation.md is the protocol. Refuses nothing itself:
`evaluate` has checked the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from matinee.fm.model import Model
from matinee.workflow import segments
from matinee.workflow.baselines import errors, fit_biases, fit_video_means
from matinee.workflow.intervals import (
    LEVEL,
    METHOD,
    REPLICATES,
    group_sums,
    interval,
    replicate_ratios,
)
from matinee.workflow.prepare import Ratings
from matinee.workflow.ranking import measure_ranking

if TYPE_CHECKING:
    from matinee.workflow.features import FeatureSpace

# Beside the model; what a difference is measured against.
BASELINES = ("mean", "popular", "bias")


def measure(
    predicted: NDArray[np.float64],
    ratings: dict[str, Ratings],
    model: Model,
    space: FeatureSpace,
    seed: int,
) -> dict[str, Any]:
    """Measure a model.

    Parameters
    ----------
    predicted : ndarray, shape (test ratings,)
        The batch predictions, in the order of the test ratings.
    ratings : dict
        "train", "validate" and "test" to their ratings.
    model : Model
        What ranks.
    space : FeatureSpace
        What the model's features mean.
    seed : int
        Of the bootstrap, and of the customers that rankings are judged by.

    Returns
    -------
    dict
        `rows`; `model`, `mean`, `bias` and `popular`, each with `rmse`, `mse` and `mae` in stars;
        `intervals`, `segments`, `calibration` and `ranking`; JSON values alone.

    Raises
    ------
    EvaluationError
        If the model has another number of features.
    """
    customer_count, video_count = space.field_dims[:2]
    train, test = ratings["train"], ratings["test"]
    biases = fit_biases(train, ratings["validate"], customer_count, video_count)
    predictions = {
        "model": predicted,
        "mean": np.full(len(test.stars), biases.mean),
        "bias": biases.predict(test),
        "popular": fit_video_means(train, video_count)[test.video],
    }
    measured: dict[str, Any] = {
        "rows": len(test.stars),
        **{name: errors(of_one, test.stars)._asdict() for name, of_one in predictions.items()},
    }
    measured["bias"] |= {
        "customer_damping": biases.customer_damping,
        "video_damping": biases.video_damping,
    }
    measured["intervals"] = error_intervals(predictions, test, customer_count, seed)
    compared = {name: predictions[name] for name in ("model", "bias")}
    of_customers = np.bincount(train.customer, minlength=customer_count)[test.customer]
    of_videos = np.bincount(train.video, minlength=video_count)[test.video]
    measured["segments"] = {
        "customers": segments.by_training_ratings(compared, test.stars, of_customers),
        "videos": segments.by_training_ratings(compared, test.stars, of_videos),
        "stars": segments.by_stars(compared, test.stars),
    }
    measured["calibration"] = segments.calibration(predicted, test.stars)
    measured["ranking"] = measure_ranking(model, ratings, space, seed)
    return measured


def error_intervals(
    predictions: Mapping[str, NDArray[np.floating[Any]]],
    test: Ratings,
    customer_count: int,
    seed: int,
) -> dict[str, Any]:
    """Bound the errors of several predictors of the same ratings, and how they differ.

    Parameters
    ----------
    predictions : mapping
        Predictor to its predictions, each of shape (n,); the first is compared with each other.
    test : Ratings
        Of shape (n,).
    customer_count, seed : int

    Returns
    -------
    dict
        `level`, `method`, `replicates`, `seed`; for each predictor `rmse`, `mse` and `mae`, each
        [low, high], or None where too few customers have test ratings; `differences`, the same for
        the first predictor's errors minus another's: below 0 throughout, the first is better.
    """
    sums = []
    for predicted in predictions.values():
        residual = np.asarray(predicted, np.float64) - test.stars
        sums += [
            group_sums(residual**2, test.customer, customer_count),
            group_sums(np.abs(residual), test.customer, customer_count),
        ]
    rows = np.bincount(test.customer, minlength=customer_count).astype(np.float64)
    replicates = replicate_ratios(np.column_stack(sums), rows, seed)
    by_name = {
        name: {
            "rmse": np.sqrt(replicates[:, 2 * place]),
            "mse": replicates[:, 2 * place],
            "mae": replicates[:, 2 * place + 1],
        }
        for place, name in enumerate(predictions)
    }
    first, *others = by_name
    return {
        "level": LEVEL,
        "method": METHOD,
        "replicates": REPLICATES,
        "seed": seed,
        **{
            name: {error: interval(values) for error, values in of_one.items()}
            for name, of_one in by_name.items()
        },
        "differences": {
            name: {
                error: interval(by_name[first][error] - values)
                for error, values in by_name[name].items()
            }
            for name in others
        },
    }
