"""Customers and videos of a run by their ids, with what was rated: all but the model.

Refuses index tables that are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from matinee.workflow import tables
from matinee.workflow.errors import ObjectsError
from matinee.workflow.features import FeatureSpace, open_space
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.rated import RatedVideos


class RatedVideo(TypedDict):
    """A video and the stars that a customer gave it."""

    video: str
    title: str
    stars: float


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The index tables and ratings of a run.

    Attributes
    ----------
    customers, videos
        As `preprocess` wrote them, row i being index i; a video without title has its id as title.
    rated
        What each customer rated.
    space
        How customers and videos are encoded.
    """

    customers: pa.Table
    videos: pa.Table
    rated: RatedVideos
    space: FeatureSpace

    @classmethod
    def read(cls, objects: Objects, preprocessed: Preprocessed, folder: Path) -> Catalogue:
        """Read a run's tables and ratings.

        Parameters
        ----------
        objects : Objects
        preprocessed : Preprocessed
        folder : Path
            For the ratings by customer; it must stay as long as the result is used.

        Raises
        ------
        ObjectsError
            If an object cannot be read, or they do not fit each other.
        """
        customers = _table(objects, preprocessed["customers"], tables.CUSTOMERS, folder)
        videos = _table(objects, preprocessed["videos"], tables.VIDEOS, folder)
        titles = videos["title"]
        blank = pc.equal(pc.fill_null(titles, ""), "")
        place = videos.schema.get_field_index("title")
        videos = videos.set_column(place, "title", pc.if_else(blank, videos["video"], titles))
        counts = customers["ratings"].to_numpy()
        rated = RatedVideos.read(objects, preprocessed["ratings"], counts, videos.num_rows, folder)
        # Its sets are mapped, and stay so when the folder they lay in is gone.
        with open_space(preprocessed, objects) as space:
            return cls(customers, videos, rated, space)

    def customer(self, customer: str) -> int | None:
        """Return the index of a customer id; None if there is no such customer."""
        index = int(pc.index(self.customers["customer"], customer).as_py())
        return None if index < 0 else index

    def customer_id(self, index: int) -> str:
        """Return the id of a customer."""
        return cast(str, self.customers["customer"][index].as_py())

    def customers_like(self, prefix: str, most: int) -> list[str]:
        """Return ids that begin so, those with most ratings first."""
        found = pc.indices_nonzero(pc.starts_with(self.customers["customer"], prefix))
        return cast("list[str]", self.customers["customer"].take(found[:most]).to_pylist())

    def titles(self, videos: NDArray[np.integer[Any]]) -> list[tuple[str, str]]:
        """Return id and title of videos."""
        chosen = pa.array(videos)
        ids, titles = self.videos["video"].take(chosen), self.videos["title"].take(chosen)
        return list(zip(ids.to_pylist(), titles.to_pylist(), strict=True))

    def best_rated(self, customer: int, most: int) -> list[RatedVideo]:
        """Return a customer's own ratings: the most stars first, ties to the more popular video."""
        own = self.rated.block(customer, customer + 1)
        order = np.lexsort((own.videos, -own.stars))[:most]
        titles = self.titles(own.videos[order])
        return [
            {"video": video, "title": title, "stars": stars}
            for (video, title), stars in zip(titles, own.stars[order].tolist(), strict=True)
        ]


def _table(objects: Objects, uri: str, schema: pa.Schema, folder: Path) -> pa.Table:
    path = folder / "index.parquet"
    objects.download(uri, path)
    try:
        table = pq.read_table(path, columns=schema.names)
    except (pa.ArrowException, OSError) as error:
        raise ObjectsError(f"cannot read {uri}: {error}") from error
    finally:
        path.unlink()
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise ObjectsError(f"{uri} has the columns {table.schema.names}, not {schema.names}")
    return table.combine_chunks()
