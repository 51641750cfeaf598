"""What a Spark task of the prepare step does, without Spark: numbers in, written parts out."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import PreparedPart, gather, part_names, prepare
from matinee.workflow.settings import Settings
from matinee.workflow.spark_prepare import prepare_numbered
from tests.workflow.splits import Put, write_parts, written

SMALL = {"train": [5, 5, 2], "validate": [3, 1], "test": [4]}


@pytest.fixture
def settings(bucket: str) -> Settings:
    return Settings.from_parameters({"output": f"s3://{bucket}/runs"})


def numbered(*places: int) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(places, pa.int64())})


def test_tasks_write_the_same_objects(put: Put, settings: Settings, tmp_path: Path) -> None:
    inputs = write_parts(put, tmp_path, SMALL)
    outputs = prepare(settings, dict(inputs))
    objects = written(settings)
    Objects().delete_folder(f"{settings.folder('matinee-1')}/prepare")
    names = part_names(settings, inputs)
    done = []
    for batches in ([numbered(5), numbered(2, 0)], [numbered(1, 4)], [numbered(3)]):
        for batch in prepare_numbered(settings, inputs, names, batches):
            done += cast("list[PreparedPart]", batch.to_pylist())
    assert gather(settings, inputs, done) == outputs
    assert written(settings) == objects


def test_a_task_refuses_what_prepare_does(put: Put, settings: Settings, tmp_path: Path) -> None:
    inputs = write_parts(put, tmp_path, SMALL)
    names = part_names(settings, inputs)
    Objects().delete(inputs["ratings"]["train"][1]["uri"])
    with pytest.raises(ObjectsError, match=r"cannot read .*train/part-00001.parquet"):
        list(prepare_numbered(settings, inputs, names, [numbered(1)]))
