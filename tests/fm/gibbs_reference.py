"""One sweep of the Gibbs sampler, written for reading: float64, dense arrays, in turn."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.fm.fields import Fields
from matinee.fm.gibbs import Priors

Floats = NDArray[np.float64]


def outputs(x: Floats, bias: float, parameters: Floats) -> Floats:
    """f(x) of rows (n, d), given [factors, weight] of each feature (d, k + 1)."""
    factors, linear = parameters[:, :-1], parameters[:, -1]
    pairs = np.square(x @ factors) - np.square(x) @ np.square(factors)
    return np.asarray(bias + x @ linear + pairs.sum(axis=1) / 2)


def sweep(
    x: Floats,
    y: Floats,
    parameters: Floats,
    bias: float,
    noise: float,
    priors: Priors,
    fields: Fields,
    order: Sequence[int],
    normals: Callable[[int, int], Floats],
    *,
    weight_first: bool,
) -> Floats:
    """Draw all features' parameters, field by field in an order; return them.

    ``normals`` gives the k + 1 random numbers of a field's feature; ``weight_first`` says which of
    the parameters comes first in the Cholesky decomposition.
    """
    parameters = parameters.copy()
    k = parameters.shape[1] - 1
    turn = [k, *range(k)] if weight_first else list(range(k + 1))
    for field in order:
        for feature in range(fields.starts[field], fields.starts[field + 1]):
            rows = x[:, feature] != 0
            values = x[rows, feature][:, None]
            others = x[rows] @ parameters[:, :k] - values * parameters[feature, :k]
            z = values * np.column_stack([others, np.ones(len(others))])
            without = y[rows] - outputs(x[rows], bias, parameters) + z @ parameters[feature]
            means, precisions = (
                array[field].astype(np.float64) for array in (priors.means, priors.precisions)
            )
            precision = (z.T @ z / noise + np.diag(precisions))[np.ix_(turn, turn)]
            shift = (z.T @ without / noise + precisions * means)[turn]
            lower = np.linalg.cholesky(precision)
            drawn = normals(field, feature - int(fields.starts[field]))[turn]
            mean = np.linalg.solve(precision, shift)
            parameters[feature, turn] = mean + np.linalg.solve(lower.T, drawn)
    return parameters
