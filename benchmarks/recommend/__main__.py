"""Recommendations for all customers of simulated reviews: how many a second, in how much memory.

    python -m benchmarks.recommend                                  scale 1, 64 factors
    python -m benchmarks.recommend --scale 0.1 --factors 8
    python -m benchmarks.recommend --docs docs/recommendations.md   also writes the table

The reviews are simulated (`matinee data simulate`) and preprocessed as the workflow does; the model
is trained on their training split for two epochs, which is enough to rank by. `recommend_all` is a
process of its own, with its imports, over a real S3 server on the same machine.
"""

import argparse
import io
import json
import os
import platform
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import meter
from benchmarks.sagemaker.servers import object_store
from benchmarks.tables import markdown, rewrite, short
from matinee.cli.stores import S3
from matinee.datasets.simulated.simulation import Simulation
from matinee.fm import FactorizationMachine
from matinee.stack.service import REGION
from matinee.workflow.features import FeatureSpace, pair_blocks
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import read_ratings

SEED = 1
BUCKET = "bench"
RUN = "matinee-bench"


def train(objects: Objects, preprocessed: Preprocessed, factors: int, folder: Path) -> str:
    """Train on the training split and upload the model; return its URI."""
    counts = preprocessed["customer_count"], preprocessed["video_count"]
    space = FeatureSpace(pair_blocks(*counts))
    path = folder / "part.parquet"
    machine = FactorizationMachine(
        num_factors=factors, epochs=2, factors_lr=0.001, linear_lr=0.003, random_state=SEED
    )
    [part] = preprocessed["ratings"]["train"]
    objects.download(part["uri"], path)
    rated = read_ratings(path, part["uri"])
    machine.fit(space.encode(rated.customer, rated.video), rated.stars)
    machine.save(folder / "model_algo-1")
    with tarfile.open(folder / "model.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(folder / "model_algo-1", "model_algo-1")
    uri = f"s3://{BUCKET}/runs/{RUN}/model.tar.gz"
    objects.upload(folder / "model.tar.gz", uri)
    return uri


def main() -> None:
    """Measure, print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown with bench marks")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matinee-bench-")))
        (folder / "s3").mkdir()
        s3, keys = stack.enter_context(object_store(folder / "s3"))
        environment = {
            "AWS_ENDPOINT_URL_S3": s3.address,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
        }
        objects = Objects(s3.client())
        simulation = Simulation(arguments.scale, SEED, os.cpu_count() or 1)
        reviews = simulation.file(0, 1, compressed=True, progress=lambda _: None)
        ratings = f"s3://{BUCKET}/{simulation.name}.tsv.gz"
        S3(s3.client()).write(io.BufferedReader(reviews), ratings)
        parameters = {"ratings": ratings, "output": f"s3://{BUCKET}/runs"}

        def step(name: str, inputs: Any) -> meter.Run:
            given = folder / "inputs.json"
            given.write_text(json.dumps({"parameters": parameters, "inputs": inputs}))
            words = [sys.executable, "-m", "benchmarks.data.workers.steps", name, str(given)]
            return meter.run(words, environment)

        preprocessed: Preprocessed = step("preprocess", {"run": RUN}).answer
        model = train(objects, preprocessed, arguments.factors, folder)
        done = step("recommend_all", {"preprocessed": preprocessed, "trained": {"model": model}})
        size = len(objects.read(done.answer["recommendations"]))
    customers, videos = preprocessed["customer_count"], preprocessed["video_count"]
    cost = done.cost
    row = [
        f"{customers:,} x {videos:,}",
        str(arguments.factors),
        short(cost.seconds),
        f"{customers / cost.seconds:,.0f}",
        f"{cost.peak_bytes / 1e6:,.0f}",
        f"{done.answer['rows']:,}",
        f"{size / 1e6:,.0f}",
        f"{done.answer['agreement']:.2f}",
    ]
    header = [
        "customers x videos",
        "factors",
        "seconds",
        "customers a second",
        "peak MB",
        "rows",
        "MB of Parquet",
        "agreement of reasons",
    ]
    heading = (
        f"Scale {arguments.scale:g}, once, on {os.cpu_count()} cores, NumPy {np.__version__},"
        f" Python {platform.python_version()}, load average {done.load:.1f} at the end."
    )
    text = f"{heading}\n\n{markdown(header, [row])}"
    print(text)
    if arguments.docs:
        rewrite(arguments.docs, "recommend", text)


if __name__ == "__main__":
    main()
