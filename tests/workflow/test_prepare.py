"""The prepare step against a real S3 server: the bytes that SageMaker's algorithm reads."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from matinee import recordio
from matinee.workflow.errors import ObjectsError, RatingsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import SPLITS, Part, Preprocessed
from matinee.workflow.prepare import (
    PreparedPart,
    gather,
    group_parts,
    part_names,
    prepare,
    prepare_part,
)
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv, grid
from tests.workflow.splits import (
    CUSTOMERS,
    VIDEOS,
    Put,
    Rows,
    Write,
    columns,
    parquet,
    write_parts,
    written,
)


@pytest.fixture
def settings(bucket: str) -> Settings:
    return Settings.from_parameters({"output": f"s3://{bucket}/runs"})


def on(settings: Settings, instances: int) -> Settings:
    return Settings.from_parameters(
        {"output": settings.output, "training_instance_count": instances}
    )


@pytest.fixture
def preprocessed(put: Put, tmp_path: Path) -> Write:
    """Write splits whose parts have so many ratings."""
    return partial(write_parts, put, tmp_path)


SMALL: Rows = {"train": [7, 7, 3], "validate": [4, 1], "test": [20_000, 10_001]}


def unsplit(count: int) -> bytes:
    """Encode a split as one object: customer 2 and video 3 are ones in columns 2 and 6."""
    rated = columns(0, count)
    ones = np.zeros((count, CUSTOMERS + VIDEOS), np.float32)
    ones[np.arange(count), rated["customer"]] = 1
    ones[np.arange(count), CUSTOMERS + rated["video"]] = 1
    return recordio.encode(csr_matrix(ones), rated["stars"])


def test_the_splits_become_recordio_in_their_order(preprocessed: Write, settings: Settings) -> None:
    outputs = prepare(settings, dict(preprocessed({"train": [5], "validate": [2], "test": [1]})))
    assert outputs["feature_dim"] == 7
    assert outputs["test_chunks"] == [1]
    objects = Objects()
    assert objects.list(outputs["train"]) == [f"{outputs['train']}train_00000.protobuf"]
    assert objects.list(outputs["validate"]) == [f"{outputs['validate']}validate_00000.protobuf"]
    records = recordio.decode(objects.read(f"{outputs['train']}train_00000.protobuf"))
    assert isinstance(records.features, csr_matrix)
    assert records.features.toarray().tolist() == [
        [1, 0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 0, 1],
        [0, 1, 0, 1, 0, 0, 0],
    ]
    assert records.labels is not None
    assert records.labels.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("instances", [1, 2, 3])
def test_the_objects_of_a_split_are_one_encoding_cut(
    preprocessed: Write, settings: Settings, instances: int
) -> None:
    outputs = prepare(on(settings, instances), dict(preprocessed(SMALL)))
    objects = written(settings)
    for split in ("train", "validate"):
        names = sorted(name for name in objects if name.startswith(split))
        assert b"".join(objects[name] for name in names) == unsplit(sum(SMALL[split]))
        assert len(names) == len(SMALL[split]) * (instances if split == "train" else 1)
    tests = [objects[f"test/test_{number}.protobuf"] for number in range(4)]
    assert b"".join(tests) == unsplit(30_001)
    assert outputs["test_chunks"] == [10_000, 10_000, 10_000, 1]


def test_every_instance_gets_as_many_training_ratings(
    preprocessed: Write, settings: Settings
) -> None:
    prepare(on(settings, 3), dict(preprocessed(SMALL)))
    shards = [body for name, body in sorted(written(settings).items()) if name.startswith("train")]
    rows = [len(recordio.frames(body)) - 1 for body in shards]
    assert rows == [2, 2, 3, 2, 2, 3, 1, 1, 1]
    # Dealt out in the order of their keys.
    assert [sum(rows[host::3]) for host in range(3)] == [5, 5, 7]


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
    preprocessed: Write, settings: Settings, rows: int, chunks: list[int]
) -> None:
    outputs = prepare(settings, dict(preprocessed({"train": [1], "validate": [1], "test": [rows]})))
    assert outputs["test_chunks"] == chunks
    names = [f"{outputs['test']}test_{number}.protobuf" for number in range(len(chunks))]
    assert Objects().list(outputs["test"]) == names
    labels: list[float] = []
    for name, chunk in zip(names, chunks, strict=True):
        records = recordio.decode(Objects().read(name))
        assert records.labels is not None
        assert len(records.labels) == chunk
        labels.extend(records.labels.tolist())
    assert labels == [1 + row % 5 for row in range(rows)]


def test_parts_prepared_in_any_order_and_again_are_the_same(
    preprocessed: Write, settings: Settings
) -> None:
    inputs = preprocessed(SMALL)
    outputs = prepare(settings, dict(inputs))
    first = written(settings)
    Objects().delete_folder(f"{settings.folder('matinee-1')}/prepare")
    names = part_names(settings, inputs)
    done = [prepare_part(settings, inputs, **name) for name in reversed([*names, names[0]])]
    assert gather(settings, inputs, done) == outputs
    assert written(settings) == first


def test_where_preprocess_cuts_changes_no_byte(put: Put, settings: Settings) -> None:
    ratings = put("ratings.csv", as_csv(grid(20, 20)))
    settings = replace(settings, ratings=ratings)
    whole = preprocess(settings, {"run": "matinee-1"})
    prepare(settings, dict(whole))
    objects = written(settings)
    cut = preprocess(settings, {"run": "matinee-1"}, part_rows=50)
    for split, parts in cut["ratings"].items():
        count = whole["rating_counts"][split]
        assert [part["rows"] for part in parts] == [50] * (count // 50) + [count % 50]
    prepare(settings, dict(cut))
    shards = written(settings)
    for split in SPLITS:
        numbered = sorted(name for name in shards if name.startswith(split))
        assert b"".join(shards[name] for name in numbered) == b"".join(
            body for name, body in objects.items() if name.startswith(split)
        )


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(24, [6]), (23, [5, 1]), (7, [1, 1, 2, 2]), (1, [1] * 6)],
)
def test_parts_are_divided_among_tasks_in_their_order(
    preprocessed: Write, settings: Settings, rows: int, sizes: list[int]
) -> None:
    inputs = preprocessed({"train": [7, 7, 3], "validate": [4, 1], "test": [2]})
    groups = group_parts(settings, inputs, rows=rows)
    assert [len(group) for group in groups] == sizes
    assert [name for group in groups for name in group] == part_names(settings, inputs)


def test_tasks_are_never_more_than_airflow_maps(settings: Settings) -> None:
    part: Part = {"uri": "s3://bucket/part", "rows": 5_000_000}
    inputs: Preprocessed = {
        "run": "matinee-1",
        "ratings": {"train": [part] * 6_000, "validate": [part] * 2_000, "test": [part] * 2_000},
        "customers": "",
        "videos": "",
        "report": "",
        "customer_count": 1,
        "video_count": 1,
        "rating_counts": {
            "train": 30_000_000_000,
            "validate": 10_000_000_000,
            "test": 10_000_000_000,
        },
    }
    assert len(group_parts(settings, inputs)) <= 1_000


def test_processes_share_the_parts(preprocessed: Write, settings: Settings) -> None:
    inputs = preprocessed(SMALL)
    outputs = prepare(settings, dict(inputs))
    first = written(settings)
    seen: list[tuple[str, int, int]] = []

    def progress(part: PreparedPart, done: int, total: int) -> None:
        seen.append((f"{part['split']} {part['number']}", done, total))

    Objects().delete_folder(f"{settings.folder('matinee-1')}/prepare")
    assert prepare(settings, dict(inputs), workers=2, progress=progress) == outputs
    assert written(settings) == first
    assert sorted(part for part, _, _ in seen) == [
        "test 0",
        "test 1",
        "train 0",
        "train 1",
        "train 2",
        "validate 0",
        "validate 1",
    ]
    assert [(done, total) for _, done, total in seen] == [(done, 7) for done in range(1, 8)]


def test_a_refusal_in_a_process_is_told(preprocessed: Write, settings: Settings) -> None:
    inputs = preprocessed(SMALL)
    Objects().delete(inputs["ratings"]["train"][1]["uri"])
    with pytest.raises(ObjectsError, match=r"cannot read .*train/part-00001.parquet"):
        prepare(settings, dict(inputs), workers=2)


def test_leftovers_of_an_earlier_try_go(put: Put, preprocessed: Write, settings: Settings) -> None:
    put("runs/matinee-1/prepare/test/test_7.protobuf", b"old")
    put("runs/matinee-1/prepare/train/train_00001.protobuf", b"old")
    prepare(settings, dict(preprocessed({"train": [1], "validate": [1], "test": [1]})))
    assert list(written(settings)) == [
        "test/test_0.protobuf",
        "train/train_00000.protobuf",
        "validate/validate_00000.protobuf",
    ]


def test_a_part_is_refused_that_is_gone(preprocessed: Write, settings: Settings) -> None:
    inputs = preprocessed(SMALL)
    Objects().delete(inputs["ratings"]["validate"][1]["uri"])
    with pytest.raises(ObjectsError, match=r"cannot read .*validate/part-00001.parquet"):
        prepare(settings, dict(inputs))


def test_a_part_is_refused_that_is_cut_off(
    put: Put, preprocessed: Write, settings: Settings
) -> None:
    inputs = preprocessed(SMALL)
    uri = inputs["ratings"]["train"][2]["uri"]
    put("train/part-00002.parquet", Objects().read(uri)[:-9])
    with pytest.raises(ObjectsError, match=r"cannot read .*train/part-00002.parquet"):
        prepare_part(settings, inputs, "train", 2)
    assert written(settings) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stars": [1.0, 2.0]}, "has 2 ratings, but preprocessing counted 3"),
        ({"customer": [0, 3, 1]}, "has a rating of customer 3, but there are only 0 to 2"),
        ({"customer": [0, -1, 1]}, "has a rating of customer -1"),
        ({"video": [0, 1, 4]}, "has a rating of video 4, but there are only 0 to 3"),
        ({"video": [0, None, 1]}, "or nulls in them"),
    ],
)
def test_a_part_is_refused_that_is_not_as_it_was_written(
    put: Put,
    preprocessed: Write,
    settings: Settings,
    tmp_path: Path,
    change: dict[str, list[float]],
    message: str,
) -> None:
    inputs = preprocessed(SMALL)
    types = {"customer": pa.int32(), "video": pa.int32(), "stars": pa.float32()}
    rows = len(next(iter(change.values())))
    lists = {name: [1, 2, 1][:rows] for name in types} | change
    path = tmp_path / "changed.parquet"
    pq.write_table(pa.table({name: pa.array(lists[name], types[name]) for name in types}), path)
    put("train/part-00002.parquet", path.read_bytes())
    with pytest.raises(ObjectsError) as refusal:
        prepare_part(settings, inputs, "train", 2)
    assert message in str(refusal.value)
    assert inputs["ratings"]["train"][2]["uri"] in str(refusal.value)
    assert written(settings) == {}


def test_other_columns_are_refused(
    put: Put, preprocessed: Write, settings: Settings, tmp_path: Path
) -> None:
    inputs = preprocessed(SMALL)
    put("train/part-00002.parquet", parquet({"customer": np.arange(3)}, tmp_path))
    with pytest.raises(
        ObjectsError, match=r"has the columns customer int64, or nulls in them, not"
    ):
        prepare_part(settings, inputs, "train", 2)


def test_side_columns_are_passed_over(
    put: Put, preprocessed: Write, settings: Settings, tmp_path: Path
) -> None:
    inputs = preprocessed(SMALL)
    prepare_part(settings, inputs, "validate", 0)
    objects = written(settings)
    put("validate/part-00000.parquet", parquet({"age": np.arange(4), **columns(0, 4)}, tmp_path))
    prepare_part(settings, inputs, "validate", 0)
    assert written(settings) == objects


def test_an_empty_part_is_refused(preprocessed: Write, settings: Settings) -> None:
    inputs = preprocessed({"train": [2, 0], "validate": [1], "test": [1]})
    with pytest.raises(RatingsError, match=r"part-00001.parquet is a part of train without rat"):
        prepare(settings, dict(inputs))
    assert written(settings) == {}


def test_parts_must_be_all_ratings(preprocessed: Write, settings: Settings) -> None:
    inputs = preprocessed(SMALL)
    inputs["rating_counts"]["train"] += 1
    with pytest.raises(ObjectsError, match=r"the 3 parts of train have 17 .* counted 18"):
        prepare(settings, dict(inputs))
    assert written(settings) == {}


def test_every_instance_needs_a_rating(preprocessed: Write, settings: Settings) -> None:
    inputs = preprocessed({"train": [2, 1], "validate": [1], "test": [1]})
    with pytest.raises(RatingsError, match=r"3 training ratings are too few for .* 4"):
        prepare(on(settings, 4), dict(inputs))
    prepare(on(settings, 3), dict(inputs))
    assert sum(name.startswith("train/") for name in written(settings)) == 3


def test_nothing_is_handed_on_before_all_parts_are_there(
    preprocessed: Write, settings: Settings
) -> None:
    inputs = preprocessed(SMALL)
    done = [prepare_part(settings, inputs, **name) for name in part_names(settings, inputs)]
    with pytest.raises(ObjectsError, match=r"test/part-00001.parquet has 10001 .* none of them"):
        gather(settings, inputs, done[:-1])
    with pytest.raises(ObjectsError, match=r"preprocessing does not know: \[\('test', 2\)\]"):
        gather(settings, inputs, [*done, {"split": "test", "number": 2, "rows": 1}])
    with pytest.raises(ObjectsError, match=r"has 7 ratings, but 6 of them were prepared"):
        gather(settings, inputs, [*done, {"split": "train", "number": 0, "rows": 6}])
    Objects().delete(f"{settings.folder('matinee-1')}/prepare/test/test_2.protobuf")
    with pytest.raises(ObjectsError, match=r"prepare/test/test_2.protobuf is gone"):
        gather(settings, inputs, done)
