"""A prepare step on Spark, run with the interpreter of an environment that has it.

``prepare_in_spark.py SETTINGS PREPROCESSED`` prints what the step returned, all as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from matinee.workflow.settings import Settings
from matinee.workflow.spark_prepare import prepare_on_spark
from tests.workflow.local_spark import local_spark


def main() -> None:
    settings, preprocessed = (json.loads(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        session = local_spark(Path(folder))
        done = prepare_on_spark(session, Settings.from_parameters(settings), preprocessed)
        session.stop()
    print(json.dumps(done))


if __name__ == "__main__":
    main()
