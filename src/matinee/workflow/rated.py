"""What every customer rated, in all splits, in a file ordered by customer.

The splits are ordered by a hash, so a customer's ratings lie anywhere in them. One pass over the
parts puts each where the customers' counts say, so that memory holds one part and a few numbers a
customer, however many ratings there are. Refuses parts that do not fit the index tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Part
from matinee.workflow.prepare import Ratings, read_ratings

# The split that models learn from.
_TRAIN = "train"


class RatedBlock(NamedTuple):
    """Ratings of consecutive customers, one customer after the other.

    Customer i of the block has `videos[bounds[i] : bounds[i + 1]]`, and so on.
    """

    bounds: NDArray[np.int64]
    videos: NDArray[np.int32]
    stars: NDArray[np.float32]
    trained: NDArray[np.bool_]

    def learned(self) -> RatedBlock:
        """Return those ratings alone that the model learned from."""
        before = np.concatenate(([0], np.cumsum(self.trained)))
        kept = self.trained
        return RatedBlock(before[self.bounds], self.videos[kept], self.stars[kept], kept[kept])


@dataclass(frozen=True, slots=True, eq=False)
class RatedVideos:
    """All ratings by customer, and how popular each video is.

    Attributes
    ----------
    starts
        int64 (customers + 1,): where each customer's ratings begin.
    counts, means
        int64 and float64 (videos,): training ratings of each video, and their mean stars (NaN
        without any).
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    _videos: NDArray[np.int32]
    _stars: NDArray[np.float32]
    _trained: NDArray[np.bool_]

    @classmethod
    def read(
        cls,
        objects: Objects,
        ratings: Mapping[str, Sequence[Part]],
        customer_counts: NDArray[np.integer[Any]],
        video_count: int,
        folder: Path,
    ) -> RatedVideos:
        """Read the parts of all splits.

        Parameters
        ----------
        objects : Objects
        ratings : mapping
            Parts by split, as `preprocess` returned them.
        customer_counts : ndarray, shape (customers,)
            How many ratings each customer has in all splits.
        video_count : int
        folder : Path
            Where the file is made, which is mapped as long as the result is used.

        Raises
        ------
        ObjectsError
            If a part cannot be read, or the ratings are not those that the tables count.
        """
        starts = np.concatenate(([0], np.cumsum(customer_counts, dtype=np.int64)))
        total = int(starts[-1])
        videos = np.memmap(folder / "videos", np.int32, "w+", shape=total)
        stars = np.memmap(folder / "stars", np.float32, "w+", shape=total)
        trained = np.memmap(folder / "trained", np.bool_, "w+", shape=total)
        counts = np.zeros(video_count, np.int64)
        sums = np.zeros(video_count)
        filled = starts[:-1].copy()
        path = folder / "part.parquet"
        for split, parts in ratings.items():
            for part in parts:
                objects.download(part["uri"], path)
                rated = read_ratings(path, part["uri"])
                _check(rated, part["uri"], len(filled), video_count)
                order = np.argsort(rated.customer, kind="stable")
                places = _places(rated.customer[order], filled)
                if (places >= starts[rated.customer[order] + 1]).any():
                    raise ObjectsError(
                        f"{part['uri']} has more ratings of a customer than the table of customers"
                        " counts"
                    )
                videos[places] = rated.video[order]
                stars[places] = rated.stars[order]
                trained[places] = split == _TRAIN
                if split == _TRAIN:
                    counts += np.bincount(rated.video, minlength=video_count)
                    sums += np.bincount(rated.video, rated.stars, minlength=video_count)
        path.unlink(missing_ok=True)
        if (filled != starts[1:]).any():
            raise ObjectsError(
                f"the parts hold {int((filled - starts[:-1]).sum())} ratings, but the table of"
                f" customers counts {total}"
            )
        with np.errstate(invalid="ignore"):
            means = sums / counts
        return cls(starts, counts, means, videos, stars, trained)

    def block(self, begin: int, end: int) -> RatedBlock:
        """Return the ratings of customers `begin` to `end` - 1, read into memory."""
        first, last = int(self.starts[begin]), int(self.starts[end])
        return RatedBlock(
            self.starts[begin : end + 1] - first,
            np.array(self._videos[first:last]),
            np.array(self._stars[first:last]),
            np.array(self._trained[first:last]),
        )

    def popular(self) -> NDArray[np.int64]:
        """Return the videos with training ratings, those with most first, ties by index."""
        order = np.argsort(-self.counts, kind="stable")
        return order[: np.count_nonzero(self.counts)]


def _places(customers: NDArray[np.int32], filled: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the next free places of ascending customers, and count them as filled."""
    firsts = np.flatnonzero(np.concatenate(([True], customers[1:] != customers[:-1])))
    lengths = np.diff(np.append(firsts, len(customers)))
    within = np.arange(len(customers)) - np.repeat(firsts, lengths)
    places = filled[customers] + within
    filled[customers[firsts]] += lengths
    return places


def _check(rated: Ratings, uri: str, customer_count: int, video_count: int) -> None:
    for name, indexes, count in (
        ("customer", rated.customer, customer_count),
        ("video", rated.video, video_count),
    ):
        wrong = indexes[(indexes < 0) | (indexes >= count)]
        if len(wrong):
            raise ObjectsError(
                f"{uri} has a rating of {name} {wrong[0]}, but there are only 0 to {count - 1}"
            )
