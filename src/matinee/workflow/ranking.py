"""How good the first ten recommendations are, measured on the ratings that nobody trained on.

The protocol. For each customer the whole catalogue is ranked, without the videos that the customer
rated in the train and validate splits: no sample of candidates, since sampled metrics do not even
keep the order of recommenders (W. Krichene and S. Rendle, "On Sampled Metrics for Item
Recommendation", KDD 2020). Relevant are the customer's test ratings of 4 stars or more. Customers
without any are left out; of more than `MOST_CUSTOMERS` as many are drawn with the run's seed. A
figure is the mean over customers. What is only known of a rating itself, such as its day, is not
known of a recommendation. Refuses a model that does not fit the run's features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from matinee.fm.model import Model
from matinee.fm.ranking import top
from matinee.workflow.errors import EvaluationError
from matinee.workflow.intervals import LEVEL, interval, replicate_ratios
from matinee.workflow.prepare import Ratings

if TYPE_CHECKING:
    from matinee.workflow.features import FeatureSpace

CUTOFF = 10
RELEVANT_STARS = 4.0
MOST_CUSTOMERS = 10_000
FIGURES = ("ndcg", "recall", "mrr")


class Judged(NamedTuple):
    """The customers that a ranking is judged by.

    Attributes
    ----------
    customers : ndarray, shape (n,)
        Ascending.
    eligible : int
        How many there were to draw from.
    relevant, seen : csr_matrix, shape (n, videos)
        What each should be recommended, and what must not be.
    """

    customers: NDArray[np.int64]
    eligible: int
    relevant: csr_matrix
    seen: csr_matrix


def measure_ranking(
    model: Model, ratings: dict[str, Ratings], space: FeatureSpace, seed: int
) -> dict[str, Any]:
    """Measure the recommendations of a model, and of popularity alone.

    Parameters
    ----------
    model : Model
    ratings : dict
        "train", "validate" and "test" to their ratings.
    space : FeatureSpace
        What the model's features mean.
    seed : int
        Draws the customers, and the intervals.

    Returns
    -------
    dict
        `protocol`; for `model` and `popular` (the videos with the most training ratings, ties to
        the lower index) `ndcg`, `recall`, `mrr` (means over customers), `coverage` (share of the
        catalogue that anybody is recommended), `novelty` (mean bits of self-information of a
        recommendation) and `intervals` of the means; `difference`, the intervals of the model's
        means minus those of popularity. Without relevant test ratings there is the protocol alone.

    Raises
    ------
    EvaluationError
        If the model has another number of features.
    """
    if model.feature_dim != space.width:
        raise EvaluationError(
            f"the model has {model.feature_dim} features, but the run has {space.width}"
        )
    customer_count, video_count = space.field_dims[:2]
    judged = judge(ratings, video_count, seed)
    measured: dict[str, Any] = {
        "protocol": {
            "cutoff": CUTOFF,
            "relevant": f"test ratings of {RELEVANT_STARS:g} stars or more",
            "candidates": "all videos that the customer has not rated in train or validate",
            "catalogue": video_count,
            "eligible_customers": judged.eligible,
            "customers": len(judged.customers),
            "seed": seed,
            "level": LEVEL,
        }
    }
    if not len(judged.customers):
        return measured
    raters = np.bincount(ratings["train"].video, minlength=video_count)
    of_model = top(
        model,
        space.encode(judged.customers),
        space.encode(videos=np.arange(video_count)),
        CUTOFF,
        exclude=judged.seen,
    )
    replicates = {}
    for name, best in (
        ("model", of_model.candidates),
        ("popular", most_popular(raters, judged.seen)),
    ):
        by_customer = figures(best, judged.relevant)
        replicates[name] = replicate_ratios(by_customer, np.ones(len(best)), seed)
        means = by_customer.mean(axis=0)
        measured[name] = {
            **{figure: float(mean) for figure, mean in zip(FIGURES, means, strict=True)},
            "coverage": coverage(best, video_count),
            "novelty": novelty(best, raters, customer_count),
            "intervals": _intervals(replicates[name]),
        }
    measured["difference"] = _intervals(replicates["model"] - replicates["popular"])
    return measured


def judge(ratings: dict[str, Ratings], video_count: int, seed: int) -> Judged:
    """Choose the customers to judge by; see the protocol."""
    test = ratings["test"]
    liked = test.stars >= RELEVANT_STARS
    eligible = np.unique(test.customer[liked]).astype(np.int64)
    customers = eligible
    if len(eligible) > MOST_CUSTOMERS:
        rng = np.random.default_rng(seed)
        customers = np.sort(rng.choice(eligible, MOST_CUSTOMERS, replace=False))
    before = (ratings["train"], ratings["validate"])
    return Judged(
        customers,
        len(eligible),
        _pairs(test.customer[liked], test.video[liked], customers, video_count),
        _pairs(
            np.concatenate([rated.customer for rated in before]),
            np.concatenate([rated.video for rated in before]),
            customers,
            video_count,
        ),
    )


def most_popular(raters: NDArray[np.int64], seen: csr_matrix) -> NDArray[np.int64]:
    """Return each customer's most rated videos, shape (n, CUTOFF); -1 where there are too few."""
    # The model that scores a video by its ratings, whoever the customer, who is feature 0.
    linear = np.concatenate([[0], raters]).astype(np.float32)
    model = Model(0.0, linear, np.zeros((len(linear), 1), np.float32), "regressor")
    customers = one_hot(np.zeros(seen.shape[0], np.int64), len(linear))
    videos = one_hot(np.arange(1, len(linear)), len(linear))
    return top(model, customers, videos, CUTOFF, exclude=seen).candidates


def figures(best: NDArray[np.int64], relevant: csr_matrix) -> NDArray[np.float64]:
    """Measure each customer's list.

    Parameters
    ----------
    best : ndarray, shape (n, cutoff)
        Videos, the best first; -1 for none.
    relevant : csr_matrix, shape (n, videos)
        At least one a customer.

    Returns
    -------
    ndarray, shape (n, 3)
        NDCG with gain 1 and discount log2(rank + 1) (K. Järvelin and J. Kekäläinen, "Cumulated
        Gain-Based Evaluation of IR Techniques", ACM TOIS 2002), the share of the relevant videos
        that are in the list, and 1 / rank of the first of them, 0 if there is none.
    """
    cutoff = best.shape[1]
    hits = _hits(best, relevant)
    wanted = np.diff(relevant.indptr)
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    ideal = np.cumsum(discounts)[np.minimum(wanted, cutoff) - 1]
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    return np.column_stack([hits @ discounts / ideal, hits.sum(axis=1) / wanted, 1 / first])


def coverage(best: NDArray[np.int64], video_count: int) -> float:
    """Return the share of the catalogue that is in any list."""
    return len(np.unique(best[best >= 0])) / video_count


def novelty(
    best: NDArray[np.int64], raters: NDArray[np.int64], customer_count: int
) -> float | None:
    """Return the mean self-information of the recommended videos, in bits.

    -log2(raters / customers), what nobody has rated counting as rated by one (T. Zhou et al.,
    "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010). None if
    nothing is recommended.
    """
    listed = best[best >= 0]
    if not len(listed):
        return None
    share = np.maximum(raters[listed], 1) / customer_count
    return float(-np.log2(share).mean())


def one_hot(features: NDArray[np.int64], width: int) -> csr_matrix:
    """Return records of one feature each, of value 1, shape (n, width)."""
    bounds = np.arange(len(features) + 1)
    return csr_matrix(
        (np.ones(len(features), np.float32), features, bounds), (len(features), width)
    )


def _pairs(
    customer: NDArray[np.int32],
    video: NDArray[np.int32],
    customers: NDArray[np.int64],
    video_count: int,
) -> csr_matrix:
    """Return which videos stand beside each of some customers, a row each."""
    places = np.searchsorted(customers, customer)
    places[places == len(customers)] = 0
    known = customers[places] == customer if len(customers) else np.zeros(len(customer), bool)
    rows, columns = places[known], video[known]
    shape = (len(customers), video_count)
    return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)


def _hits(best: NDArray[np.int64], relevant: csr_matrix) -> NDArray[np.bool_]:
    """Say which of the listed videos are relevant, shape (n, cutoff)."""
    videos = relevant.shape[1]
    wanted = np.repeat(np.arange(len(best)), np.diff(relevant.indptr)) * videos + relevant.indices
    listed = np.arange(len(best))[:, None] * videos + best
    return np.isin(listed, wanted) & (best >= 0)


def _intervals(replicates: NDArray[np.float64]) -> dict[str, list[float] | None]:
    return {figure: interval(values) for figure, values in zip(FIGURES, replicates.T, strict=True)}
