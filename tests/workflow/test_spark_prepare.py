"""The prepare step on a real Spark, and on this machine: the same objects."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import matinee
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import prepare
from matinee.workflow.settings import Settings
from tests.environments import interpreter_of
from tests.workflow.splits import RUN, Put, write_parts, written

PROGRAM = Path(__file__).with_name("prepare_in_spark.py")
REQUIREMENTS = Path(__file__).with_name("requirements-spark.txt")

# Where matinee and these tests are.
PATHS = (Path(matinee.__file__).parents[1], Path(__file__).parents[2])


def test_spark_writes_the_same_objects(put: Put, bucket: str, tmp_path: Path) -> None:
    python = interpreter_of("MATINEE_SPARK", "Spark", REQUIREMENTS)
    values = {"output": f"s3://{bucket}/runs", "training_instance_count": 2}
    settings = Settings.from_parameters(values)
    rows = {"train": [5, 5, 2], "validate": [3, 1], "test": [20_000, 4]}
    preprocessed = write_parts(put, tmp_path, rows)
    outputs = prepare(settings, dict(preprocessed))
    objects = written(settings)
    Objects().delete_folder(f"{settings.folder(RUN)}/prepare")
    done = subprocess.run(  # noqa: S603 - our own program
        [python, PROGRAM, json.dumps(values), json.dumps(preprocessed)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
            # Which Python the executors start: by default any that is on the PATH.
            "PYSPARK_PYTHON": str(python),
        },
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == outputs
    assert written(settings) == objects
