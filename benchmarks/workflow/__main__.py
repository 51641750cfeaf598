"""What features add: MovieLens-100K through the workflow's own steps, with and without them.

    python -m benchmarks.workflow                   each list of features, preset bayesian
    python -m benchmarks.workflow --docs README.md  also writes the table between its marks

Every run preprocesses, prepares, trains and transforms as the DAG does, with a real S3 and the
local SageMaker. The test split is the same for all; its errors are compared rating by rating, and
the interval of a difference is that of a bootstrap over the test ratings.

MovieLens-100K is fetched as ``matinee data movielens-100k`` does, into the same cache.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.data.jobs import Jobs, local_sagemaker
from benchmarks.sagemaker.servers import REGION, ROLE, Place, object_store
from benchmarks.tables import markdown, rewrite
from matinee.datasets import movielens
from matinee.workflow.evaluate import read_predictions
from matinee.workflow.objects import Objects
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings

FEATURES: tuple[tuple[str, ...], ...] = (
    (),
    ("month",),
    ("day",),
    ("video:product_category",),
    ("history",),
    ("history", "raters", "day", "video:product_category"),
)
BUCKET = "bench"
RESAMPLES = 2_000
SEED = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A run: the width of its records, its errors and how long training took."""

    features: Sequence[str]
    width: int
    seconds: float
    errors: NDArray[np.float64]

    @property
    def rmse(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.errors))))


def measure(jobs: Jobs, ratings: str, features: Sequence[str], preset: str) -> Measured:
    """Run the steps with some features; errors are those of the test split, in its order."""
    settings = Settings.from_parameters(
        {
            "ratings": ratings,
            "output": f"s3://{BUCKET}/runs",
            "role": ROLE,
            "preset": preset,
            "features": list(features),
        }
    )
    run = f"matinee-{preset}-{FEATURES.index(tuple(features))}"
    preprocessed = preprocess(settings, {"run": run})
    prepared = prepare(settings, dict(preprocessed))
    began = time.perf_counter()
    model = jobs.train(settings, prepared).answer
    seconds = time.perf_counter() - began
    predicted: Any = jobs.predict(settings, prepared, model).answer
    scores = read_predictions(Objects(), predicted, prepared["test_chunks"])
    stars = np.concatenate([_stars(part["uri"]) for part in preprocessed["ratings"]["test"]])
    return Measured(features, prepared["feature_dim"], seconds, scores - stars)


def interval(before: Measured, after: Measured) -> tuple[float, float]:
    """Return between what bounds the RMSE falls, with 95 % of bootstrap samples."""
    rng = np.random.default_rng(SEED)
    squares = np.square(np.stack([before.errors, after.errors]))
    falls = []
    for _ in range(RESAMPLES):
        means = squares[:, rng.integers(0, squares.shape[1], squares.shape[1])].mean(axis=1)
        falls.append(np.sqrt(means[0]) - np.sqrt(means[1]))
    low, high = np.percentile(falls, [2.5, 97.5])
    return float(low), float(high)


def _stars(uri: str) -> NDArray[np.float32]:
    with tempfile.NamedTemporaryFile() as file:
        Objects().download(uri, Path(file.name))
        stars: NDArray[np.float32] = pq.read_table(file.name)["stars"].to_numpy()
        return stars


def table(runs: Sequence[Measured]) -> str:
    """Lay the runs out beside the first one, which has no features."""
    rows: list[list[str]] = []
    for run in runs:
        low, high = interval(runs[0], run)
        rows.append(
            [
                ", ".join(f"`{name}`" for name in run.features) or "none",
                f"{run.width:,}",
                f"{run.rmse:.4f}",
                f"{runs[0].rmse - run.rmse:+.4f} ({low:+.4f} to {high:+.4f})" if rows else "",
                f"{run.seconds:.0f} s",
            ]
        )
    header = ["`features`", "`feature_dim`", "test RMSE", "less by (95 %)", "training job"]
    return markdown(header, rows)


def main() -> None:
    """Measure, print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="bayesian", help="  [default: bayesian]")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown with bench marks")
    arguments = parser.parse_args()
    home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
    reviews = movielens.load(home / "cache", report=print).reviews()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matinee-features-")))
        (folder / "s3").mkdir()
        s3, keys = stack.enter_context(object_store(folder / "s3"))
        os.environ.update(
            AWS_ENDPOINT_URL_S3=s3.address,
            AWS_ACCESS_KEY_ID=keys.access_key_id,
            AWS_SECRET_ACCESS_KEY=keys.secret_access_key,
            AWS_DEFAULT_REGION=REGION,
        )
        jobs = stack.enter_context(local_sagemaker(Place(folder, keys, s3.address, None)))
        s3.client().put_object(Bucket=BUCKET, Key="ratings/r.tsv.gz", Body=reviews)
        runs = []
        for features in FEATURES:
            runs.append(
                measure(jobs, f"s3://{BUCKET}/ratings/r.tsv.gz", features, arguments.preset)
            )
            print(f"{', '.join(features) or 'none'}: test RMSE {runs[-1].rmse:.4f}", flush=True)
    text = table(runs)
    print(f"\n{text}")
    if arguments.docs:
        rewrite(arguments.docs, "features", text)


if __name__ == "__main__":
    main()
