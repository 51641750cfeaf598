"""One of matinee's steps, as a task of the workflow calls it, over S3.

python -m benchmarks.data.workers.steps preprocess INPUTS ANSWER
python -m benchmarks.data.workers.steps prepare INPUTS ANSWER
python -m benchmarks.data.workers.steps recommend_all INPUTS ANSWER
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.recommend import recommend_all
from matinee.workflow.settings import Settings

STEPS: Mapping[str, Callable[[Settings, dict[str, Any]], Any]] = {
    "preprocess": preprocess,
    "prepare": prepare,
    "recommend_all": recommend_all,
}


def main() -> None:
    """Run the step on the parameters and inputs in a file; write what it hands on."""
    step, inputs, answer = sys.argv[1:]
    given = json.loads(Path(inputs).read_text())
    settings = Settings.from_parameters(given["parameters"])
    Path(answer).write_text(json.dumps(STEPS[step](settings, given["inputs"])))


if __name__ == "__main__":
    main()
