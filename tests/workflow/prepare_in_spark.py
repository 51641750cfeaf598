"""A prepare step on Spark, run with the interpreter of an environment that has it.

``prepare_in_spark.py SETTINGS PREPROCESSED`` prints what the step returned, all as JSON.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

from matinee.workflow.settings import Settings
from matinee.workflow.spark_prepare import prepare_on_spark


def main() -> None:
    settings, preprocessed = (json.loads(argument) for argument in sys.argv[1:])
    session = SparkSession.builder.master("local[2]").getOrCreate()
    done = prepare_on_spark(session, Settings.from_parameters(settings), preprocessed)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
