"""The script of the Glue job that `matinee.workflow.engines.glue` starts: the step, on its Spark.

Plain Spark: any interpreter that has PySpark and matinee runs it. Other arguments, of which Glue
gives some of its own, are passed over. What the workflow refuses is an answer, and the job
succeeds; anything else fails it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from matinee.workflow.engines.glue import ANSWER, REQUEST
from matinee.workflow.errors import WorkflowError
from matinee.workflow.objects import Objects
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings


def main(arguments: Sequence[str]) -> None:
    """Do what the object that is named as `--request` asks; write the answer beside it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(REQUEST, required=True, help="URI of what is asked")
    uri: str = parser.parse_known_args(arguments)[0].request
    objects = Objects()
    request = objects.read_json(uri)
    answer: dict[str, Any]
    try:
        settings = Settings.from_parameters({**request["settings"], "engine": "spark"})
        inputs = {"run": request["run"]}
        answer = {"outputs": preprocess(settings, inputs, part_rows=request["part_rows"])}
    except WorkflowError as error:
        answer = {"refused": type(error).__name__, "message": str(error)}
    objects.write_json(answer, f"{uri.rpartition('/')[0]}/{ANSWER}")


if __name__ == "__main__":
    main(sys.argv[1:])
