"""What the preprocess step hands on: splits cut into parts of a fixed number of rows.

The parts of a split, one after the other, are the split, and where it is cut depends on the number
of rows alone, so that every engine cuts alike and a part can be prepared without the others.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

SPLITS = ("train", "validate", "test")
# Rows of one object that a batch transform job predicts.
TEST_CHUNK_ROWS = 10_000
# Rows of every part but the last of a split: a multiple of TEST_CHUNK_ROWS.
PART_ROWS = 5_000_000


class Part(TypedDict):
    """One Parquet object of a split and how many ratings it holds.

    Columns `customer` and `video` (int32, indexes) and `stars` (float32), then `time` (float64) if
    a feature needs it and the side columns (text), in the order of the hash, customer id and video
    id over the split as a whole.
    """

    uri: str
    rows: int


class Preprocessed(TypedDict):
    """What `preprocess` hands on: URIs, and the counts that the next steps check themselves by.

    `features`, a folder, is there if the run has features beside customer and video; see
    `matinee.workflow.features`.
    """

    run: str
    ratings: dict[str, list[Part]]
    customers: str
    videos: str
    report: str
    customer_count: int
    video_count: int
    rating_counts: dict[str, int]
    features: NotRequired[str]
