"""The prepare step against a real S3 server: the bytes that SageMaker's algorithm reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matinee import recordio
from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import one_hot, prepare
from matinee.workflow.preprocess import Preprocessed
from matinee.workflow.settings import Settings

Put = Callable[[str, bytes | str], str]


@pytest.fixture
def settings(bucket: str) -> Settings:
    return Settings.from_parameters({"output": f"s3://{bucket}/runs"})


def preprocessed(put: Put, folder: Path, rows: dict[str, int]) -> Preprocessed:
    """Write splits of so many ratings, of three customers and four videos in turn."""
    uris = {}
    for split, count in rows.items():
        path = folder / "split.parquet"
        turn = np.arange(count, dtype=np.int32)
        columns = {"customer": turn % 3, "video": turn % 4, "stars": (1 + turn % 5).astype("f4")}
        pq.write_table(pa.table(columns), path)
        uris[split] = put(f"{split}.parquet", path.read_bytes())
    return {
        "run": "matinee-1",
        "ratings": uris,
        "customers": "",
        "videos": "",
        "report": "",
        "customer_count": 3,
        "video_count": 4,
        "rating_counts": rows,
    }


def test_a_row_has_two_ones_the_customers_first() -> None:
    rows = one_hot(np.array([0, 2]), np.array([0, 3]), 3, 4)
    assert rows.toarray().tolist() == [[1, 0, 0, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0, 1]]
    assert rows.dtype == np.float32


def test_the_splits_become_recordio_in_their_order(
    put: Put, settings: Settings, tmp_path: Path
) -> None:
    inputs = preprocessed(put, tmp_path, {"train": 5, "validate": 2, "test": 1})
    outputs = prepare(settings, dict(inputs))
    assert outputs["feature_dim"] == 7
    assert outputs["test_chunks"] == [1]
    objects = Objects()
    assert objects.list(outputs["train"]) == [f"{outputs['train']}train.protobuf"]
    records = recordio.decode(objects.read(f"{outputs['train']}train.protobuf"))
    expected = one_hot(np.array([0, 1, 2, 0, 1]), np.array([0, 1, 2, 3, 0]), 3, 4)
    assert records.features.shape == (5, 7)
    assert (records.features != expected).nnz == 0
    assert records.labels is not None
    assert records.labels.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("rows", "chunks"),
    [
        (9_999, [9_999]),
        (10_000, [10_000]),
        (10_001, [10_000, 1]),
        (25_000, [10_000, 10_000, 5_000]),
    ],
)
def test_the_test_split_comes_in_chunks(
    put: Put, settings: Settings, tmp_path: Path, rows: int, chunks: list[int]
) -> None:
    inputs = preprocessed(put, tmp_path, {"train": 1, "validate": 1, "test": rows})
    outputs = prepare(settings, dict(inputs))
    assert outputs["test_chunks"] == chunks
    names = [f"{outputs['test']}test_{number}.protobuf" for number in range(len(chunks))]
    assert Objects().list(outputs["test"]) == names
    labels = []
    for name, chunk in zip(names, chunks, strict=True):
        records = recordio.decode(Objects().read(name))
        assert records.labels is not None
        assert len(records.labels) == chunk
        labels.extend(records.labels.tolist())
    assert labels == [1 + row % 5 for row in range(rows)]


def test_leftovers_of_an_earlier_try_go(put: Put, settings: Settings, tmp_path: Path) -> None:
    put("runs/matinee-1/prepare/test/test_7.protobuf", b"old")
    inputs = preprocessed(put, tmp_path, {"train": 1, "validate": 1, "test": 1})
    outputs = prepare(settings, dict(inputs))
    assert len(Objects().list(outputs["test"])) == 1


def test_ratings_that_were_changed_meanwhile_are_refused(
    put: Put, settings: Settings, tmp_path: Path
) -> None:
    inputs = preprocessed(put, tmp_path, {"train": 3, "validate": 1, "test": 1})
    inputs["rating_counts"]["train"] = 4
    with pytest.raises(ObjectsError, match=r"train.parquet has 3 ratings, but .* counted 4"):
        prepare(settings, dict(inputs))


def test_a_missing_split_is_refused(put: Put, settings: Settings, tmp_path: Path) -> None:
    inputs = preprocessed(put, tmp_path, {"train": 1, "validate": 1, "test": 1})
    inputs["ratings"]["validate"] += ".gone"
    with pytest.raises(ObjectsError, match=r"cannot read .*validate.parquet.gone"):
        prepare(settings, dict(inputs))
