"""The benchmarks' ratings: one shape drawn at random, one real, as arrays in a folder.

``reference_shape`` has the published size of SageMaker's example notebook: 1,028,559 ratings for
training, 140,344 customers and 38,385 videos, long-tailed, in random order. The same seed gives the
same bytes. MovieLens-100K is fetched as ``matinee data movielens-100k`` does, never stored here.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matinee.datasets import movielens

CUSTOMERS, VIDEOS = 140_344, 38_385
TRAIN_RATINGS, TEST_RATINGS = 1_028_559, 342_853

MOVIELENS_USERS, MOVIELENS_MOVIES = 943, 1_682


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings in some order.

    Attributes
    ----------
    pairs
        int32 (n, 2): customer and video, each counted from 0.
    stars
        float32 (n,).
    customers, videos
        How many there are.
    """

    pairs: NDArray[np.int32]
    stars: NDArray[np.float32]
    customers: int
    videos: int

    def take(self, rows: NDArray[np.int64]) -> "Ratings":
        """Return some rows in the order given."""
        return Ratings(self.pairs[rows], self.stars[rows], self.customers, self.videos)

    def keys(self) -> NDArray[np.int32]:
        """Return the two one-hot features of each rating, int32 (n, 2): customers come first."""
        return self.pairs + np.array([0, self.customers], dtype=np.int32)


def reference_shape(seed: int) -> tuple[Ratings, Ratings]:
    """Draw the training and the test ratings of the reference shape.

    Ratings are rounded from biases, a product of four factors and noise, so that there is something
    to learn. Every customer has 5 ratings or more (median 6, most 2,600), every video 10 or more
    (median 16, most 15,000), training and test together; a few pairs repeat.
    """
    rng = np.random.default_rng(seed)
    total = TRAIN_RATINGS + TEST_RATINGS
    customers = np.repeat(
        np.arange(CUSTOMERS, dtype=np.int32),
        _long_tail(CUSTOMERS, total, least=5, most=2_600, shape=1.7),
    )
    videos = np.repeat(
        np.arange(VIDEOS, dtype=np.int32),
        _long_tail(VIDEOS, total, least=10, most=15_000, shape=1.36),
    )
    # Ids say nothing about popularity, and the order says nothing about either.
    pairs = np.stack(
        [
            rng.permutation(CUSTOMERS).astype(np.int32)[rng.permutation(customers)],
            rng.permutation(VIDEOS).astype(np.int32)[rng.permutation(videos)],
        ],
        axis=1,
    )
    ratings = Ratings(pairs, _stars(pairs, rng), CUSTOMERS, VIDEOS)
    rows = np.arange(total)
    return ratings.take(rows[:TRAIN_RATINGS]), ratings.take(rows[TRAIN_RATINGS:])


def read_movielens(home: Path) -> Ratings:
    """Return MovieLens-100K in the order of GroupLens's ``u.data``."""
    content = movielens.load(home / "cache", report=print).ratings
    table = np.loadtxt(io.BytesIO(content), dtype=np.int32, delimiter="\t", usecols=(0, 1, 2))
    return Ratings(
        table[:, :2] - 1, table[:, 2].astype(np.float32), MOVIELENS_USERS, MOVIELENS_MOVIES
    )


def random_splits(ratings: Ratings, count: int) -> Iterator[tuple[Ratings, Ratings]]:
    """Yield ``count`` random splits into 90 % for training and 10 % for the test."""
    for seed in range(count):
        order = np.random.default_rng(seed).permutation(len(ratings.stars))
        test, train = np.split(order, [len(order) // 10])
        yield ratings.take(train), ratings.take(test)


def write(folder: Path, train: Ratings, test: Ratings) -> Path:
    """Write a split as .npy files that every worker can map; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", train), ("test", test)):
        np.save(folder / f"{name}_keys.npy", part.keys())
        np.save(folder / f"{name}_stars.npy", part.stars)
    np.save(folder / "widths.npy", np.array([train.customers, train.videos]))
    return folder


def _long_tail(count: int, total: int, *, least: int, most: int, shape: float) -> NDArray[np.int64]:
    """Return ascending degrees that add up to ``total``: quantiles of a Lomax law, cut."""
    # 1 - quantile, ascending quantiles.
    above = 1 - (np.arange(count) + 0.5) / count
    law = above ** (-1 / shape) - 1

    def degrees(scale: float) -> NDArray[np.int64]:
        return np.minimum(least + scale * law, most).astype(np.int64)

    low, high = 0.0, float(most)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if degrees(middle).sum() < total else (low, middle)
    found = degrees(low)
    # What is missing is less than one for each: the last of those below the most take it.
    below = np.flatnonzero(found < most)
    missing = total - int(found.sum())
    found[below[len(below) - missing :]] += 1
    return found


def _stars(pairs: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.float32]:
    rank = 4
    score = np.full(len(pairs), 3.9, dtype=np.float32)
    product = np.ones((len(pairs), rank), dtype=np.float32)
    for side, count in enumerate((CUSTOMERS, VIDEOS)):
        biases = rng.standard_normal(count, dtype=np.float32)
        factors = rng.standard_normal((count, rank), dtype=np.float32)
        score += np.float32(0.4) * biases[pairs[:, side]]
        product *= factors[pairs[:, side]]
    score += np.float32(0.2) * product.sum(axis=1)
    score += np.float32(0.7) * rng.standard_normal(len(pairs), dtype=np.float32)
    return np.clip(np.rint(score), 1, 5)
