"""The prepare step: from the split ratings to what SageMaker's Factorization Machines read.

One-hot of customer and video side by side, customers first, then the run's features if it has any,
and the stars as label, as RecordIO-protobuf. `prepare_part` turns one part of a split into its
objects, whatever became of the others: so parts may be prepared one after the other, by processes
of this machine, by mapped tasks or by a cluster, and one again when it failed, with the same bytes.
`gather` ends the step once all are done. Refuses ratings that do not fit the counts of the
preprocess step.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from functools import partial
from itertools import starmap
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from matinee import recordio
from matinee.workflow.errors import ObjectsError, RatingsError
from matinee.workflow.features import FeatureSpace, open_space, read_blocks
from matinee.workflow.objects import Objects
from matinee.workflow.parts import SPLITS, TEST_CHUNK_ROWS, Preprocessed
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

# Ratings of one mapped task: encoding fewer takes less time than starting another task does.
GROUP_ROWS = 5_000_000
# Airflow maps a task at most 1024 times, by default.
_MOST_GROUPS = 1_000
_THREADS = 4
# Rows encoded at a time, and values where features make rows long.
_BLOCK_ROWS = 262_144
_BLOCK_VALUES = 2**21
_COLUMNS = {"customer": pa.int32(), "video": pa.int32(), "stars": pa.float32()}


class Prepared(TypedDict):
    """What `prepare` hands on: the channels' URIs, the width of a row and of each block of it, the
    rows of each object.
    """

    run: str
    train: str
    validate: str
    test: str
    feature_dim: int
    field_dims: list[int]
    rating_counts: dict[str, int]
    test_chunks: list[int]


class PartName(TypedDict):
    """A part of a split, by its number from 0."""

    split: str
    number: int


class PreparedPart(PartName):
    """A part whose objects are written, and how many ratings they hold."""

    rows: int


class Ratings(NamedTuple):
    """Some ratings of a split; each of shape (n,)."""

    customer: NDArray[np.int32]
    video: NDArray[np.int32]
    stars: NDArray[np.float32]


class Shard(NamedTuple):
    """One object: its name in the split's folder, and which rows of the part it holds."""

    name: str
    start: int
    stop: int


Progress = Callable[[PreparedPart, int, int], None]


def prepare(
    settings: Settings,
    inputs: dict[str, Any],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> Prepared:
    """Encode the three splits on this machine.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        What `preprocess` returned.
    workers : int
        Processes to share the parts among; 1 prepares them in threads of this one.
    progress : callable, optional
        Called with each part that is done, how many are, and how many there are; by default they
        are logged.

    Returns
    -------
    Prepared
        As of `gather`.

    Raises
    ------
    ObjectsError
        If a part is missing, unreadable or not as `preprocess` left it.
    RatingsError
        If a part is empty, or there are fewer training ratings than instances.
    """
    preprocessed = cast("Preprocessed", inputs)
    names = part_names(settings, preprocessed)
    # Spawned, as a fork would copy this process's threads and connections in any state.
    if workers > 1:
        pool = ProcessPoolExecutor(workers, get_context("spawn"))
        done = _prepared(pool, partial(prepare_part, settings, preprocessed), names, progress)
    else:
        done = _prepared_by_threads(settings, preprocessed, names, progress)
    return gather(settings, preprocessed, done)


def part_names(settings: Settings, preprocessed: Preprocessed) -> list[PartName]:
    """Return all parts of all splits.

    Raises
    ------
    RatingsError
        If one is empty, or there are fewer training ratings than instances to train on.
    ObjectsError
        If the parts of a split are not as many ratings as there are.
    """
    for split in SPLITS:
        parts, count = preprocessed["ratings"][split], preprocessed["rating_counts"][split]
        for part in parts:
            if part["rows"] < 1:
                raise RatingsError(f"{part['uri']} is a part of {split} without ratings")
        rows = sum(part["rows"] for part in parts)
        if rows != count:
            raise ObjectsError(
                f"the {len(parts)} parts of {split} have {rows} ratings, but preprocessing counted"
                f" {count}"
            )
    train = preprocessed["rating_counts"]["train"]
    if train < settings.training_instance_count:
        raise RatingsError(
            f"{train} training ratings are too few for training_instance_count"
            f" {settings.training_instance_count}: every instance needs one"
        )
    return [
        {"split": split, "number": number}
        for split in SPLITS
        for number in range(len(preprocessed["ratings"][split]))
    ]


def group_parts(
    settings: Settings, preprocessed: Preprocessed, *, rows: int = GROUP_ROWS
) -> list[list[PartName]]:
    """Divide all parts among tasks, in order.

    Parameters
    ----------
    settings : Settings
    preprocessed : Preprocessed
    rows : int
        Ratings of a task at most, unless one part has more or the tasks would be too many.

    Raises
    ------
    RatingsError, ObjectsError
        As of `part_names`.
    """
    groups: list[list[PartName]] = []
    limit = max(rows, -(-2 * sum(preprocessed["rating_counts"].values()) // _MOST_GROUPS))
    filled = 0
    for name in part_names(settings, preprocessed):
        count = preprocessed["ratings"][name["split"]][name["number"]]["rows"]
        if not groups or filled + count > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += count
    return groups


def prepare_parts(
    settings: Settings, preprocessed: Preprocessed, names: Iterable[PartName]
) -> list[PreparedPart]:
    """Encode some parts in threads of this process; see `prepare_part`."""
    return _prepared_by_threads(settings, preprocessed, list(names), None)


def prepare_part(
    settings: Settings,
    preprocessed: Preprocessed,
    split: str,
    number: int,
    objects: Objects | None = None,
) -> PreparedPart:
    """Encode one part; doing so again writes the same objects with the same bytes.

    Parameters
    ----------
    settings : Settings
    preprocessed : Preprocessed
    split : str
        "train", "validate" or "test".
    number : int
        Of the part, from 0.
    objects : Objects, optional
        By default over a client of its own.

    Returns
    -------
    PreparedPart

    Raises
    ------
    ObjectsError
        If the part is missing, unreadable, or holds another number of ratings, other columns, or
        indexes that the counts of customers and videos rule out. Nothing of it is written then.
    """
    objects = objects or Objects()
    with open_space(preprocessed, objects) as space:
        return _prepare_part(settings, preprocessed, objects, space, split, number)


def _prepare_part(
    settings: Settings,
    preprocessed: Preprocessed,
    objects: Objects,
    space: FeatureSpace,
    split: str,
    number: int,
) -> PreparedPart:
    part = preprocessed["ratings"][split][number]
    counts = preprocessed["customer_count"], preprocessed["video_count"]
    folder = _folder(settings, preprocessed, split)
    with tempfile.TemporaryDirectory(prefix="matinee-prepare-") as scratch_name:
        source = Path(scratch_name) / "part.parquet"
        objects.download(part["uri"], source)
        rated = read_ratings(source, part["uri"])
        _check(rated, part["uri"], part["rows"], *counts)
        sides = _read_sides(source, settings) if settings.features else None
        for shard in shards(preprocessed, split, number, settings.training_instance_count):
            path = Path(scratch_name) / shard.name
            if sides is None:
                _encode(rated, shard, *counts, path)
            else:
                _encode_features(rated, sides, shard, space, path)
            objects.upload(path, folder + shard.name)
            path.unlink()
    return {"split": split, "number": number, "rows": part["rows"]}


def gather(
    settings: Settings, preprocessed: Preprocessed, done: Iterable[PreparedPart]
) -> Prepared:
    """End the step: check that every part is there, and remove what an earlier try left.

    Parameters
    ----------
    settings : Settings
    preprocessed : Preprocessed
    done : iterable of PreparedPart
        What `prepare_part` returned for each part, in any order.

    Returns
    -------
    Prepared
        Folders `train`, `validate` and `test`, of objects `train_00000.protobuf`,
        `validate_00000.protobuf` and `test_0.protobuf` and so on, which are the split one after
        the other; `feature_dim` (customers + videos + features) and what it is made of, and the
        rows of each of the test objects.

    Raises
    ------
    ObjectsError
        If a part is missing, was prepared with other counts, or its objects are gone.
    """
    objects = Objects()
    expected = part_names(settings, preprocessed)
    rows = {(part["split"], part["number"]): part["rows"] for part in done}
    for name in expected:
        part = preprocessed["ratings"][name["split"]][name["number"]]
        prepared = rows.pop((name["split"], name["number"]), None)
        if prepared != part["rows"]:
            raise ObjectsError(
                f"{part['uri']} has {part['rows']} ratings, but"
                f" {'none' if prepared is None else prepared} of them were prepared"
            )
    if rows:
        raise ObjectsError(f"parts were prepared that preprocessing does not know: {[*rows]}")
    chunks: dict[str, list[Shard]] = {split: [] for split in SPLITS}
    for name in expected:
        chunks[name["split"]] += shards(
            preprocessed, **name, instance_count=settings.training_instance_count
        )
    for split in SPLITS:
        folder = _folder(settings, preprocessed, split)
        found = set(objects.list(folder))
        for shard in chunks[split]:
            if folder + shard.name not in found:
                raise ObjectsError(f"{folder}{shard.name} is gone, though it was prepared")
        for uri in sorted(found - {folder + shard.name for shard in chunks[split]}):
            objects.delete(uri)
    field_dims = [block["width"] for block in read_blocks(preprocessed, objects)]
    return {
        "run": preprocessed["run"],
        "train": _folder(settings, preprocessed, "train"),
        "validate": _folder(settings, preprocessed, "validate"),
        "test": _folder(settings, preprocessed, "test"),
        "feature_dim": sum(field_dims),
        "field_dims": field_dims,
        "rating_counts": preprocessed["rating_counts"],
        "test_chunks": [shard.stop - shard.start for shard in chunks["test"]],
    }


def shards(preprocessed: Preprocessed, split: str, number: int, instance_count: int) -> list[Shard]:
    """Return the objects of a part, in order.

    A training part becomes as many objects as there are instances to train on, alike but for one
    row, so that all get as much whichever object goes to which; a validation part becomes one, and
    a test part one per 10,000 ratings, so that a batch transform job never meets its payload limit.
    """
    counts = [
        _shard_count(split, part["rows"], instance_count) for part in preprocessed["ratings"][split]
    ]
    rows, count, first = (
        preprocessed["ratings"][split][number]["rows"],
        counts[number],
        sum(counts[:number]),
    )
    if split == "test":
        bounds = [*range(0, rows, TEST_CHUNK_ROWS), rows]
    else:
        bounds = [rows * shard // count for shard in range(count + 1)]
    names = (
        f"test_{place}.protobuf" if split == "test" else f"{split}_{place:05d}.protobuf"
        for place in range(first, first + count)
    )
    return list(starmap(Shard, zip(names, bounds[:-1], bounds[1:], strict=True)))


def read_ratings(path: Path, source: str) -> Ratings:
    """Read one part of `preprocess`, in its order.

    Parameters
    ----------
    path : Path
        The file.
    source : str
        The URI it came from, for messages.

    Raises
    ------
    ObjectsError
        If it is not a Parquet file with the columns of a part; it may have others too.
    """
    try:
        with pq.ParquetFile(path) as file:
            types = {field.name: field.type for field in file.schema_arrow}
            found = {name: types[name] for name in _COLUMNS if name in types}
            table = file.read(list(found))
    except (pa.ArrowException, OSError) as error:
        raise ObjectsError(f"cannot read {source}: {error}") from error
    if found != _COLUMNS or any(column.null_count for column in table.columns):
        raise ObjectsError(
            f"{source} has the columns {_described(found)}, or nulls in them, not"
            f" {_described(_COLUMNS)} without nulls"
        )
    return Ratings(*(table.column(name).to_numpy() for name in Ratings._fields))


def _described(columns: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name} {type_}" for name, type_ in columns.items()) or "none"


def _folder(settings: Settings, preprocessed: Preprocessed, split: str) -> str:
    return f"{settings.folder(preprocessed['run'])}/prepare/{split}/"


def _shard_count(split: str, rows: int, instance_count: int) -> int:
    if split == "test":
        return -(-rows // TEST_CHUNK_ROWS)
    return min(rows, instance_count) if split == "train" else 1


def _check(rated: Ratings, uri: str, rows: int, customer_count: int, video_count: int) -> None:
    if len(rated.stars) != rows:
        raise ObjectsError(
            f"{uri} has {len(rated.stars)} ratings, but preprocessing counted {rows}"
        )
    for name, indexes, count in (
        ("customer", rated.customer, customer_count),
        ("video", rated.video, video_count),
    ):
        for index in (int(indexes.min()), int(indexes.max())):
            if not 0 <= index < count:
                raise ObjectsError(
                    f"{uri} has a rating of {name} {index}, but there are only 0 to {count - 1}"
                )


def _encode(
    rated: Ratings, shard: Shard, customer_count: int, video_count: int, path: Path
) -> None:
    """Write two ones for each rating: its customer's, and its video's after all customers'."""
    with path.open("wb") as file:
        for first in range(shard.start, shard.stop, _BLOCK_ROWS):
            rows = slice(first, min(first + _BLOCK_ROWS, shard.stop))
            keys = np.empty((rows.stop - rows.start, 2), np.int64)
            keys[:, 0] = rated.customer[rows]
            np.add(rated.video[rows], customer_count, out=keys[:, 1])
            width = customer_count + video_count
            file.write(recordio.encode_one_hot(keys, width, rated.stars[rows]))


def _prepared_by_threads(
    settings: Settings,
    preprocessed: Preprocessed,
    names: list[PartName],
    progress: Progress | None,
) -> list[PreparedPart]:
    # Some encode while others wait for S3; each holds a part. Clients are slow to make.
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="matinee-prepare")
    objects = Objects()
    with open_space(preprocessed, objects) as space:
        task = partial(_prepare_part, settings, preprocessed, objects, space)
        return _prepared(pool, task, names, progress)


def _prepared(
    pool: Executor,
    task: Callable[..., PreparedPart],
    names: list[PartName],
    progress: Progress | None,
) -> list[PreparedPart]:
    """Prepare parts in a pool, which is shut down then."""
    with pool:
        tasks = [pool.submit(task, **name) for name in names]
        try:
            for done, prepared in enumerate(as_completed(tasks), start=1):
                (progress or _log)(prepared.result(), done, len(names))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [prepared.result() for prepared in tasks]


def _log(part: PreparedPart, done: int, total: int) -> None:
    logger.info(
        "%s, part %d: %d ratings; %d of %d parts are prepared",
        part["split"],
        part["number"],
        part["rows"],
        done,
        total,
    )


def _read_sides(path: Path, settings: Settings) -> pa.Table:
    """Read what a part has beside the ratings that features need."""
    names = [*(["time"] if settings.is_timed else []), *settings.side_columns]
    return pq.read_table(path, columns=names)


def _encode_features(
    rated: Ratings, sides: pa.Table, shard: Shard, space: FeatureSpace, path: Path
) -> None:
    """Write the records of ratings as the feature space has them."""
    lengths = space.lengths(
        rated.customer[shard.start : shard.stop], rated.video[shard.start : shard.stop]
    )
    with path.open("wb") as file:
        for rows in _blocks(lengths, shard.start):
            own = sides.slice(rows.start, rows.stop - rows.start)
            columns = {name: own[name] for name in sides.column_names if name != "time"}
            times = (
                own["time"].fill_null(np.nan).to_numpy() if "time" in sides.column_names else None
            )
            features = space.encode(
                rated.customer[rows], rated.video[rows], times=times, values=columns
            )
            file.write(recordio.encode(features, rated.stars[rows]))


def _blocks(lengths: NDArray[np.int64], start: int) -> Iterator[slice]:
    """Divide rows of these lengths: into so many values each, or one row."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(ends):
        limit = _BLOCK_VALUES + (ends[first - 1] if first else 0)
        last = max(first + 1, int(np.searchsorted(ends, limit, side="right")))
        yield slice(start + first, start + last)
        first = last
