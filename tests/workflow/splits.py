"""Splits in parts, as preprocessing leaves them, with known ratings; and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from matinee.workflow.objects import Objects
from matinee.workflow.parts import Part, Preprocessed
from matinee.workflow.settings import Settings

Put = Callable[[str, bytes | str], str]
Rows = Mapping[str, Sequence[int]]
Write = Callable[[Rows], Preprocessed]

RUN = "matinee-1"
CUSTOMERS, VIDEOS = 3, 4


def columns(first: int, count: int) -> dict[str, np.ndarray]:
    """Ratings number `first` and following, of three customers and four videos in turn."""
    turn = np.arange(first, first + count, dtype=np.int32)
    return {
        "customer": turn % CUSTOMERS,
        "video": turn % VIDEOS,
        "stars": (1 + turn % 5).astype("f4"),
    }


def parquet(table: Mapping[str, np.ndarray], folder: Path) -> bytes:
    path = folder / "part.parquet"
    pq.write_table(pa.table(dict(table)), path)
    return path.read_bytes()


def write_parts(put: Put, folder: Path, rows: Rows) -> Preprocessed:
    """Write splits whose parts have so many ratings."""
    ratings: dict[str, list[Part]] = {}
    for split, counts in rows.items():
        ratings[split] = []
        for number, count in enumerate(counts):
            body = parquet(columns(sum(counts[:number]), count), folder)
            uri = put(f"{split}/part-{number:05d}.parquet", body)
            ratings[split].append({"uri": uri, "rows": count})
    return {
        "run": RUN,
        "ratings": ratings,
        "customers": "",
        "videos": "",
        "report": "",
        "customer_count": CUSTOMERS,
        "video_count": VIDEOS,
        "rating_counts": {split: sum(counts) for split, counts in rows.items()},
    }


def written(settings: Settings) -> dict[str, bytes]:
    """Return the objects of the prepare step by their keys in its folder."""
    folder = f"{settings.folder(RUN)}/prepare/"
    objects = Objects()
    return {uri.removeprefix(folder): objects.read(uri) for uri in objects.list(folder)}
