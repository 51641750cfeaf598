"""A Glue job's script on Spark, as Glue runs it: with a session that is there, and arguments.

``glue_in_spark.py SCRIPT ARGUMENT...``
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from pathlib import Path

from tests.workflow.local_spark import local_spark


def main() -> None:
    script, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        session = local_spark(Path(folder))
        sys.argv = [script, *arguments]
        runpy.run_path(script, run_name="__main__")
        session.stop()


if __name__ == "__main__":
    main()
