"""A candidate beside the model in service: both predict the same test ratings.

The model in service has indexes of its own, since the data may have changed since. Its index tables
are found by its run's summary, and the test ratings are encoded with them, by their ids, in that
run's features: a customer or video that it does not know leaves its features out, as when the
endpoint is asked. Ratings that it was trained on are left out of the comparison. Refuses models
that do not fit the features of their run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from matinee.fm import FactorizationMachine
from matinee.fm.errors import ArtifactError
from matinee.workflow.errors import EvaluationError
from matinee.workflow.features import FeatureSpace, open_space
from matinee.workflow.intervals import group_sums, interval, replicate_ratios
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Part, Preprocessed
from matinee.workflow.prepare import Ratings, read_ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Features make rows long.
_BLOCK_ROWS = 10_000


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
    customer: NDArray[np.int32],
    seed: int,
) -> Interval | None:
    """Estimate how much larger the candidate's RMSE is, by the paired bootstrap of `intervals`.

    Both models' errors of a customer are drawn together, which keeps what makes a customer hard to
    predict for both out of the difference.

    Parameters
    ----------
    candidate, in_service : ndarray
        Predictions, shape (n,).
    stars : ndarray
        Shape (n,).
    customer : ndarray
        Whose ratings they are, shape (n,).
    seed : int

    Returns
    -------
    Interval or None
        None of fewer than two customers.
    """
    count = int(customer.max(initial=-1)) + 1
    squares = [(predicted - stars) ** 2 for predicted in (candidate, in_service)]
    sums = np.column_stack([group_sums(values, customer, count) for values in squares])
    ratings = group_sums(np.ones(len(stars)), customer, count)
    drawn = np.sqrt(replicate_ratios(sums, ratings, seed))
    bounds = interval(drawn[:, 0] - drawn[:, 1])
    if bounds is None:
        return None
    ours, theirs = (float(np.sqrt(values.mean())) for values in squares)
    return Interval(ours - theirs, *bounds)


def predict_with(
    objects: Objects,
    model: str,
    theirs: Preprocessed,
    ours: Preprocessed,
    test: Ratings,
    sides: pa.Table,
) -> Predicted:
    """Predict a run's test ratings with the model of another run.

    Parameters
    ----------
    objects : Objects
    model : str
        URI of the other run's model.tar.gz.
    theirs, ours : Preprocessed
        Of the other run, and of the one whose ratings they are.
    test : Ratings
        By our indexes, shape (n,).
    sides : Table
        What else is known of them, n rows: `time`, if the run has it, and its side columns.

    Raises
    ------
    ObjectsError
        If something of the other run is missing.
    EvaluationError
        If the model cannot be read or does not fit the features of its run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="matinee-compare-") as scratch_name,
        open_space(theirs, objects) as space,
    ):
        scratch = Path(scratch_name)
        machine = _load(objects, model, scratch)
        if len(machine.linear_) != space.width:
            raise EvaluationError(
                f"{model} has {len(machine.linear_)} features, but its run {space.width}"
            )
        customer = _translated(
            objects, ours["customers"], theirs["customers"], "customer", test.customer, scratch
        )
        video = _translated(objects, ours["videos"], theirs["videos"], "video", test.video, scratch)
        count = theirs["video_count"]
        trained_on = _keys(objects, theirs["ratings"]["train"], count, scratch)
        fresh = ~np.isin(customer * count + video, trained_on) | (customer < 0) | (video < 0)
        scores = [
            machine.predict(_encode(space, customer, video, sides, first))
            for first in range(0, len(customer), _BLOCK_ROWS)
        ]
    return Predicted(np.concatenate(scores).astype(np.float64), fresh)


def _encode(
    space: FeatureSpace,
    customer: NDArray[np.int64],
    video: NDArray[np.int64],
    sides: pa.Table,
    first: int,
) -> csr_matrix:
    """Encode a block of ratings as the endpoint would be asked for them."""
    rows = slice(first, first + _BLOCK_ROWS)
    own = sides.slice(first, _BLOCK_ROWS)
    is_timed = "time" in own.column_names
    times = own["time"].fill_null(np.nan).to_numpy() if is_timed else None
    values = {name: own[name] for name in own.column_names if name != "time"}
    return space.encode(customer[rows], video[rows], times=times, values=values)


def _translated(
    objects: Objects,
    ours: str,
    theirs: str,
    column: str,
    indexes: NDArray[np.int32],
    scratch: Path,
) -> NDArray[np.int64]:
    """Return their indexes of what has our indexes, by the ids in two tables; -1 is unknown."""
    found = pc.index_in(
        _ids(objects, ours, column, scratch), _ids(objects, theirs, column, scratch)
    )
    known = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.asarray(known[indexes])


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
