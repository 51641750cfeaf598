"""A preprocess step on Spark, run with the interpreter of an environment that has it.

``in_spark.py SETTINGS RUN PART_ROWS`` prints what the step returned; settings and result are JSON.
"""

from __future__ import annotations

import json
import sys

from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings


def main() -> None:
    settings, run, part_rows = sys.argv[1:]
    done = preprocess(
        Settings.from_parameters(json.loads(settings)), {"run": run}, part_rows=int(part_rows)
    )
    print(json.dumps(done))


if __name__ == "__main__":
    main()
