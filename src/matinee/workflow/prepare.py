"""The prepare step: from the split ratings to what SageMaker's Factorization Machines read.

One-hot of customer and video side by side, customers first, and the stars as label, as
RecordIO-protobuf: `train/` and `validate/` one object each, `test/` one object per 10,000 ratings
so that a batch transform job never meets its payload limit. Refuses ratings that do not fit the
counts of the preprocess step.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from matinee import recordio
from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

TEST_CHUNK_ROWS = 10_000
# Rows held in memory at a time.
_BLOCK_ROWS = 262_144


class Prepared(TypedDict):
    """What `prepare` hands on: the channels' URIs, the width of a row, the rows of each object."""

    run: str
    train: str
    validate: str
    test: str
    feature_dim: int
    rating_counts: dict[str, int]
    test_chunks: list[int]


class Ratings(NamedTuple):
    """The ratings of a split; each of shape (n,)."""

    customer: NDArray[np.int32]
    video: NDArray[np.int32]
    stars: NDArray[np.float32]


def prepare(settings: Settings, inputs: dict[str, Any]) -> Prepared:
    """Encode the three splits.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        What `preprocess` returned.

    Returns
    -------
    Prepared
        Folders `train`, `validate` and `test` (objects `test_0.protobuf`, `test_1.protobuf`, ...),
        `feature_dim` (customers + videos) and the rows of each of the test objects, in order.

    Raises
    ------
    ObjectsError
        If an input is missing or holds another number of ratings than `preprocess` counted.
    """
    objects = Objects()
    run = inputs["run"]
    folder = f"{settings.folder(run)}/prepare"
    customers, videos = inputs["customer_count"], inputs["video_count"]
    counts: dict[str, int] = inputs["rating_counts"]
    objects.delete_folder(folder)
    with tempfile.TemporaryDirectory(prefix="matinee-prepare-") as scratch_name:
        scratch = Path(scratch_name)
        for split in ("train", "validate", "test"):
            source = scratch / f"{split}.parquet"
            objects.download(inputs["ratings"][split], source)
            rated = read_ratings(source)
            rows = len(rated.stars)
            if rows != counts[split]:
                raise ObjectsError(
                    f"{inputs['ratings'][split]} has {rows} ratings, but preprocessing counted"
                    f" {counts[split]}"
                )
            chunks = _chunks(rows, split)
            for name, start, stop in chunks:
                path = scratch / name
                _encode(rated, start, stop, customers, videos, path)
                objects.upload(path, f"{folder}/{split}/{name}")
                path.unlink()
            logger.info("%s: %d ratings in %d objects", split, rows, len(chunks))
    return {
        "run": run,
        "train": f"{folder}/train/",
        "validate": f"{folder}/validate/",
        "test": f"{folder}/test/",
        "feature_dim": customers + videos,
        "rating_counts": counts,
        "test_chunks": [stop - start for _, start, stop in _chunks(counts["test"], "test")],
    }


def one_hot(
    customers: NDArray[np.integer[Any]],
    videos: NDArray[np.integer[Any]],
    customer_count: int,
    video_count: int,
) -> csr_matrix:
    """Return float32 rows with two ones: the customer's, and the video's after all customers'.

    Parameters
    ----------
    customers, videos : ndarray, shape (n,)
        Indexes from 0.
    customer_count, video_count : int

    Returns
    -------
    csr_matrix, shape (n, customer_count + video_count)
    """
    columns = np.empty((len(customers), 2), np.int64)
    columns[:, 0] = customers
    columns[:, 1] = customer_count + videos.astype(np.int64)
    ones = np.ones(columns.size, np.float32)
    starts = np.arange(0, columns.size + 1, 2, dtype=np.int64)
    return csr_matrix(
        (ones, columns.ravel(), starts), shape=(len(customers), customer_count + video_count)
    )


def read_ratings(path: Path) -> Ratings:
    """Read one split of `preprocess`, in its order."""
    table = pq.read_table(path)
    return Ratings(*(table.column(name).to_numpy() for name in Ratings._fields))


def _chunks(rows: int, split: str) -> list[tuple[str, int, int]]:
    """Return the objects of a split: name, first row, row after the last."""
    if split != "test":
        return [(f"{split}.protobuf", 0, rows)]
    return [
        (f"test_{number}.protobuf", start, min(start + TEST_CHUNK_ROWS, rows))
        for number, start in enumerate(range(0, rows, TEST_CHUNK_ROWS))
    ]


def _encode(
    rated: Ratings, start: int, stop: int, customer_count: int, video_count: int, path: Path
) -> None:
    with path.open("wb") as file:
        for first in range(start, stop, _BLOCK_ROWS):
            rows = slice(first, min(first + _BLOCK_ROWS, stop))
            features = one_hot(rated.customer[rows], rated.video[rows], customer_count, video_count)
            file.write(recordio.encode(features, rated.stars[rows]))
