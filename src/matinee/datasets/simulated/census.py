"""What is true of a population, counted from its law and not from its text.

The counts are those that the workflow's preprocess step must find: malformed rows by cause, and
what each of its filters leaves. With them goes the smallest error that any prediction can have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from matinee.datasets.simulated.ordering import in_order
from matinee.datasets.simulated.population import Kind, Population, expected_stars
from matinee.workflow.malformed import (
    BLANK_CUSTOMER,
    BLANK_VIDEO,
    STARS_NOT_A_NUMBER,
    STARS_OUT_OF_RANGE,
    WRONG_FIELD_COUNT,
)

BLOCK_ROWS: Final = 2**18

CAUSES: Final = {
    Kind.EXTRA_FIELD: WRONG_FIELD_COUNT,
    Kind.MISSING_FIELDS: WRONG_FIELD_COUNT,
    Kind.BLANK_CUSTOMER: BLANK_CUSTOMER,
    Kind.BLANK_VIDEO: BLANK_VIDEO,
    Kind.BLANK_STARS: STARS_NOT_A_NUMBER,
    Kind.STARS_IN_WORDS: STARS_NOT_A_NUMBER,
    Kind.STARS_OUT_OF_RANGE: STARS_OUT_OF_RANGE,
}
"""What the workflow calls each kind of malformed row."""


def take(
    population: Population,
    least_of_customer: int,
    least_of_video: int,
    threads: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Count a population.

    Parameters
    ----------
    population : Population
    least_of_customer, least_of_video : int
        The filters: customers, and videos, with fewer usable rows are left out.
    threads : int
        Blocks of customers to count at a time.
    progress : callable
        Told after each block how many rows it had.

    Returns
    -------
    dict
        A JSON document: `rows`, `malformed` (total and by cause), `duplicates` (planted, and all
        usable rows of a customer and video but one), `funnel` (what each filter leaves), `stars`
        (mean and variance of what the filters keep, duplicates among it; null if they keep
        nothing) and `attainable` (the root mean squared error and mean squared error of the
        expected stars on the same, or null).
    """
    with ThreadPoolExecutor(threads) as pool:
        census = _Census(population, least_of_customer, least_of_video)
        blocks = _ranges(population.sound)
        for videos in in_order(pool, threads, population.videos_at, blocks):
            census.count_videos(videos)
        sums = _Sums()
        for found in in_order(pool, threads, census.count, _customer_ranges(population)):
            sums.add(found)
            progress(found.rows)
    return census.document(sums)


@dataclass(slots=True)
class _Sums:
    """What is added up over blocks of customers."""

    rows: int = 0
    distinct: int = 0
    active: int = 0
    active_customers: int = 0
    kept: int = 0
    kept_customers: int = 0
    kept_distinct: int = 0
    stars: int = 0
    squared_stars: int = 0
    squared_errors: float = 0.0

    def add(self, other: _Sums) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class _Census:
    def __init__(self, population: Population, least_of_customer: int, least_of_video: int) -> None:
        self._population = population
        self._least_of_customer = least_of_customer
        self._least_of_video = least_of_video
        self._counts = np.zeros(population.videos.count, np.int64)
        copies = population.drawn(population.sound + np.arange(population.planted))
        by_customer = np.argsort(copies.customers, kind="stable")
        self._copies = copies.numbers[by_customer]
        self._copying = copies.customers[by_customer]
        self.count_videos(copies.videos)
        self._active_videos = np.zeros(population.videos.count, bool)
        self._kept_videos = np.zeros(population.videos.count, bool)

    def count_videos(self, videos: NDArray[np.int64]) -> None:
        """Add the videos of some rows; all of them have to be known before `count`."""
        np.add.at(self._counts, videos, 1)

    def count(self, customers: tuple[int, int]) -> _Sums:
        """Count all usable rows of some customers."""
        first, stop = customers
        places = [self._population.customers.first_place(customer) for customer in customers]
        copies = self._copies[slice(*np.searchsorted(self._copying, customers))]
        rows = self._population.drawn(np.concatenate([np.arange(*places), copies]))
        customer = rows.customers - first
        degrees = np.bincount(customer, minlength=stop - first)
        active = degrees[customer] >= self._least_of_customer
        kept = active & (self._counts[rows.videos] >= self._least_of_video)
        # Several threads set these, but never to anything else.
        self._active_videos[rows.videos[active]] = True
        self._kept_videos[rows.videos[kept]] = True
        # All rows of a customer and video are kept, or none.
        pairs = np.sort(2 * (customer * self._population.videos.count + rows.videos) + kept)
        distinct = pairs[np.flatnonzero(np.diff(pairs, prepend=-1))]
        stars = rows.stars[kept]
        errors = stars - expected_stars(rows.scores[kept])
        return _Sums(
            rows=len(customer),
            distinct=len(distinct),
            active=int(active.sum()),
            active_customers=int((degrees >= self._least_of_customer).sum()),
            kept=len(stars),
            kept_customers=int((np.bincount(customer[kept]) > 0).sum()),
            kept_distinct=int((distinct % 2).sum()),
            stars=int(stars.sum()),
            squared_stars=int((stars**2).sum()),
            squared_errors=float(errors @ errors),
        )

    def document(self, sums: _Sums) -> dict[str, Any]:
        """Write down what was counted."""
        population = self._population
        causes: Counter[str] = Counter()
        for kind, rows in population.malformed.items():
            causes[CAUSES[kind]] += rows
        kept_videos = int(self._kept_videos.sum())
        steps = [
            ("usable rows", sums.rows, population.customers.count, np.sum(self._counts > 0)),
            (
                f"customers with {self._least_of_customer} or more",
                sums.active,
                sums.active_customers,
                np.sum(self._active_videos),
            ),
            (
                f"videos with {self._least_of_video} or more",
                sums.kept,
                sums.kept_customers,
                kept_videos,
            ),
            (
                "latest of each customer and video",
                sums.kept_distinct,
                sums.kept_customers,
                kept_videos,
            ),
        ]
        stars = attainable = None
        if sums.kept:
            mean = sums.stars / sums.kept
            error = sums.squared_errors / sums.kept
            stars = {"mean": mean, "variance": sums.squared_stars / sums.kept - mean**2}
            attainable = {"rmse": error**0.5, "mse": error}
        return {
            "rows": population.rows,
            "malformed": {"total": causes.total(), "causes": dict(sorted(causes.items()))},
            "duplicates": {"planted": population.planted, "all": sums.rows - sums.distinct},
            "funnel": [
                {
                    "step": step,
                    "ratings": ratings,
                    "customers": customers,
                    "videos": int(videos),
                }
                for step, ratings, customers, videos in steps
            ],
            "stars": stars,
            "attainable": attainable,
        }


def _ranges(stop: int) -> Iterator[tuple[int, int]]:
    for first in range(0, stop, BLOCK_ROWS):
        yield first, min(first + BLOCK_ROWS, stop)


def _customer_ranges(population: Population) -> Iterator[tuple[int, int]]:
    """Yield first customers and those after the last, with about `BLOCK_ROWS` rows between."""
    places = np.arange(0, population.sound, BLOCK_ROWS)
    firsts = [*np.unique(population.customers.owners(places)).tolist(), population.customers.count]
    yield from pairwise(firsts)
