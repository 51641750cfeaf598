"""The tables of a run's feature space: histories, vocabularies and the sets of all customers and
videos, made from the splits' parts one at a time.

Histories and vocabularies come from training ratings alone; a history holds all training ratings of
its customer, the one that is being learned from included, as SVD++ has it: it says that the video
was rated, which a record says anyway, and never how. What is said of a customer or a video
(`video:genre`) is its most frequent text over all splits, as its title is. Refuses features that no
training rating has, and columns of more distinct texts than a category has.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from matinee.workflow.errors import RatingsError
from matinee.workflow.features import (
    HISTORY,
    PERIODS,
    RATERS,
    Block,
    Integers,
    coded_texts,
    coded_times,
    pair_blocks,
    places_of,
    sets_of,
    values_of,
)
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed

logger = logging.getLogger(__name__)

# Distinct texts of a column: more are no category, and would have to be held in memory.
MOST_TEXTS = 1_000_000
# Members of sets that are sorted at a time.
_SORTED_AT_A_TIME = 2**22

VOCABULARY = pa.schema([("index", pa.int32()), ("value", pa.string()), ("ratings", pa.int64())])
_TEXTS = pa.schema([("entity", pa.int32()), ("text", pa.string()), ("ratings", pa.int64())])
Entity = Literal["customer", "video"]


def write_features(
    features: Sequence[str],
    preprocessed: Preprocessed,
    folder: str,
    objects: Objects,
    scratch: Path,
) -> None:
    """Make and write the feature space of a run: `features.json`, and the tables it names.

    Parameters
    ----------
    features : sequence of str
        The run parameter.
    preprocessed : Preprocessed
        The splits that are written.
    folder : str
        URI to write to, without a last slash.
    objects : Objects
    scratch : Path
        Folder for one part, and one table, at a time.

    Raises
    ------
    RatingsError
        If no training rating has a value of a feature, or a column has too many distinct texts.
    """
    tables = _Tables(preprocessed, folder, objects, scratch)
    blocks = pair_blocks(preprocessed["customer_count"], preprocessed["video_count"])
    for number, name in enumerate(features, start=len(blocks)):
        block = tables.block(name, number)
        block["offset"] = blocks[-1]["offset"] + blocks[-1]["width"]
        blocks.append(block)
        logger.info("feature %s: %d columns", name, block["width"])
    objects.write_json({"blocks": blocks}, f"{folder}/features.json")


class _Tables:
    """The parts of a run, and what is made of them."""

    def __init__(
        self, preprocessed: Preprocessed, folder: str, objects: Objects, scratch: Path
    ) -> None:
        self._ratings = preprocessed["ratings"]
        self._counts: dict[Entity, int] = {
            "customer": preprocessed["customer_count"],
            "video": preprocessed["video_count"],
        }
        self._folder = folder
        self._objects = objects
        self._scratch = scratch

    def block(self, name: str, number: int) -> Block:
        """Write the tables of a feature; its offset is the caller's."""
        if name == HISTORY:
            return self._rated(name, number, "customer", "video")
        if name == RATERS:
            return self._rated(name, number, "video", "customer")
        of, _, column = name.partition(":")
        if of in ("customer", "video"):
            return self._attribute(
                name, number, "customer" if of == "customer" else "video", column
            )
        ratings: Counter[str] = Counter()
        for part in self._parts(["train"], ["time" if name in PERIODS else column]):
            if name in PERIODS:
                texts, codes = coded_times(part["time"].fill_null(np.nan).to_numpy(), name)
            else:
                texts, codes = coded_texts(part[column])
            counts = np.bincount(codes, minlength=len(texts)).tolist()
            ratings.update(dict(zip(texts, counts, strict=True)))
            _refuse_many(name, len(ratings))
        file, values = self._vocabulary(name, number, ratings)
        return {"name": name, "of": "rating", "offset": 0, "width": len(values), "values": file}

    def _rated(self, name: str, number: int, of: Entity, member: Entity) -> Block:
        """Write who rated what in the training split."""
        counts = np.zeros(self._counts[of], np.int64)
        for part in self._parts(["train"], [of]):
            counts += np.bincount(part[of].to_numpy(), minlength=len(counts))
        bounds = np.concatenate([[0], np.cumsum(counts)])
        path = self._scratch / "members.npy"
        members = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.int32, shape=(int(bounds[-1]),)
        )
        filled = bounds[:-1].copy()
        for part in self._parts(["train"], [of, member]):
            owners, theirs = part[of].to_numpy(), part[member].to_numpy()
            order = np.argsort(owners, kind="stable")
            owners = owners[order]
            own = np.bincount(owners, minlength=len(counts))
            firsts = np.cumsum(own) - own
            members[filled[owners] + np.arange(len(owners)) - firsts[owners]] = theirs[order]
            filled += own
        _sort_sets(bounds, members)
        members.flush()
        width = self._counts[member]
        block: Block = {"name": name, "of": of, "offset": 0, "width": width}
        block["bounds"], block["members"] = self._write_sets(number, bounds, path)
        return block

    def _attribute(self, name: str, number: int, of: Entity, column: str) -> Block:
        """Write what is said of each customer, or of each video."""
        texts, codes = self._most_frequent(name, of, column)
        rated = np.zeros(self._counts[of], np.int64)
        for part in self._parts(["train"], [of]):
            rated += np.bincount(part[of].to_numpy(), minlength=len(rated))
        weights = np.bincount(codes, weights=rated, minlength=len(texts)).astype(np.int64)
        ratings = Counter(dict(zip(texts, weights.tolist(), strict=True)))
        file, values = self._vocabulary(name, number, ratings)
        sets = sets_of(texts, places_of(values)).take(codes)
        path = self._scratch / "members.npy"
        np.save(path, sets.members)
        block: Block = {"name": name, "of": of, "offset": 0, "width": len(values), "values": file}
        block["bounds"], block["members"] = self._write_sets(number, sets.bounds, path)
        return block

    def _most_frequent(
        self, name: str, of: Entity, column: str
    ) -> tuple[list[str], NDArray[np.int64]]:
        """Return distinct texts, the empty one first, and the place of each entity's own."""
        found = _TEXTS.empty_table()
        for part in self._parts([*self._ratings], [of, column]):
            # The user's own name might be one of these.
            given = part.rename_columns(_TEXTS.names[:2])
            given = given.filter(pc.not_equal(given["text"], ""))
            counted = given.group_by(["entity", "text"]).aggregate([([], "count_all")])
            together = pa.concat_tables([found, counted.rename_columns(_TEXTS.names)])
            summed = together.group_by(["entity", "text"]).aggregate([("ratings", "sum")])
            found = summed.rename_columns(_TEXTS.names)
            _refuse_many(name, pc.count_distinct(found["text"]).as_py())
        ranked = found.sort_by(
            [("entity", "ascending"), ("ratings", "descending"), ("text", "ascending")]
        )
        entities, firsts = np.unique(ranked["entity"].to_numpy(), return_index=True)
        texts, codes = coded_texts(ranked["text"].take(pa.array(firsts)))
        chosen = np.zeros(self._counts[of], np.int64)
        chosen[entities] = codes.astype(np.int64) + 1
        return ["", *texts], chosen

    def _vocabulary(
        self, name: str, number: int, ratings: Mapping[str, int]
    ) -> tuple[str, list[str | None]]:
        """Write the values of texts, UNKNOWN's null first, then by falling number of ratings."""
        counts: Counter[str] = Counter()
        unknown = 0
        for text, count in ratings.items():
            values = set(values_of(text))
            counts.update(dict.fromkeys(values, count))
            unknown += 0 if values else count
        ordered = sorted(
            (value for value, count in counts.items() if count),
            key=lambda value: (-counts[value], value.encode()),
        )
        if not ordered:
            raise RatingsError(
                f"feature {name!r}: no training rating has a value of it"
                + (" (a time that can be read)" if name in PERIODS else "")
            )
        values_and_null: list[str | None] = [None, *ordered]
        numbers = [unknown, *(counts[value] for value in ordered)]
        columns = [range(len(numbers)), values_and_null, numbers]
        arrays = [
            pa.array(column, kind.type) for column, kind in zip(columns, VOCABULARY, strict=True)
        ]
        path = self._scratch / "values.parquet"
        pq.write_table(pa.Table.from_arrays(arrays, schema=VOCABULARY), path)
        file = f"{number}-values.parquet"
        self._objects.upload(path, f"{self._folder}/{file}")
        return file, values_and_null

    def _write_sets(self, number: int, bounds: Integers, members: Path) -> tuple[str, str]:
        path = self._scratch / "bounds.npy"
        np.save(path, bounds)
        files = f"{number}-bounds.npy", f"{number}-members.npy"
        for source, file in zip((path, members), files, strict=True):
            self._objects.upload(source, f"{self._folder}/{file}")
        return files

    def _parts(self, splits: Sequence[str], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of some splits, a part at a time."""
        path = self._scratch / "part.parquet"
        for split in splits:
            for part in self._ratings[split]:
                self._objects.download(part["uri"], path)
                yield pq.read_table(path, columns=list(columns))


def _sort_sets(bounds: NDArray[np.int64], members: NDArray[np.int32]) -> None:
    """Sort the members of each set, in place, so many at a time."""
    first = 0
    while first < len(bounds) - 1:
        fitting = int(np.searchsorted(bounds, bounds[first] + _SORTED_AT_A_TIME, side="right")) - 1
        last = max(first + 1, fitting)
        own = members[bounds[first] : bounds[last]]
        owners = np.repeat(np.arange(last - first), np.diff(bounds[first : last + 1]))
        own[:] = own[np.lexsort((own, owners))]
        first = last


def _refuse_many(name: str, texts: int) -> None:
    if texts > MOST_TEXTS:
        raise RatingsError(
            f"feature {name!r}: the column has more than {MOST_TEXTS:,} distinct texts, too many"
            " for a category"
        )
