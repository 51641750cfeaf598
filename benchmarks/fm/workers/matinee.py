"""matinee itself: the solvers ``adam``, ``sgd`` and ``mcmc``, by their own hyperparameters."""

import numpy as np

from benchmarks.fm.workers.task import Answer, Stopwatch, Task, one_hot, rmse, serve, timed
from matinee.fm import solvers
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.fm.training import BatchResult, EpochResult

# Enough to have every kernel compiled and loaded before anything is measured.
WARM_UP_ROWS = 100


class Epochs:
    """Measures each epoch, the first one with all that comes before it."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_batch(self, result: BatchResult) -> None:
        pass

    def on_epoch(self, result: EpochResult) -> None:  # noqa: ARG002 (it may look at nothing)
        self.watch.lap()


def work(task: Task) -> Answer:
    features, stars = one_hot(task.data, "train")
    threads = {} if task.method == "adam" else {"threads": task.threads}
    given = MatineeHyperparameters.parse(
        {
            "solver": task.method,
            "predictor_type": "regressor",
            "feature_dim": features.shape[1],
            "num_factors": task.num_factors,
            "epochs": task.epochs,
            **threads,
            **task.options,
        }
    )
    rng = np.random.default_rng(task.seed)
    solvers.train(given, features[:WARM_UP_ROWS], stars[:WARM_UP_ROWS], rng)
    epochs = Epochs()
    learned, training = timed(
        lambda: solvers.train(given, features, stars, rng, observer=epochs),
    )
    test, test_stars = one_hot(task.data, "test")
    laps = epochs.watch.laps
    return Answer(laps[1:] or laps, training, rmse(learned.predict(test), test_stars))


if __name__ == "__main__":
    serve(work)
