"""Ordered rows as Parquet: where parts are cut, and that batches leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matinee.workflow import tables
from matinee.workflow.objects import Objects

pytestmark = pytest.mark.usefixtures("s3")

SCHEMA = pa.schema([("n", pa.int32())])


def batches(rows: int, size: int) -> list[pa.RecordBatch]:
    numbers = pa.table({"from an engine": pa.array(range(rows), pa.int64())})
    return list(numbers.to_batches(max_chunksize=size))


@pytest.fixture
def write(bucket: str, tmp_path: Path) -> Callable[..., list[int]]:
    def write_rows(rows: int, size: int, part_rows: int) -> list[int]:
        folder = f"s3://{bucket}/rows-{size}"
        parts = tables.write_parts(
            batches(rows, size), SCHEMA, folder, part_rows, Objects(), tmp_path
        )
        assert list(tmp_path.iterdir()) == []
        found = []
        for number, part in enumerate(parts):
            assert part["uri"] == f"{folder}/part-{number:05d}.parquet"
            Objects().download(part["uri"], tmp_path / "part")
            found += pq.read_table(tmp_path / "part").column("n").to_pylist()
            (tmp_path / "part").unlink()
        assert found == list(range(rows))
        return [part["rows"] for part in parts]

    return write_rows


@pytest.mark.parametrize(
    ("rows", "parts"),
    [(0, []), (1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5]), (30, [10] * 3)],
)
@pytest.mark.parametrize("size", [1, 7, 10, 100])
def test_parts_are_cut_by_the_number_of_rows(
    write: Callable[..., list[int]], rows: int, parts: list[int], size: int
) -> None:
    assert write(rows, size, 10) == parts


def test_equal_rows_are_equal_bytes(
    write: Callable[..., list[int]], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP_ROWS", 8)
    bodies = []
    for size in (1, 7, 100):
        write(50, size, 20)
        uris = Objects().list(f"s3://{bucket}/rows-{size}")
        bodies.append([Objects().read(uri) for uri in uris])
    assert bodies[0] == bodies[1] == bodies[2]
