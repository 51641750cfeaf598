"""How much memory a training job takes, by solver and number of records.

    python -m benchmarks.fm.memory [--quick]

Real jobs of the container train and test on the reference shape, on a part of its records, on all
of them, and on all of them several times. What counts is memory of the process's own (RssAnon):
mapped files, such as the decoded records, are the system's to keep or to drop. Prints the peak and
what each record added to it.

``adam``, and so the algorithm ``factorization-machines``, should need what the formula of
``docs/factorization-machines.md`` says, whatever the number of records: the program ends with 1 if
it needs a tenth more.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from tests.fm.container.processes import Job

from benchmarks.fm.data import CUSTOMERS, TRAIN_RATINGS, VIDEOS, Ratings, reference_shape
from benchmarks.tables import markdown
from matinee.recordio import encode

SEED = 20_240_607
POLL_SECONDS = 0.002
MEGABYTE = 1e6
FEATURES = CUSTOMERS + VIDEOS
BATCH = 1000
TOLERANCE = 0.1
SOLVERS: Mapping[str, Mapping[str, str]] = {
    "adam": {"epochs": "2", "mini_batch_size": str(BATCH)},
    "sgd": {"epochs": "2", "num_models": "1"},
    "mcmc": {"epochs": "3", "burn_in": "1"},
}


def job(folder: Path, solver: str, num_factors: int, ratings: Ratings, features: int) -> Job:
    """Lay out a training job."""
    given = {
        "solver": solver,
        "feature_dim": str(features),
        "num_factors": str(num_factors),
        "predictor_type": "regressor",
        **SOLVERS[solver],
    }
    laid_out = Job(folder, given, algorithm="matinee-fm")
    for channel in ("train", "test"):
        keys = ratings.keys() % features
        starts = np.arange(0, keys.size + 1, 2)
        parts = (np.ones(keys.size, dtype=np.float32), keys.ravel(), starts)
        matrix = csr_matrix(parts, shape=(len(keys), features))
        laid_out.add(channel, {"records.pbr": encode(matrix, ratings.stars)})
    return laid_out


def formula(feature_dim: int, num_factors: int, mini_batch_size: int, values: int) -> int:
    """Return the bytes that ``adam`` takes on sparse records, beside those of the process itself.

    Parameters
    ----------
    feature_dim, num_factors, mini_batch_size
        The hyperparameters.
    values
        Stored values of a record.
    """
    width = -(-num_factors // 16) * 16
    trained = feature_dim * (4 * (3 * width + 16) + 4)
    model = feature_dim * (4 * (num_factors + 1) + num_factors)
    in_batch = mini_batch_size * values
    batch = min(feature_dim, in_batch // 2) * (4 * (width + 16) + 4) + 4 * in_batch
    return trained + model + batch


def peak(laid_out: Job) -> int:
    """Run a job; return the most bytes that were its own at a time.

    Raises
    ------
    RuntimeError
        If the job failed.
    """
    most = 0
    with laid_out.start() as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            most = max(most, 1024 * int(fields.get("RssAnon", "0 kB").split()[0]))
            time.sleep(POLL_SECONDS)
    if process.returncode != 0:
        raise RuntimeError(laid_out.failure.read_text())
    return most


def measure(solver: str, num_factors: int, ratings: Ratings, features: int) -> int:
    """Run a job in a folder of its own; return the most bytes that were its own at a time."""
    with tempfile.TemporaryDirectory(prefix="matinee-memory-") as scratch:
        return peak(job(Path(scratch), solver, num_factors, ratings, features))


def main() -> int:
    """Measure, print the table, return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="adam on few records")
    quick = parser.parse_args().quick
    ratings, _ = reference_shape(SEED)
    few = ratings.take(np.arange(100))
    # The first job of all may have to compile the kernels.
    for _ in range(2):
        process = measure("adam", 1, few, 200)
    whole = TRAIN_RATINGS // 10 if quick else TRAIN_RATINGS
    rows, worst = [], 0.0
    for solver in ("adam",) if quick else SOLVERS:
        for num_factors in (8, 64):
            peaks = {}
            for records in (whole // 4, whole, 4 * whole):
                part = ratings.take(np.arange(records) % TRAIN_RATINGS)
                peaks[records] = measure(solver, num_factors, part, FEATURES)
            expected = process + formula(FEATURES, num_factors, BATCH, values=2)
            if solver == "adam":
                worst = max(worst, *(measured / expected - 1 for measured in peaks.values()))
            (_, less), *_, (_, more) = peaks.items()
            slope = (more - less) / (4 * whole - whole // 4)
            rows.append(
                [
                    f"`{solver}`",
                    str(num_factors),
                    *(f"{measured / MEGABYTE:.0f}" for measured in peaks.values()),
                    f"{slope:.1f}",
                    f"{expected / MEGABYTE:.0f}" if solver == "adam" else "",
                ]
            )
    sizes = [f"MB, {records:,} records" for records in peaks]
    print(markdown(["solver", "k", *sizes, "bytes a record", "formula, MB"], rows))
    print(f"the process itself: {process / MEGABYTE:.0f} MB")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
