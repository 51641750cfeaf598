"""The feature space of a run: what each column of a record means, and pairs encoded in it.

Customers come first, then videos, then a block for each of the run parameter `features`: the videos
that the customer rated (`history`), the customers who rated the video (`raters`), the time of the
rating (`month`, `day`), and side columns (`customer:age`, `video:genre`, `rating:vine`). Blocks but
the first two hold sets: each of n members has the value 1/sqrt(n), as in SVD++ (Koren 2008; as
Factorization Machines: Rendle 2010, section V, and "Factorization Machines with libFM", 2012), so
that long sets weigh no more than short ones.

`open_space` reads what `feature_tables` wrote. Refuses indexes that the run does not know, and ends
where its tables are gone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NotRequired, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from matinee.workflow.definition import MILLISECONDS_FROM
from matinee.workflow.errors import RatingsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

HISTORY, RATERS = "history", "raters"
PERIODS: dict[str, Literal["M", "D"]] = {"month": "M", "day": "D"}
# The first value of every vocabulary: none, or one that no training rating has.
UNKNOWN = 0
# Between the values of a side column that holds several.
SEPARATOR = "|"
_LAST_DAY = 2_932_896  # 9999-12-31

Integers = NDArray[np.integer[Any]]
Of = Literal["customer", "video", "rating"]


class Block(TypedDict):
    """Consecutive columns that mean one thing.

    `of` is what must be known to fill it: the customer, the video, or the rating itself. The others
    name files beside `features.json`: `values` its vocabulary (Parquet: index, value, ratings), if
    it has one, `bounds` and `members` the sets of all customers, or of all videos (NumPy arrays,
    see `Sets`).
    """

    name: str
    of: Of
    offset: int
    width: int
    values: NotRequired[str]
    bounds: NotRequired[str]
    members: NotRequired[str]


class Sets(NamedTuple):
    """Sets of integers; number i is `members[bounds[i] : bounds[i + 1]]`, ascending."""

    bounds: Integers
    members: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def counts(self, numbers: Integers) -> NDArray[np.int64]:
        """Return how many members the sets of these numbers have; number -1 is no set."""
        numbers = numbers.astype(np.int64)
        sizes = self.bounds[numbers + 1].astype(np.int64) - self.bounds[numbers]
        return np.where(numbers < 0, 0, sizes)

    def take(self, numbers: Integers) -> Sets:
        """Return the sets of these numbers, one after the other."""
        counts = self.counts(numbers)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        places = np.repeat(self.bounds[numbers] - bounds[:-1], counts) + np.arange(bounds[-1])
        return Sets(bounds, np.asarray(self.members[places]))


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """The blocks of a run and what it takes to fill them.

    Attributes
    ----------
    blocks : sequence of Block
        In the order of their columns: customers, videos, and one for each feature.
    sets : mapping
        Block to the sets of all customers, or of all videos.
    vocabularies : mapping
        Block to the place of each value.
    """

    blocks: Sequence[Block]
    sets: Mapping[str, Sets] = field(default_factory=dict)
    vocabularies: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Columns of a record: `feature_dim`."""
        return self.blocks[-1]["offset"] + self.blocks[-1]["width"]

    @property
    def field_dims(self) -> list[int]:
        """Widths of the blocks, as matinee-fm takes them."""
        return [block["width"] for block in self.blocks]

    def encode(
        self,
        customers: ArrayLike | None = None,
        videos: ArrayLike | None = None,
        *,
        times: ArrayLike | None = None,
        values: Mapping[str, pa.Array | pa.ChunkedArray | Sequence[str]] | None = None,
    ) -> csr_matrix:
        """Encode pairs of a customer and a video, or one side of pairs.

        Parameters
        ----------
        customers, videos : array of int, shape (n,), optional
            Indexes; -1 is one that the run does not know, of whom nothing is said. Without
            customers the blocks of customers and of ratings stay empty, without videos those of
            videos; so the two sides of a pair have no column in common, and their sum is the pair.
        times : array of float, shape (n,), optional
            Seconds since 1970, NaN where not known.
        values : mapping of str to texts, shape (n,), optional
            Side column, as `rating:vine` names it, to its text. A rating whose time or value is not
            given has UNKNOWN there.

        Returns
        -------
        csr_matrix
            float32 (n, width), the columns of a row ascending.

        Raises
        ------
        RatingsError
            If an index is below -1 or beyond the last, or shapes differ.
        """
        from scipy.sparse import (
            csr_matrix,
        )  # takes long to load, and steps without features need none

        sides = {
            side: _indexes(side, given, self.blocks[place]["width"])
            for place, (side, given) in enumerate((("customer", customers), ("video", videos)))
            if given is not None
        }
        lengths = {len(numbers) for numbers in sides.values()}
        if len(lengths) != 1:
            raise RatingsError(
                "customers or videos must be given, and as many of either: there are"
                f" {[len(numbers) for numbers in sides.values()]}"
            )
        rows = lengths.pop()
        coded = _Coded(rows, times, values or {}) if "customer" in sides else None
        filled = [
            (block, self._fill(block, sides, coded))
            for block in self.blocks
            if ("video" if block["of"] == "video" else "customer") in sides
        ]
        return csr_matrix(_joined(rows, filled), (rows, self.width), copy=False)

    def lengths(self, customers: Integers, videos: Integers) -> NDArray[np.int64]:
        """Return how many values the records of some pairs have, shape (n,).

        One for each rating's own block: only a column of several values has more.
        """
        found = np.full(len(customers), len(self.blocks), np.int64)
        for block in self.blocks:
            if block["name"] in self.sets:
                numbers = customers if block["of"] == "customer" else videos
                found += self.sets[block["name"]].counts(numbers)
        return found

    def _fill(
        self, block: Block, sides: Mapping[str, NDArray[np.int32]], coded: _Coded | None
    ) -> Sets:
        name = block["name"]
        if name in ("customer", "video"):
            known = sides[name] >= 0
            return Sets(np.concatenate([[0], np.cumsum(known)]), sides[name][known])
        if name in self.sets:
            return self.sets[name].take(sides[block["of"]])
        texts, codes = cast("_Coded", coded).of(name)
        return sets_of(texts, self.vocabularies[name]).take(codes)


class Codes(NamedTuple):
    """Texts of ratings: the distinct ones, and for each rating the place of its own."""

    texts: list[str]
    codes: Integers


@dataclass(frozen=True, slots=True, eq=False)
class _Coded:
    """What is known of some ratings besides customer and video."""

    rows: int
    times: ArrayLike | None
    values: Mapping[str, Any]

    def of(self, name: str) -> Codes:
        if name in PERIODS:
            given = self.times
            found = None if given is None else coded_times(np.asarray(given, np.float64), name)
        else:
            column = self.values.get(name.partition(":")[2])
            found = None if column is None else coded_texts(column)
        if found is None:
            return Codes([""], np.zeros(self.rows, np.int64))
        if len(found.codes) != self.rows:
            raise RatingsError(f"{name} has {len(found.codes)} values for {self.rows} ratings")
        return found


@contextmanager
def open_space(
    preprocessed: Preprocessed, objects: Objects | None = None
) -> Iterator[FeatureSpace]:
    """Read the feature space of a run; its tables lie in a temporary folder meanwhile.

    Parameters
    ----------
    preprocessed : Preprocessed
    objects : Objects, optional

    Raises
    ------
    ObjectsError
        If a table is missing.
    """
    objects = objects or Objects()
    blocks = read_blocks(preprocessed, objects)
    with tempfile.TemporaryDirectory(prefix="matinee-features-") as scratch_name:
        path = Path(scratch_name) / "values.parquet"
        sets, vocabularies = {}, {}
        for number, block in enumerate(blocks):
            if "bounds" in block:
                arrays = []
                for kind in ("bounds", "members"):
                    array = Path(scratch_name) / f"{number}-{kind}.npy"
                    objects.download(f"{preprocessed['features']}/{block[kind]}", array)
                    # Mapped: only the sets that are asked for are read.
                    arrays.append(np.load(array, mmap_mode="r"))
                sets[block["name"]] = Sets(*arrays)
            elif "values" in block:
                objects.download(f"{preprocessed['features']}/{block['values']}", path)
                values = pq.read_table(path, columns=["value"])["value"].to_pylist()
                vocabularies[block["name"]] = places_of(values)
        yield FeatureSpace(blocks, sets, vocabularies)


def read_blocks(preprocessed: Preprocessed, objects: Objects) -> list[Block]:
    """Return the blocks of a run; of one without features they are its customers and videos."""
    if "features" in preprocessed:
        document = objects.read_json(f"{preprocessed['features']}/features.json")
        blocks: list[Block] = document["blocks"]
        return blocks
    return pair_blocks(preprocessed["customer_count"], preprocessed["video_count"])


def pair_blocks(customer_count: int, video_count: int) -> list[Block]:
    """Return the blocks that every run has."""
    return [
        {"name": "customer", "of": "customer", "offset": 0, "width": customer_count},
        {"name": "video", "of": "video", "offset": customer_count, "width": video_count},
    ]


def places_of(values: Iterable[str | None]) -> dict[str, int]:
    """Return the place of each value of a vocabulary but the first, which is UNKNOWN."""
    return {value: place for place, value in enumerate(values) if value is not None}


def values_of(text: str) -> list[str]:
    """Return the values that a text of a side column holds, without blanks around them."""
    return list(filter(None, map(str.strip, text.split(SEPARATOR))))


def sets_of(texts: Iterable[str], vocabulary: Mapping[str, int]) -> Sets:
    """Return the places of each text's values; UNKNOWN alone where it has no known one."""
    members: list[int] = []
    bounds = [0]
    for text in texts:
        members += sorted(
            {vocabulary.get(value, UNKNOWN) for value in values_of(text)} - {UNKNOWN}
        ) or [UNKNOWN]
        bounds.append(len(members))
    return Sets(np.array(bounds, np.int64), np.array(members, np.int32))


def coded_texts(column: pa.Array | pa.ChunkedArray | Sequence[str]) -> Codes:
    """Code a side column; a null is an empty text."""
    given = (
        column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, pa.string())
    )
    whole = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    encoded = whole.fill_null("").dictionary_encode()
    return Codes(encoded.dictionary.to_pylist(), encoded.indices.to_numpy())


def coded_times(times: NDArray[np.float64], feature: str) -> Codes:
    """Code times as months (`2015-08`) or days (`2015-08-31`), UTC; not known ones as empty."""
    seconds = np.where(np.abs(times) >= MILLISECONDS_FROM, times / 1000, times)
    days = np.floor(seconds / 86_400)
    known = np.isfinite(days) & (days <= _LAST_DAY) & (days >= -_LAST_DAY)
    dates = np.where(known, days, 0).astype("M8[D]").astype(f"M8[{PERIODS[feature]}]")
    # Place 0 is for those that are not known.
    periods, codes = np.unique(dates, return_inverse=True)
    texts = ["", *np.datetime_as_string(periods).tolist()]
    return Codes(texts, np.where(known, codes + 1, 0))


def _indexes(side: str, given: ArrayLike, count: int) -> NDArray[np.int32]:
    numbers = np.asarray(given)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise RatingsError(
            f"{side} indexes must be integers in one dimension, not {numbers.dtype} of shape"
            f" {numbers.shape}"
        )
    for number in (numbers.min(), numbers.max()) if numbers.size else ():
        if not -1 <= number < count:
            raise RatingsError(f"{side} {number} is none of the run's: they are 0 to {count - 1}")
    return numbers.astype(np.int32)


def _joined(
    rows: int, filled: Sequence[tuple[Block, Sets]]
) -> tuple[NDArray[np.float32], NDArray[np.int32], Integers]:
    """Put the sets of all blocks side by side: values, columns and bounds of the rows."""
    counts = [np.diff(sets.bounds) for _, sets in filled]
    bounds = np.concatenate([[0], np.cumsum(sum(counts, np.zeros(rows, np.int64)))])
    columns = np.empty(bounds[-1], np.int32)
    values = np.empty(bounds[-1], np.float32)
    starts = bounds[:-1]
    for (block, sets), count in zip(filled, counts, strict=True):
        places = np.repeat(starts - sets.bounds[:-1], count) + np.arange(len(sets.members))
        columns[places] = sets.members + np.int32(block["offset"])
        values[places] = np.repeat((1 / np.sqrt(np.maximum(count, 1))).astype(np.float32), count)
        starts = starts + count
    return values, columns, bounds
