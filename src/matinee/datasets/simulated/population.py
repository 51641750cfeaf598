"""Who rates what, and how well they like it: the law of the simulated ratings, a row at a time.

Customers and videos have long-tailed numbers of ratings, as the published Amazon reviews of digital
videos: see `Population`. The stars come from a customer's and a video's bias, a product of few
factors and noise, rounded; so the best possible prediction of each, its expectation, is known.
Nothing is kept but the two tables of how many customers and videos have how many ratings, whatever
the scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from matinee.datasets.simulated.hashing import Integers, Permutation, mixed, normal

CUSTOMERS: Final = 2_080_000
VIDEOS: Final = 165_000
PLANTED_DUPLICATES: Final = 4_000
"""At scale 1, like the malformed rows of each kind below."""


class Kind(IntEnum):
    """What a row is: sound, a rating given again, or malformed in one way."""

    SOUND = 0
    DUPLICATE = 1
    EXTRA_FIELD = 2
    MISSING_FIELDS = 3
    BLANK_CUSTOMER = 4
    BLANK_VIDEO = 5
    BLANK_STARS = 6
    STARS_IN_WORDS = 7
    STARS_OUT_OF_RANGE = 8


MALFORMED: Final = {
    Kind.EXTRA_FIELD: 145,
    Kind.MISSING_FIELDS: 94,
    Kind.BLANK_CUSTOMER: 108,
    Kind.BLANK_VIDEO: 105,
    Kind.BLANK_STARS: 110,
    Kind.STARS_IN_WORDS: 120,
    Kind.STARS_OUT_OF_RANGE: 129,
}


class Law(NamedTuple):
    """How many ratings customers, or videos, have.

    Attributes
    ----------
    shares
        Of them all, those with at least 2, 3, ... ratings.
    scale, exponent
        From there on the shares fall as a Lomax law.
    most
        No one has more.
    """

    shares: tuple[float, ...]
    scale: float
    exponent: float
    most: int


# Fitted to the published counts before and after the filters (docs/scale.md has both beside each
# other): of the customers 6.75 % have 5 ratings or more, of the videos 25.3 % have 9 or more.
CUSTOMER_LAW: Final = Law((0.138, 0.094, 0.0775, 0.0675), 8.0, 1.88, 2_600)
VIDEO_LAW: Final = Law(
    (0.63, 0.55, 0.49, 0.435, 0.385, 0.34, 0.30, 0.253, 0.2327), 120.0, 2.3928, 15_000
)

# What the stars are rounded from: a mean, and the standard deviations of what is added to it. So
# the stars vary as the published ones do (1.44), and there is more to learn than biases.
MEAN_SCORE: Final = 4.3
CUSTOMER_BIAS: Final = 0.25
VIDEO_BIAS: Final = 0.8
FACTOR_PRODUCTS: Final = (0.8, 0.3)
NOISE: Final = 1.23


class Crowd:
    """Customers or videos in the order of their numbers of ratings; each has a run of places.

    Parameters
    ----------
    count : int
        How many there are.
    law : Law
        Of their ratings.
    """

    def __init__(self, count: int, law: Law) -> None:
        degrees = np.arange(1, law.most + 1)
        shares = np.concatenate([[1.0], law.shares])
        beyond = degrees[len(shares) :] - len(shares)
        tail = shares[-1] * (1 + beyond / law.scale) ** -law.exponent
        at_least = np.rint(count * np.concatenate([shares, tail])).astype(np.int64)
        members = at_least - np.append(at_least[1:], 0)
        self.count = count
        self._degrees = degrees[members > 0]
        members = members[members > 0]
        self._first_members = np.cumsum(members) - members
        ends = np.cumsum(members * self._degrees)
        self._first_places = ends - members * self._degrees
        self.places = int(ends[-1])

    def owners(self, places: Integers) -> NDArray[np.int64]:
        """Return who has each of the places, counted from 0."""
        group = np.searchsorted(self._first_places, places, side="right") - 1
        owners: NDArray[np.int64] = places - self._first_places[group]
        owners //= self._degrees[group]
        owners += self._first_members[group]
        return owners

    def first_place(self, owner: int) -> int:
        """Return the first place of one of them, or how many there are for the one after all."""
        group = int(np.searchsorted(self._first_members, owner, side="right")) - 1
        steps = owner - int(self._first_members[group])
        return int(self._first_places[group]) + steps * int(self._degrees[group])


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of the reviews, before they are text; each array of shape (n,).

    Attributes
    ----------
    numbers
        int64, of the rows before they were shuffled: no two have the same.
    kinds
        uint8, of `Kind`.
    customers, videos
        int64, counted from 0, those with the fewest ratings first.
    scores
        float32, what the stars are rounded from, but for the noise.
    stars
        int64, 1 to 5.
    """

    numbers: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    customers: NDArray[np.int64]
    videos: NDArray[np.int64]
    scores: NDArray[np.float32]
    stars: NDArray[np.int64]


class Population:
    """All simulated reviews at a scale.

    Parameters
    ----------
    scale : float
        1 has the size of the published example's data; above 0.
    seed : int
        Of everything.

    Attributes
    ----------
    rows : int
        How many reviews there are, malformed ones and duplicates among them.
    """

    def __init__(self, scale: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.customers = Crowd(max(1, round(CUSTOMERS * scale)), CUSTOMER_LAW)
        self.videos = Crowd(max(1, round(VIDEOS * scale)), VIDEO_LAW)
        self.sound = self.customers.places
        self.planted = max(1, round(PLANTED_DUPLICATES * scale))
        self.malformed = {kind: max(1, round(count * scale)) for kind, count in MALFORMED.items()}
        self._kind_starts = self.sound + np.cumsum([0, self.planted, *self.malformed.values()])
        self.rows = int(self._kind_starts[-1])
        self._order = Permutation(self.rows, rng)
        self._copied = Permutation(self.sound, rng)
        self._shown = Permutation(max(self.sound, self.videos.places), rng)
        self.customer_names = Permutation(self.customers.count, rng)
        self.video_names = Permutation(self.videos.count, rng)
        self._customer_key, self._video_key, self._noise_key, self.text_key = (
            int(key) for key in rng.integers(0, 2**63, 4)
        )

    def at(self, first: int, stop: int) -> Rows:
        """Return the rows from `first` to before `stop`, in the order of the reviews."""
        return self.drawn(self._order(np.arange(first, stop)))

    def drawn(self, numbers: NDArray[np.int64]) -> Rows:
        """Return rows by their numbers before they were shuffled.

        The sound ones come first, from 0, those of a customer together; then the others by `Kind`.
        Each of those is made of a sound one.
        """
        kinds = np.zeros(len(numbers), np.uint8)
        places = numbers.copy()
        others = np.flatnonzero(numbers >= self.sound)
        places[others] = self._copied(numbers[others] - self.sound)
        kinds[others] = np.searchsorted(self._kind_starts, numbers[others], side="right")
        customers = self.customers.owners(places)
        videos = self._videos(places)
        scores = self.scores(customers, videos)
        stars = rounded(scores, normal(mixed(numbers, self._noise_key), 0))
        return Rows(numbers, kinds, customers, videos, scores, stars)

    def videos_at(self, numbers: tuple[int, int]) -> NDArray[np.int64]:
        """Return the videos of the sound rows from a number to before another."""
        return self._videos(np.arange(*numbers))

    def _videos(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.videos.owners(self._shown(places) % self.videos.places)

    def scores(
        self, customers: NDArray[np.int64], videos: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return how well customers like videos, pair by pair: what stars are rounded from."""
        of_customers = mixed(customers, self._customer_key)
        of_videos = mixed(videos, self._video_key)
        scores = np.float32(MEAN_SCORE) + np.float32(CUSTOMER_BIAS) * normal(of_customers, 0)
        scores += np.float32(VIDEO_BIAS) * normal(of_videos, 0)
        for factor, size in enumerate(FACTOR_PRODUCTS, start=1):
            scores += np.float32(size) * normal(of_customers, factor) * normal(of_videos, factor)
        return scores


def rounded(scores: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return stars, 1 to 5.

    Parameters
    ----------
    scores, noise : ndarray, shape (n,)
        The noise is standard normal.
    """
    return np.clip(np.rint(scores + np.float32(NOISE) * noise), 1, 5).astype(np.int64)


def expected_stars(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean of the stars that are rounded from such scores and their noise.

    No prediction has a smaller expected squared error.
    """
    expected = np.ones(len(scores))
    for threshold in (1.5, 2.5, 3.5, 4.5):
        expected += ndtr((scores - threshold) / NOISE)
    return expected
