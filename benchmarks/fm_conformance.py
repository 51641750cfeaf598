"""Compare training with a published run of SageMaker's own Factorization Machines.

The run: regressor on MovieLens 100K's classic u1 split in file order, num_factors 64,
mini_batch_size 1000, 50 epochs, everything else by default (the saved output of
Recommendation_System.ipynb in
github.com/Raghul-G2002/Recommendation-System-AWS-Factorization-Machines, April 2023). Prints the
real and our train mse at some epochs and the test rmse; exits with 1 if one is more than 1 % off.

    python benchmarks/fm_conformance.py

MovieLens 100K is fetched as `matinee data movielens-100k` does, into the same cache.
"""

import argparse
import io
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from matinee.datasets import movielens
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.training import BatchResult, EpochResult, evaluate, train

USERS, MOVIES = 943, 1682
TEST_RATINGS = 20_000
REAL_TRAIN_MSE = {
    0: 3.3013,
    1: 1.2349,
    4: 1.1846,
    9: 1.1135,
    19: 1.0232,
    29: 0.9650,
    39: 0.9211,
    49: 0.8867,
}
REAL_TEST_RMSE = 1.00026
TOLERANCE = 0.01


@dataclass
class TrainMse:
    """Keeps the train mse of each epoch."""

    values: list[float] = field(default_factory=list)

    def on_batch(self, result: BatchResult) -> None:
        pass

    def on_epoch(self, result: EpochResult) -> None:
        self.values.append(result.metrics["mse"])


def read_split(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return u1.base and u1.test as (n, 3): user, movie, stars.

    u1.test is the first fifth of u.data and u1.base the rest, each sorted by user and movie.
    """
    ratings = np.loadtxt(io.BytesIO(data), dtype=np.int64, delimiter="\t", usecols=(0, 1, 2))
    test, base = (
        part[np.lexsort((part[:, 1], part[:, 0]))]
        for part in (ratings[:TEST_RATINGS], ratings[TEST_RATINGS:])
    )
    return base, test


def one_hot(ratings: NDArray[np.int64]) -> scipy.sparse.csr_matrix:
    """Return users, then movies, as CSR (n, 2625)."""
    keys = np.stack([ratings[:, 0] - 1, USERS + ratings[:, 1] - 1], axis=1)
    return scipy.sparse.csr_matrix(
        (
            np.ones(keys.size, dtype=np.float32),
            keys.ravel(),
            np.arange(0, keys.size + 1, 2),
        ),
        shape=(len(ratings), USERS + MOVIES),
    )


def main() -> int:
    """Train with each seed, print the table, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="how many runs (default: 5)")
    arguments = parser.parse_args()

    home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
    base, test = read_split(movielens.load(home / "cache", report=print).ratings)
    given = Hyperparameters(
        feature_dim=USERS + MOVIES,
        num_factors=64,
        predictor_type="regressor",
        epochs=50,
        mini_batch_size=1000,
    )
    runs = []
    for seed in range(arguments.seeds):
        log = TrainMse()
        model = train(given, one_hot(base), base[:, 2], np.random.default_rng(seed), log)
        rmse = evaluate(model, one_hot(test), test[:, 2])["rmse"]
        runs.append([*(log.values[epoch] for epoch in REAL_TRAIN_MSE), rmse])

    names = [f"train mse, epoch {epoch}" for epoch in REAL_TRAIN_MSE] + ["test rmse"]
    real = np.array([*REAL_TRAIN_MSE.values(), REAL_TEST_RMSE])
    mean, spread = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1 if len(runs) > 1 else 0)
    deviation = mean / real - 1
    print(f"{'':20} {'SageMaker':>10} {'matinee':>10} {'sd':>8} {'off by':>8}")
    for row in zip(names, real, mean, spread, deviation, strict=True):
        print("{:20} {:10.4f} {:10.4f} {:8.4f} {:8.2%}".format(*row))
    worst = float(np.abs(deviation).max())
    print(f"largest deviation {worst:.2%} over {len(runs)} seeds; allowed {TOLERANCE:.0%}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
