"""The videos that a trained model expects a customer to like best among those not rated yet.

Refuses a model that does not fit the index tables, and customers that the ratings do not know.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from matinee.fm import FactorizationMachine
from matinee.fm.errors import ArtifactError
from matinee.workflow.errors import EvaluationError
from matinee.workflow.features import open_space
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import read_ratings


class Recommendation(TypedDict):
    """One recommended video; `stars` as the model predicts them, which may lie outside 1 to 5."""

    rank: int
    video: str
    title: str
    stars: float


class Recommendations(TypedDict):
    """The best videos for a customer, who has rated `rated` others."""

    customer: str
    rated: int
    items: list[Recommendation]


def recommend(
    preprocessed: Preprocessed, model: str, *, customer: str | None, seed: int, count: int = 10
) -> Recommendations:
    """Recommend videos to a customer.

    Parameters
    ----------
    preprocessed : Preprocessed
        What the preprocess step returned: where the index tables and ratings lie.
    model : str
        URI of the model.tar.gz.
    customer : str or None
        The customer's id; None takes the one whose hash with the seed is the smallest.
    seed : int
    count : int
        How many videos at most.

    Returns
    -------
    Recommendations
        The best first, ties to the more popular video; a video without title has its id there.

    Raises
    ------
    EvaluationError
        If there is no such customer, or the artifact is no model or of another width than the
        index tables.
    """
    objects = Objects()
    with tempfile.TemporaryDirectory(prefix="matinee-recommend-") as scratch_name:
        scratch = Path(scratch_name)
        customers = _table(objects, preprocessed["customers"], scratch)
        videos = _table(objects, preprocessed["videos"], scratch)
        ids: list[str] = customers["customer"].to_pylist()
        chosen = _customer(ids, customer, seed)
        seen = _seen(objects, preprocessed, chosen, scratch)
        artifact = scratch / "model.tar.gz"
        objects.download(model, artifact)
        try:
            machine = FactorizationMachine.load(artifact)
        except ArtifactError as error:
            raise EvaluationError(f"{model} cannot be used: {error}") from error
    with open_space(preprocessed, objects) as space:
        if len(machine.linear_) != space.width:
            raise EvaluationError(
                f"{model} has {len(machine.linear_)} features, but there are"
                f" {customers.num_rows} customers and {videos.num_rows} videos, in all"
                f" {space.width} features"
            )
        asking, offered = space.encode([chosen]), space.encode(videos=np.arange(videos.num_rows))
    ranking = machine.top(
        asking,
        offered,
        count,
        exclude=csr_matrix((np.ones(len(seen)), seen, [0, len(seen)]), (1, videos.num_rows)),
    )
    found = ranking.candidates[0] >= 0
    best, scores = ranking.candidates[0, found], ranking.scores[0, found]
    rows = videos.take(pa.array(best)).to_pylist()
    return {
        "customer": ids[chosen],
        "rated": len(seen),
        "items": [
            {
                "rank": rank,
                "video": row["video"],
                "title": row["title"] or row["video"],
                "stars": float(score),
            }
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1)
        ],
    }


def _table(objects: Objects, uri: str, scratch: Path) -> pa.Table:
    path = scratch / "index.parquet"
    objects.download(uri, path)
    return pq.read_table(path)


def _customer(ids: list[str], customer: str | None, seed: int) -> int:
    if customer is None:
        hashes = [
            hashlib.md5(f"{name}|{seed}".encode(), usedforsecurity=False).digest() for name in ids
        ]
        return min(range(len(ids)), key=hashes.__getitem__)
    if customer not in ids:
        raise EvaluationError(
            f"customer {customer!r} is not among the {len(ids)} customers of this run: unknown,"
            " or with too few ratings"
        )
    return ids.index(customer)


def _seen(
    objects: Objects, preprocessed: Preprocessed, customer: int, scratch: Path
) -> NDArray[np.int32]:
    """Return the videos that the customer rated, in any split, ascending."""
    videos = []
    path = scratch / "ratings.parquet"
    for parts in preprocessed["ratings"].values():
        for part in parts:
            objects.download(part["uri"], path)
            rated = read_ratings(path, part["uri"])
            videos.append(rated.video[rated.customer == customer])
    return np.unique(np.concatenate(videos))
