"""What a model recommends to one customer: the best videos not rated yet, and why.

Customers that the model learned nothing of get the most popular videos instead, and are told so.
Refuses a model that does not fit the index tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from matinee.fm import FactorizationMachine
from matinee.fm.errors import ArtifactError
from matinee.workflow.attribution import Attribution
from matinee.workflow.catalogue import Catalogue, RatedVideo
from matinee.workflow.errors import EvaluationError
from matinee.workflow.features import FeatureSpace
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.rated import RatedBlock
from matinee.workflow.record_batches import batches

# Scores records: float32 (n,) for features of shape (n, width).
Score = Callable[[csr_matrix], NDArray[np.float32]]

COUNT = 10
_REASONS = 3
# Of pairs that are scored at a time.
_MOST_BYTES = 50_000_000


class Reason(TypedDict):
    """A rated video that speaks for a recommendation: `adds` stars, by `attribution`."""

    video: str
    title: str
    stars: float
    adds: float


class Recommendation(TypedDict):
    """One recommended video.

    `stars` are the model's prediction, which may lie outside 1 to 5, or of the popular the mean of
    the training ratings, of which there are `ratings`.
    """

    rank: int
    video: str
    title: str
    stars: float
    ratings: int
    reasons: list[Reason]


class Recommendations(TypedDict):
    """The best videos for a customer, who has rated `rated` others, of which `best_rated` are best.

    `source` says whether the model or popularity chose them, and `note` why.
    """

    customer: str
    rated: int
    best_rated: list[RatedVideo]
    source: Literal["model", "popularity"]
    note: str
    items: list[Recommendation]


class Recommender:
    """Recommends to the customers of a run.

    Parameters
    ----------
    catalogue : Catalogue
    score : callable
        Scores pairs of customer and video: the model's `predict`, or an endpoint.
    attribution : Attribution or None
        None gives no reasons.
    """

    def __init__(self, catalogue: Catalogue, score: Score, attribution: Attribution | None) -> None:
        self.catalogue = catalogue
        self._score = score
        self._attribution = attribution
        self._popular = catalogue.rated.popular()

    @classmethod
    def load(
        cls, objects: Objects, preprocessed: Preprocessed, model: str, folder: Path
    ) -> Recommender:
        """Read a run's model, by its URI, and what it needs; see `Catalogue.read`.

        Raises
        ------
        ObjectsError
            If an object cannot be read.
        EvaluationError
            If the artifact is no model, or of another width than the index tables.
        """
        catalogue = Catalogue.read(objects, preprocessed, folder)
        machine = load_model(objects, model, catalogue.space, folder)
        return cls(catalogue, machine.predict, Attribution.fit(machine.model, catalogue))

    def recommend(self, customer: str, count: int = COUNT) -> Recommendations:
        """Recommend at most `count` videos to a customer, known or not.

        The best first, ties to the video of the smaller index, which has more ratings.
        """
        index = self.catalogue.customer(customer)
        if index is None:
            nothing = RatedBlock(
                np.zeros(2, np.int64), *(np.zeros(0, t) for t in ("i4", "f4", "?"))
            )
            note = "is unknown to this run, or has too few ratings"
            return self._by_popularity(customer, nothing, [], note, count)
        own = self.catalogue.rated.block(index, index + 1)
        best_rated = self.catalogue.best_rated(index, count)
        learned = own.learned()
        if not len(learned.videos):
            note = "has no rating among those that the model learned from"
            return self._by_popularity(customer, own, best_rated, note, count)
        unseen = np.setdiff1d(np.arange(self.catalogue.videos.num_rows), own.videos)
        scores = self._scores(index, unseen)
        order = np.argsort(-scores, kind="stable")[:count]
        chosen = unseen[order]
        return {
            "customer": customer,
            "rated": len(own.videos),
            "best_rated": best_rated,
            "source": "model",
            "note": f"customer {customer} has rated {len(own.videos)}, of which the model learned"
            f" from {len(learned.videos)}",
            "items": self._items(
                chosen, scores[order].tolist(), self._reasons(index, learned, chosen)
            ),
        }

    def example_customer(self, seed: int) -> str:
        """Return the customer whose hash with the seed is the smallest, if the model knows any."""
        rated = self.catalogue.rated
        ids: list[str] = self.catalogue.customers["customer"].to_pylist()
        ranked = sorted(range(len(ids)), key=lambda index: _hash(ids[index], seed))
        known = (i for i in ranked if rated.block(i, i + 1).trained.any())
        return ids[next(known, ranked[0])]

    def _scores(self, customer: int, videos: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score a customer with videos, so many pairs at a time."""
        space = self.catalogue.space
        customers = np.full(len(videos), customer)
        bounds = np.concatenate(([0], np.cumsum(space.lengths(customers, videos))))
        scores = np.zeros(len(videos), np.float32)
        for rows in batches(bounds, _MOST_BYTES):
            scores[rows] = self._score(space.encode(customers[rows], videos[rows]))
        return scores

    def _by_popularity(
        self, customer: str, own: RatedBlock, rated: list[RatedVideo], note: str, count: int
    ) -> Recommendations:
        chosen = most_popular(self._popular, own.videos, count)
        stars = self.catalogue.rated.means[chosen].tolist()
        return {
            "customer": customer,
            "rated": len(own.videos),
            "best_rated": rated,
            "source": "popularity",
            "note": f"customer {customer} {note}: these are the videos with most training ratings",
            "items": self._items(chosen, stars, [[] for _ in stars]),
        }

    def _reasons(
        self, customer: int, learned: RatedBlock, chosen: NDArray[np.int64]
    ) -> list[list[Reason]]:
        if self._attribution is None or not len(chosen):
            return [[] for _ in chosen]
        found = self._attribution.reasons(customer, learned, chosen[None, :], _REASONS)
        return [
            [
                {"video": video, "title": title, "stars": float(learned.stars[place]), "adds": adds}
                for (video, title), place, adds in zip(
                    self.catalogue.titles(learned.videos[places[places >= 0]]),
                    places[places >= 0],
                    contributions.tolist(),
                    strict=False,
                )
            ]
            for places, contributions in zip(found.places[0], found.contributions[0], strict=True)
        ]

    def _items(
        self, chosen: NDArray[np.int64], stars: list[float], reasons: list[list[Reason]]
    ) -> list[Recommendation]:
        counts = self.catalogue.rated.counts[chosen].tolist()
        titles = self.catalogue.titles(chosen)
        return [
            {
                "rank": rank,
                "video": video,
                "title": title,
                "stars": score,
                "ratings": ratings,
                "reasons": because,
            }
            for rank, ((video, title), score, ratings, because) in enumerate(
                zip(titles, stars, counts, reasons, strict=True), start=1
            )
        ]


def load_model(
    objects: Objects, uri: str, space: FeatureSpace, folder: Path
) -> FactorizationMachine:
    """Load a model that fits the run's features.

    Raises
    ------
    EvaluationError
        If it is none, or does not.
    """
    path = folder / "model.tar.gz"
    objects.download(uri, path)
    try:
        machine = FactorizationMachine.load(path)
    except ArtifactError as error:
        raise EvaluationError(f"{uri} cannot be used: {error}") from error
    finally:
        path.unlink()
    if len(machine.linear_) != space.width:
        customers, videos, *_ = space.field_dims
        raise EvaluationError(
            f"{uri} has {len(machine.linear_)} features, but there are {customers} customers and"
            f" {videos} videos, in all {space.width} features"
        )
    return machine


def most_popular(
    popular: NDArray[np.int64], seen: NDArray[np.int32], count: int
) -> NDArray[np.int64]:
    """Return the first of the popular that are not seen."""
    # Of so many, at least `count` are not among those seen.
    first = popular[: count + len(seen)]
    return first[~np.isin(first, seen)][:count]


def _hash(customer: str, seed: int) -> bytes:
    return hashlib.md5(f"{customer}|{seed}".encode(), usedforsecurity=False).digest()
