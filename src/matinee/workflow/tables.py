"""The Parquet objects of the preprocess step: ordered rows, in parts, in row groups of fixed size.

Equal rows give equal bytes, whichever engine they come from and however it cuts them into batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from matinee.workflow.objects import Objects
from matinee.workflow.parts import Part

_ROW_GROUP_ROWS = 2**17

CUSTOMERS = pa.schema([("index", pa.int32()), ("customer", pa.string()), ("ratings", pa.int32())])
VIDEOS = pa.schema(
    [
        ("index", pa.int32()),
        ("video", pa.string()),
        ("title", pa.string()),
        ("ratings", pa.int32()),
    ]
)


def ratings_schema(side_columns: Sequence[str], *, timed: bool = False) -> pa.Schema:
    """Return what a split's rows look like: after the stars the time, in seconds since 1970 and
    null where it is not known, and side columns, which are text.
    """
    fields = [("customer", pa.int32()), ("video", pa.int32()), ("stars", pa.float32())]
    if timed:
        fields.append(("time", pa.float64()))
    return pa.schema([*fields, *((name, pa.string()) for name in side_columns)])


def write_parts(
    batches: Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    folder: str,
    part_rows: int,
    objects: Objects,
    scratch: Path,
) -> list[Part]:
    """Write ordered rows as `part-00000.parquet`, `part-00001.parquet` and so on.

    Parameters
    ----------
    batches : iterable of Table or RecordBatch
        Columns as in the schema, in its order; their names do not matter.
    schema : Schema
    folder : str
        S3 URI, without a last slash.
    part_rows : int
        Rows of every part but the last.
    objects : Objects
    scratch : Path
        Folder for one part at a time.

    Returns
    -------
    list of Part
        In order; one without rows if there are none.
    """
    parts: list[Part] = []
    path = scratch / "part.parquet"
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        rows = 0

        def upload() -> None:
            nonlocal writer, rows
            if writer is not None:
                writer.close()
                uri = f"{folder}/part-{len(parts):05d}.parquet"
                objects.upload(path, uri)
                parts.append({"uri": uri, "rows": rows})
            writer, rows = None, 0

        for group in _groups(batches, schema, part_rows):
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, schema))
            writer.write_table(group, row_group_size=_ROW_GROUP_ROWS)
            rows += group.num_rows
            if rows == part_rows:
                upload()
        upload()
        path.unlink(missing_ok=True)
    return parts


def write_table(
    batches: Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    uri: str,
    objects: Objects,
    scratch: Path,
) -> None:
    """Write ordered rows as one object."""
    path = scratch / "table.parquet"
    with pq.ParquetWriter(path, schema) as writer:
        for group in _groups(batches, schema, _ROW_GROUP_ROWS):
            writer.write_table(group, row_group_size=_ROW_GROUP_ROWS)
    objects.upload(path, uri)
    path.unlink()


def _groups(
    batches: Iterable[pa.Table | pa.RecordBatch], schema: pa.Schema, part_rows: int
) -> Iterator[pa.Table]:
    """Cut rows anew: groups of the row group's size, shorter at the end of a part and of all."""
    waiting: list[pa.Table] = []
    have = 0
    left = part_rows  # of the part
    for batch in batches:
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        waiting.append(table.rename_columns(schema.names).cast(schema))
        have += table.num_rows
        while have >= (size := min(_ROW_GROUP_ROWS, left)):
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, size)
            waiting, have = [whole.slice(size)], have - size
            left = left - size or part_rows
    if have:
        yield pa.concat_tables(waiting)
