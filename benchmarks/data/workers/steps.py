"""matinee's preprocess and prepare steps, as the workflow calls them, over S3.

python -m benchmarks.data.workers.steps RATINGS OUTPUT ANSWER
"""

import json
import sys
import time
from pathlib import Path

from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings

RUN = "matinee-benchmark"


def main() -> None:
    """Run both steps; write how many ratings there are and the seconds of each step."""
    ratings, output, answer = sys.argv[1:]
    settings = Settings.from_parameters({"ratings": ratings, "output": output})
    began = time.perf_counter()
    preprocessed = preprocess(settings, {"run": RUN})
    between = time.perf_counter()
    prepared = prepare(settings, dict(preprocessed))
    ended = time.perf_counter()
    counts = {
        "customers": preprocessed["customer_count"],
        "videos": preprocessed["video_count"],
        "ratings": sum(prepared["rating_counts"].values()),
    }
    seconds = {"preprocess": between - began, "prepare": ended - between}
    Path(answer).write_text(json.dumps({"counts": counts, "seconds": seconds}))


if __name__ == "__main__":
    main()
