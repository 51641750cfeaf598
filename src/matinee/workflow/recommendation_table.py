"""The best videos of every customer as rows of a table, a block of customers at a time.

Refuses nothing: what it is given fits together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from matinee.fm import FactorizationMachine
from matinee.workflow.attribution import Attribution
from matinee.workflow.catalogue import Catalogue
from matinee.workflow.recommender import most_popular

# Customers that are ranked at a time.
_BLOCK = 4096

RECOMMENDATIONS = pa.schema(
    [
        ("customer", pa.string()),
        ("rank", pa.int32()),
        ("video", pa.string()),
        ("title", pa.string()),
        ("stars", pa.float32()),
        ("source", pa.string()),
        ("reason_video", pa.string()),
        ("reason_title", pa.string()),
        ("reason_stars", pa.float32()),
        ("reason_adds", pa.float32()),
    ]
)


class RecommendationTable:
    """The rows of all customers, and how many there were.

    Parameters
    ----------
    catalogue : Catalogue
    machine : FactorizationMachine
    attribution : Attribution
    count : int
        Most videos of a customer.

    Attributes
    ----------
    rows, by_popularity
        Rows so far, and customers that were served by popularity.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        machine: FactorizationMachine,
        attribution: Attribution,
        count: int,
    ) -> None:
        self._catalogue = catalogue
        self._machine = machine
        self._attribution = attribution
        self._count = count
        self._popular = catalogue.rated.popular()
        self._videos = catalogue.space.encode(videos=np.arange(catalogue.videos.num_rows))
        self.rows = 0
        self.by_popularity = 0

    def blocks(self, progress: Callable[[int, int], None]) -> Iterator[pa.Table]:
        """Yield the rows, customers in the order of their index, of `RECOMMENDATIONS`.

        Parameters
        ----------
        progress : callable
            Called with how many customers are done, and how many there are.
        """
        total = self._catalogue.customers.num_rows
        for begin in range(0, total, _BLOCK):
            end = min(begin + _BLOCK, total)
            table = self._block(begin, end)
            self.rows += table.num_rows
            yield table
            progress(end, total)

    def _block(self, begin: int, end: int) -> pa.Table:
        catalogue = self._catalogue
        own = catalogue.rated.block(begin, end)
        learned = own.learned()
        seen = csr_matrix(
            (np.ones(len(own.videos), np.float32), own.videos, own.bounds),
            (end - begin, catalogue.videos.num_rows),
        )
        ranking = self._machine.top(
            catalogue.space.encode(np.arange(begin, end)),
            self._videos,
            self._count,
            exclude=seen,
        )
        chosen, stars = ranking.candidates, ranking.scores
        unknown = np.diff(learned.bounds) == 0
        for row in np.flatnonzero(unknown):
            rated = own.videos[own.bounds[row] : own.bounds[row + 1]]
            popular = most_popular(self._popular, rated, self._count)
            chosen[row] = -1
            chosen[row, : len(popular)] = popular
            stars[row, : len(popular)] = catalogue.rated.means[popular]
        self.by_popularity += int(unknown.sum())
        reasons = self._attribution.reasons(begin, learned, chosen, 1)
        rows, places = np.nonzero(chosen >= 0)
        because = reasons.places[rows, places, 0]
        without = because < 0
        video = pa.array(chosen[rows, places])
        rating = pa.array(because, mask=without)
        rated_video = pa.array(learned.videos).take(rating)
        ids, titles = catalogue.videos["video"], catalogue.videos["title"]
        sources = pa.array(["model", "popularity"])
        columns = [
            catalogue.customers["customer"].take(pa.array(begin + rows)),
            pa.array(places + 1),
            ids.take(video),
            titles.take(video),
            pa.array(stars[rows, places]),
            sources.take(pa.array(unknown[rows].astype(np.int8))),
            ids.take(rated_video),
            titles.take(rated_video),
            pa.array(learned.stars).take(rating),
            pa.array(reasons.contributions[rows, places, 0], mask=without),
        ]
        return pa.table(columns, names=RECOMMENDATIONS.names)
