"""How sure a figure of the test set is: bootstrap intervals, drawn anew by customer.

Errors of one customer's ratings go together, so whole customers are drawn, not ratings: the cluster
bootstrap (A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section
3.8). Each replicate gives every customer a weight from Poisson(1) instead of drawing as many as
there are, which needs neither all customers at once nor their order (N. Chamandy et al.,
"Estimating Uncertainty for Massive Data Streams", Google, 2012). So memory is bounded whatever the
number of ratings, all figures of a call share the weights, which makes differences between them
paired, and the same seed gives the same intervals. Refuses to speak of fewer than two customers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

REPLICATES = 1_000
LEVEL = 0.95
METHOD = "Poisson bootstrap of whole customers, percentiles of the replicates"
# Customers weighted at a time: 16 MB of weights.
_BLOCK_CUSTOMERS = 2_048


def group_sums(
    values: NDArray[np.floating[Any]], customer: NDArray[np.int32], customer_count: int
) -> NDArray[np.float64]:
    """Sum values, shape (n,), by customer; return shape (customer_count,)."""
    return np.bincount(customer, weights=values, minlength=customer_count).astype(np.float64)


def replicate_ratios(
    numerators: NDArray[np.float64], denominator: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Draw replicates of sum(numerator) / sum(denominator) over customers.

    Parameters
    ----------
    numerators : ndarray, shape (customers, figures)
        What each customer adds to each figure.
    denominator : ndarray, shape (customers,)
        What each adds to the divisor of all: a number of ratings, or 1.
    seed : int

    Returns
    -------
    ndarray, shape (at most REPLICATES, figures)
        Replicates that drew no rating at all, as happens with few customers, are left out; of fewer
        than two customers there are none.
    """
    counted = np.flatnonzero(denominator)
    figures = numerators.shape[1]
    if len(counted) < 2:
        return np.empty((0, figures))
    rng = np.random.default_rng(seed)
    sums = np.zeros((REPLICATES, figures + 1))
    for first in range(0, len(counted), _BLOCK_CUSTOMERS):
        block = counted[first : first + _BLOCK_CUSTOMERS]
        weights = rng.poisson(1.0, (REPLICATES, len(block))).astype(np.float64)
        sums += weights @ np.column_stack([numerators[block], denominator[block]])
    drawn = sums[sums[:, -1] > 0]
    return np.asarray(drawn[:, :-1] / drawn[:, -1:])


def interval(replicates: ArrayLike) -> list[float] | None:
    """Return the bounds that hold the middle `LEVEL` of some replicates; None of none."""
    values = np.asarray(replicates, np.float64)
    if not values.size:
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return [float(low), float(high)]
