"""Parquet that many workers wrote, read back in order, a table at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from matinee.workflow.sources import Sources


def read_sorted(
    sources: Sources, folder: str, order: str, columns: Sequence[str], scratch: Path
) -> pa.Table:
    """Return the rows of a folder's Parquet files by a column.

    Parameters
    ----------
    sources : Sources
    folder : str
        URI or absolute path.
    order : str
        The column to sort by.
    columns : sequence of str
        Which to return, in this order.
    scratch : Path
        Folder for one file at a time.

    Raises
    ------
    ObjectsError
        If there is no such file.
    """
    pieces = []
    for source in sources.find(folder):
        # As a file: the folders' names would become columns.
        with sources.as_file(source, scratch) as path, pq.ParquetFile(path) as file:
            pieces.append(file.read(columns=list(dict.fromkeys([*columns, order]))))
    return pa.concat_tables(pieces).sort_by(order).select(list(columns))


def parts_of(sources: Sources, folder: str) -> int:
    """Return how many parts a split's folder has: part=0, part=1 and so on."""
    return len({source.removeprefix(folder).split("/")[1] for source in sources.find(folder)})
