"""Averages of models as one model, and models of fewer factors that predict nearly the same.

The mean of the raw outputs f(x) of several Factorization Machines is a Factorization Machine again:
constant and linear terms are averaged, factor vectors stand side by side, divided by the square
root of the number of models. Its factors can be reduced to the few directions that carry most of
the interactions. Models of different widths or predictor types are refused.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.errors import DataError
from matinee.fm.model import Model

# Bounds the copies that compression makes, whatever the number of features.
_ROWS_AT_A_TIME = 4096


def average(models: Sequence[Model]) -> Model:
    """Return the model whose raw output is the mean of the models' raw outputs.

    For a binary_classifier the mean is of the log-odds. The result has as many factors as the
    models have together.

    Raises
    ------
    DataError
        If there are no models, or they differ in feature_dim or predictor_type.
    """
    if not models:
        raise DataError("there are no models to average")
    first = models[0]
    if len(models) == 1:
        return first
    for model in models:
        if (model.feature_dim, model.predictor_type) != (first.feature_dim, first.predictor_type):
            raise DataError(
                f"a {model.predictor_type} of {model.feature_dim} features cannot be averaged with "
                f"a {first.predictor_type} of {first.feature_dim} features"
            )
    # Sums in float64: as exact as float32 results can be.
    linear = np.stack([model.linear for model in models]).mean(axis=0, dtype=np.float64)
    factors = np.concatenate([model.factors for model in models], axis=1)
    factors *= np.float32(len(models) ** -0.5)
    bias = np.float32(np.mean([model.bias for model in models]))
    return Model(float(bias), linear.astype(np.float32), factors, first.predictor_type)


def compress(model: Model, num_factors: int, weights: ArrayLike | None = None) -> Model:
    """Return the model with at most ``num_factors`` factors whose interactions are closest.

    Closest in the sum of squared differences of <factors_i, factors_j> over all pairs of features
    (Eckart and Young 1936), each weighted by ``weights_i * weights_j``. A model with no more
    factors than that is returned as it is.

    Parameters
    ----------
    weights
        (feature_dim,), not negative: how often each feature occurs, for example.

    Raises
    ------
    DataError
        If num_factors is not positive, or weights have another shape or a negative value.
    """
    if num_factors < 1:
        raise DataError(f"num_factors is {num_factors}: a model has 1 or more factors")
    if model.num_factors <= num_factors:
        return model
    directions = _main_directions(_gram(model.factors, weights), num_factors)
    factors = model.factors @ directions.astype(np.float32)
    return Model(model.bias, model.linear, factors, model.predictor_type)


def _gram(factors: NDArray[np.float32], weights: ArrayLike | None) -> NDArray[np.float64]:
    given = np.ones(len(factors)) if weights is None else weights
    checked = np.asarray(given, dtype=np.float32)
    if checked.shape != factors.shape[:1] or not (checked >= 0).all():
        raise DataError(
            f"weights of shape {checked.shape} do not fit {len(factors)} features, or one of them "
            "is negative"
        )
    gram = np.zeros((factors.shape[1], factors.shape[1]))
    for start in range(0, len(factors), _ROWS_AT_A_TIME):
        part = factors[start : start + _ROWS_AT_A_TIME]
        gram += part.T @ (part * checked[start : start + _ROWS_AT_A_TIME, None])
    return gram


def _main_directions(gram: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    # Eigenvalues come in ascending order.
    return np.linalg.eigh(gram).eigenvectors[:, : -count - 1 : -1]
