"""One of matinee's steps, as a task of the workflow calls it, over S3.

python -m benchmarks.data.workers.steps preprocess INPUTS ANSWER
python -m benchmarks.data.workers.steps prepare INPUTS ANSWER
python -m benchmarks.data.workers.steps recommend_all INPUTS ANSWER
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from matinee.workflow.settings import Settings

MODULES = {"preprocess": "preprocess", "prepare": "prepare", "recommend_all": "recommend"}


def main() -> None:
    """Run the step on the parameters and inputs in a file; write what it hands on."""
    step, inputs, answer = sys.argv[1:]
    given = json.loads(Path(inputs).read_text())
    settings = Settings.from_parameters(given["parameters"])
    # As a task does: it loads what its own step needs.
    run = getattr(import_module(f"matinee.workflow.{MODULES[step]}"), step)
    Path(answer).write_text(json.dumps(run(settings, given["inputs"])))


if __name__ == "__main__":
    main()
