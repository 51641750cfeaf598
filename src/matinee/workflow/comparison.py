"""A candidate beside the model in service: both predict the same test ratings.

The model in service has indexes of its own, since the data may have changed since. Its index tables
are found by its run's summary, and the test ratings are encoded with them by their ids: a customer
or video that it does not know leaves its feature out, as when the endpoint is asked. Ratings that
it was trained on are left out of the comparison. Refuses models that do not fit their index tables.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from matinee.fm import FactorizationMachine
from matinee.fm.errors import ArtifactError
from matinee.workflow.errors import EvaluationError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Part, Preprocessed
from matinee.workflow.prepare import Ratings, read_ratings

RESAMPLES = 2_000
# Of more pairs, groups are resampled: of so many the interval no longer feels it.
_MOST_GROUPS = 10_000
_RESAMPLES_AT_A_TIME = 100
_BLOCK_ROWS = 1_000_000


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


class Predicted(NamedTuple):
    """What the model in service predicts for the test ratings.

    `scores` are float64 of shape (n,), `fresh` says of each rating whether the model was not
    trained on it.
    """

    scores: NDArray[np.float64]
    fresh: NDArray[np.bool_]


def rmse_difference(
    candidate: NDArray[np.float64],
    in_service: NDArray[np.float64],
    stars: NDArray[np.float32],
    seed: int,
) -> Interval:
    """Estimate how much larger the candidate's RMSE is, by a paired bootstrap.

    The ratings are drawn with replacement, each with both models' squared errors, which keeps what
    makes a rating hard for both out of the difference. Percentile interval of 2,000 resamples: B.
    Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Parameters
    ----------
    candidate, in_service : ndarray
        Predictions, shape (n,), n > 0.
    stars : ndarray
        Shape (n,).
    seed : int
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(stars))
    starts = np.unique(np.linspace(0, len(stars), _MOST_GROUPS, endpoint=False).astype(np.int64))
    squares = [
        np.add.reduceat(((predicted - stars) ** 2)[order], starts)
        for predicted in (candidate, in_service)
    ]
    counts = np.diff(np.append(starts, len(stars)))
    differences = np.concatenate(
        [
            _difference(squares, counts, random.integers(len(starts), size=(rows, len(starts))))
            for rows in [_RESAMPLES_AT_A_TIME] * (RESAMPLES // _RESAMPLES_AT_A_TIME)
        ]
    )
    [estimate] = _difference(squares, counts, np.arange(len(starts))[np.newaxis])
    low, high = np.quantile(differences, (0.025, 0.975))
    return Interval(float(estimate), float(low), float(high))


def _difference(
    squares: list[NDArray[np.float64]], counts: NDArray[np.int64], drawn: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the difference of the RMSEs of each row of drawn groups."""
    rows = counts[drawn].sum(axis=1)
    candidate, in_service = (np.sqrt(of_group[drawn].sum(axis=1) / rows) for of_group in squares)
    return np.asarray(candidate - in_service)


def predict_with(
    objects: Objects,
    model: str,
    summary: dict[str, Any],
    preprocessed: Preprocessed,
    test: Ratings,
) -> Predicted:
    """Predict a run's test ratings with the model of another run.

    Parameters
    ----------
    objects : Objects
    model : str
        URI of the other run's model.tar.gz.
    summary : dict
        The other run's summary.
    preprocessed : Preprocessed
        Of the run whose ratings they are.
    test : Ratings
        By that run's indexes.

    Raises
    ------
    ObjectsError
        If something of the other run is missing.
    EvaluationError
        If the model cannot be read or does not fit its index tables.
    """
    artifacts = summary["artifacts"]
    with tempfile.TemporaryDirectory(prefix="matinee-compare-") as scratch_name:
        scratch = Path(scratch_name)
        indexes, counts = [], []
        for table, column in (("customers", "customer"), ("videos", "video")):
            ours = _ids(objects, preprocessed[table], column, scratch)  # type: ignore[literal-required]
            theirs = _ids(objects, artifacts[table], column, scratch)
            found = pc.index_in(ours, theirs).fill_null(-1).to_numpy(zero_copy_only=False)
            indexes.append(found.astype(np.int64)[getattr(test, column)])
            counts.append(len(theirs))
        machine = _load(objects, model, scratch)
        if len(machine.linear_) != sum(counts):
            raise EvaluationError(
                f"{model} has {len(machine.linear_)} features, but there are {counts[0]} customers"
                f" and {counts[1]} videos in its run"
            )
        trained_on = _keys(objects, artifacts["ratings"]["train"], counts[1], scratch)
    customer, video = indexes
    fresh = ~np.isin(customer * counts[1] + video, trained_on) | (customer < 0) | (video < 0)
    scores = [
        machine.predict(_encode(customer[rows], video[rows], counts))
        for first in range(0, len(customer), _BLOCK_ROWS)
        for rows in [slice(first, first + _BLOCK_ROWS)]
    ]
    return Predicted(np.concatenate(scores).astype(np.float64), fresh)


def _encode(customer: NDArray[np.int64], video: NDArray[np.int64], counts: list[int]) -> csr_matrix:
    """Write a one for each customer and each video that is known."""
    keys = np.stack([customer, counts[0] + video], axis=1)
    known = np.stack([customer >= 0, video >= 0], axis=1)
    starts = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
    ones = np.ones(starts[-1], np.float32)
    return csr_matrix((ones, keys[known].astype(np.int32), starts), (len(customer), sum(counts)))


def _ids(objects: Objects, uri: str, column: str, scratch: Path) -> pa.ChunkedArray:
    path = scratch / "index.parquet"
    objects.download(uri, path)
    return pq.read_table(path, columns=[column])[column]


def _load(objects: Objects, model: str, scratch: Path) -> FactorizationMachine:
    path = scratch / "model.tar.gz"
    objects.download(model, path)
    try:
        return FactorizationMachine.load(path)
    except ArtifactError as error:
        raise EvaluationError(f"{model} cannot be used: {error}") from error


def _keys(
    objects: Objects, parts: list[Part], video_count: int, scratch: Path
) -> NDArray[np.int64]:
    """Return one number for each rating of a split, different for different pairs."""
    path = scratch / "ratings.parquet"
    keys = []
    for part in parts:
        objects.download(part["uri"], path)
        rated = read_ratings(path, part["uri"])
        keys.append(rated.customer.astype(np.int64) * video_count + rated.video)
    return np.concatenate(keys)
