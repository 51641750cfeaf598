"""The best candidates of a whole catalogue for many customers at once, by matrix products.

With customer features x and candidate features z that have no feature in common,
``f(x + z) = f(x) + f(z) - bias + <q_x, q_z>``, q being the sum of a record's values times factors
(Rendle, "Factorization Machines", ICDM 2010, lemma 3.1, read for two parts of a record). So one row
a customer and one a candidate are enough, whatever stands in them; records that share a feature are
refused.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import Features, SparseRows, check_features, compressed
from matinee.fm.errors import DataError
from matinee.fm.model import Model
from matinee.fm.native import kernels

# Scores held at a time: bounds memory whatever the number of customers.
_SCORES_AT_A_TIME = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The best candidates of each record, the best first.

    Attributes
    ----------
    candidates
        int64 (records, count): rows of the candidates; -1 where there are too few.
    scores
        float32 (records, count): what ``Model.predict`` says of record and candidate together, up
        to float32 rounding; NaN where there are too few.
    """

    candidates: NDArray[np.int64]
    scores: NDArray[np.float32]


def top(
    model: Model,
    records: Features,
    candidates: Features,
    count: int,
    *,
    exclude: "Features | None" = None,
) -> Ranking:
    """Rank candidates for each record by the score that the model gives both together.

    Parameters
    ----------
    model
        What scores.
    records
        CSR matrix (n, at most feature_dim) or dense array (n, feature_dim): customers, and what
        else is known when they ask.
    candidates
        The same of (m, ...): the catalogue.
    count
        How many to return for each record, at least 1.
    exclude
        CSR matrix (n, m) whose stored entries are pairs that do not count, such as what a customer
        has rated already.

    Returns
    -------
    Ranking
        Ties are in the order of the candidates.

    Raises
    ------
    DataError
        If features do not fit the model, a feature stands in a record and in a candidate,
        ``exclude`` does not fit, or ``count`` is below 1.
    """
    if count < 1:
        raise DataError(f"count is {count}: at least 1 candidate must be asked for")
    asking = _Part.of(model, records)
    offered = _Part.of(model, candidates)
    shared = np.flatnonzero(asking.present & offered.present)
    if len(shared):
        raise DataError(f"feature {shared[0]} stands in records and in candidates")
    n, m = len(asking.outputs), len(offered.outputs)
    excluded = None if exclude is None else _check_excluded(exclude, n, m)
    best = np.empty((n, count), dtype=np.int64)
    best_scores = np.empty((n, count), dtype=np.float32)
    select_best = kernels("ranking").select_best
    catalogue = offered.sums.T
    increments = offered.outputs - np.float32(model.bias)
    step = max(1, _SCORES_AT_A_TIME // max(1, m))
    for begin in range(0, n, step):
        chunk = slice(begin, begin + step)
        scores = asking.sums[chunk] @ catalogue
        scores += increments
        if excluded is not None:
            _drop(scores, excluded, begin)
        select_best(scores, len(scores), m, count, best[chunk], best_scores[chunk])
    best_scores += asking.outputs[:, None]
    if model.predictor_type == "binary_classifier":
        kernels("scoring").apply_logistic(best_scores, best_scores.size)
    best_scores[best < 0] = np.nan
    return Ranking(best, best_scores)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One side of the pairs that are ranked: f(x), q and which features occur."""

    outputs: NDArray[np.float32]
    sums: NDArray[np.float32]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, model: Model, features: Features) -> "_Part":
        rows = check_features(features, model.feature_dim)
        sums = np.empty((rows.shape[0], model.num_factors), dtype=np.float32)
        kernels("scoring").add_factors(
            *compressed(rows),
            0,
            len(sums),
            np.ascontiguousarray(model.factors),
            model.num_factors,
            sums,
        )
        if isinstance(rows, SparseRows):
            present = np.zeros(model.feature_dim, dtype=np.bool_)
            present[rows.indices[rows.data != 0]] = True
        else:
            present = (rows != 0).any(axis=0)
        return cls(model.outputs(rows), sums, present)


def _check_excluded(exclude: Features, records: int, candidates: int) -> SparseRows:
    checked = check_features(exclude, candidates)
    if not isinstance(checked, SparseRows):
        raise DataError("exclude must be a sparse matrix")
    if checked.shape[0] != records:
        raise DataError(f"exclude has {checked.shape[0]} rows but there are {records} records")
    return checked


def _drop(scores: NDArray[np.float32], excluded: SparseRows, begin: int) -> None:
    bounds = excluded.indptr[begin : begin + len(scores) + 1]
    rows = np.repeat(np.arange(len(scores)), np.diff(bounds))
    scores[rows, excluded.indices[bounds[0] : bounds[-1]]] = -np.inf
