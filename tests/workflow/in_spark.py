"""A preprocess step on Spark, run with the interpreter of an environment that has it.

``in_spark.py SETTINGS RUN PART_ROWS`` prints what the step returned; settings and result are JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.workflow.local_spark import local_spark


def main() -> None:
    settings, run, part_rows = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        session = local_spark(Path(folder))
        done = preprocess(
            Settings.from_parameters(json.loads(settings)), {"run": run}, part_rows=int(part_rows)
        )
        session.stop()
    print(json.dumps(done))


if __name__ == "__main__":
    main()
