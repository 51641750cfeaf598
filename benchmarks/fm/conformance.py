"""Compare training with published runs of SageMaker's own Factorization Machines.

    python -m benchmarks.fm.conformance

All are on MovieLens-100K and print their log. Each is repeated with several seeds and with both
kernels: that of two one-hot features, and the general one, to which every record shows a third
feature that is 0. Exits with 1 if a mean is more than 1 % off.

- regressor: the classic u1 split in file order (Recommendation_System.ipynb in
  github.com/Raghul-G2002/Recommendation-System-AWS-Factorization-Machines, April 2023)
- classifier in file order: is it 4 stars or 5, the classic ua split
  (Recommendation-Machine-Explicit.ipynb in github.com/linahovanessian/aws-sagemaker-notebooks,
  December 2021)
- classifier, shuffled: the same split in random order, mean of two runs
  (Factorization-Machines-Movielens.ipynb in github.com/jhenweihuang/smworkshop20180831 and
  github.com/adrien50/Movie-recommendation-on-Amazon-SageMaker, 2018 and 2020)
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from benchmarks.fm.data import MOVIELENS_MOVIES, MOVIELENS_USERS, Ratings, read_movielens
from benchmarks.tables import markdown, rewrite
from matinee.fm.hyperparameters import Hyperparameters, PredictorType
from matinee.fm.training import BatchResult, EpochResult, evaluate, train

TOLERANCE = 0.01
RATINGS_OF_U1_TEST = 20_000
RATINGS_OF_UA_TEST = 10
LIKED = 4
TEST = -1
MSE, RMSE = "mse", "rmse"
ACCURACY, CROSS_ENTROPY, F1 = (
    "binary_classification_accuracy",
    "binary_classification_cross_entropy",
    "binary_f_1.000",
)

Split = tuple[Ratings, Ratings]


@dataclass(frozen=True, slots=True)
class Published:
    """A run whose log is public.

    Attributes
    ----------
    name
        For the table.
    predictor_type, mini_batch_size, epochs
        What it was given, besides 64 factors; all else was left at its default.
    split
        Ratings in the order of u.data, and a seed -> training and test ratings.
    metrics
        (Epoch or ``TEST``, metric) -> its value.
    """

    name: str
    predictor_type: PredictorType
    mini_batch_size: int
    epochs: int
    split: Callable[[Ratings, int], Split]
    metrics: Mapping[tuple[int, str], float]


class Log:
    """Keeps the train metrics of each epoch."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def on_batch(self, result: BatchResult) -> None:
        pass

    def on_epoch(self, result: EpochResult) -> None:
        self.metrics.append(result.metrics)


def u1(ratings: Ratings, _: int) -> Split:
    """u1.test is the first fifth of u.data, u1.base the rest, each by user and movie."""
    rows = np.arange(len(ratings.stars))
    return in_file_order(ratings, rows >= RATINGS_OF_U1_TEST)


def ua(ratings: Ratings, _: int) -> Split:
    """ua.test is the first ten ratings of each user in u.data, ua.base the rest.

    The published run had columns for the movies of ua.base alone: tests of others are left out.
    """
    order = np.argsort(ratings.pairs[:, 0], kind="stable")
    users = ratings.pairs[order, 0]
    place = np.arange(len(users)) - np.searchsorted(users, users)
    is_train = np.empty(len(users), dtype=bool)
    is_train[order] = place >= RATINGS_OF_UA_TEST
    base, test = in_file_order(ratings, is_train)
    known = np.isin(test.pairs[:, 1], base.pairs[:, 1])
    return base, test.take(np.flatnonzero(known))


def shuffled_ua(ratings: Ratings, seed: int) -> Split:
    base, test = ua(ratings, seed)
    return base.take(np.random.default_rng(seed).permutation(len(base.stars))), test


def in_file_order(ratings: Ratings, is_train: NDArray[np.bool_]) -> Split:
    base, test = (ratings.take(np.flatnonzero(rows)) for rows in (is_train, ~is_train))
    return tuple(part.take(np.lexsort(part.pairs.T[::-1])) for part in (base, test))  # type: ignore[return-value]


PUBLISHED = (
    Published(
        "regressor",
        "regressor",
        1000,
        50,
        u1,
        {
            (0, MSE): 3.3013,
            (1, MSE): 1.2349,
            (4, MSE): 1.1846,
            (9, MSE): 1.1135,
            (19, MSE): 1.0232,
            (29, MSE): 0.9650,
            (39, MSE): 0.9211,
            (49, MSE): 0.8867,
            (TEST, RMSE): 1.00026,
        },
    ),
    Published(
        "classifier in file order",
        "binary_classifier",
        200,
        30,
        ua,
        {
            (0, CROSS_ENTROPY): 0.68580,
            (1, CROSS_ENTROPY): 0.67316,
            (2, CROSS_ENTROPY): 0.66334,
            (5, CROSS_ENTROPY): 0.64364,
            (9, CROSS_ENTROPY): 0.62738,
            (19, CROSS_ENTROPY): 0.60133,
            (29, CROSS_ENTROPY): 0.58278,
            (TEST, CROSS_ENTROPY): 0.60396,
            (0, ACCURACY): 0.55139,
            (1, ACCURACY): 0.56636,
            (2, ACCURACY): 0.58645,
            (5, ACCURACY): 0.63840,
            (9, ACCURACY): 0.67030,
            (19, ACCURACY): 0.70327,
            (29, ACCURACY): 0.72019,
            (TEST, ACCURACY): 0.69347,
        },
    ),
    Published(
        "classifier, shuffled",
        "binary_classifier",
        1000,
        100,
        shuffled_ua,
        {
            (0, ACCURACY): (0.5483 + 0.5482) / 2,
            (0, CROSS_ENTROPY): (0.6839 + 0.6842) / 2,
            (0, F1): (0.7082 + 0.7080) / 2,
            (9, ACCURACY): (0.7073 + 0.7086) / 2,
            (9, CROSS_ENTROPY): (0.6144 + 0.6146) / 2,
            (9, F1): (0.7640 + 0.7652) / 2,
            (99, ACCURACY): (0.7492 + 0.7501) / 2,
            (99, CROSS_ENTROPY): (0.5141 + 0.5134) / 2,
            (99, F1): (0.7789 + 0.7798) / 2,
            (TEST, ACCURACY): (0.6929 + 0.6952) / 2,
            (TEST, CROSS_ENTROPY): (0.5808 + 0.5787) / 2,
            (TEST, F1): (0.7299 + 0.7363) / 2,
        },
    ),
)


def encode(ratings: Ratings, *, general: bool) -> scipy.sparse.csr_matrix:
    """Return users, then movies, as CSR; ``general`` adds to each record a feature that is 0."""
    width = MOVIELENS_USERS + MOVIELENS_MOVIES
    keys, values = ratings.keys(), np.ones((len(ratings.stars), 2), dtype=np.float32)
    if general:
        keys = np.pad(keys, ((0, 0), (0, 1)), constant_values=width)
        values = np.pad(values, ((0, 0), (0, 1)))
    starts = np.arange(0, keys.size + 1, keys.shape[1], dtype=np.int32)
    return scipy.sparse.csr_matrix(
        (values.ravel(), keys.ravel(), starts), shape=(len(keys), width + general)
    )


def measure(published: Published, split: Split, seed: int, *, general: bool) -> list[float]:
    """Train as the published run did and return its metrics, ours."""
    base, test = (encode(part, general=general) for part in split)
    classifies = published.predictor_type == "binary_classifier"
    labels, test_labels = (part.stars >= LIKED if classifies else part.stars for part in split)
    given = Hyperparameters(
        feature_dim=base.shape[1],
        num_factors=64,
        predictor_type=published.predictor_type,
        epochs=published.epochs,
        mini_batch_size=published.mini_batch_size,
    )
    log = Log()
    model = train(given, base, labels, np.random.default_rng(seed), log)
    tested = evaluate(model, test, test_labels)
    return [
        (tested if epoch == TEST else log.metrics[epoch])[metric]
        for epoch, metric in published.metrics
    ]


def compare(published: Published, by_kernel: list[list[list[float]]]) -> tuple[str, float]:
    """Return a Markdown table of each metric and the largest deviation of a mean.

    ``by_kernel`` has, for the kernel of pairs and the general one, a run for each seed.
    """
    real = np.array(list(published.metrics.values()))
    runs = np.array(by_kernel)
    mean = runs.mean(axis=1)
    spread = runs.std(axis=1, ddof=1 if runs.shape[1] > 1 else 0)
    deviation = mean / real - 1
    rows = []
    for at, (epoch, metric) in enumerate(published.metrics):
        short = metric.removeprefix("binary_classification_")
        name = f"test {short}" if epoch == TEST else f"train {short}, epoch {epoch}"
        figures = (real[at], mean[0, at], spread[0, at])
        shares = [f"{share:.2%}".replace("%", " %") for share in deviation[:, at]]
        rows.append([name, *(f"{figure:.4f}" for figure in figures), *shares])
    header = [published.name, "SageMaker", "matinee", "sd", "off by", "general kernel"]
    return markdown(header, rows), float(np.abs(deviation).max())


def main() -> int:
    """Repeat every published run, print the tables, return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many runs (default: 5)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the tables into a page")
    arguments = parser.parse_args()
    ratings = read_movielens(Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser())
    tables, worst = [], 0.0
    for published in PUBLISHED:
        splits = [published.split(ratings, seed) for seed in range(arguments.seeds)]
        table, deviation = compare(
            published,
            [
                [
                    measure(published, split, seed, general=general)
                    for seed, split in enumerate(splits)
                ]
                for general in (False, True)
            ],
        )
        print(f"{table}\n", flush=True)
        tables.append(table)
        worst = max(worst, deviation)
    print(f"largest deviation {worst:.2%} over {arguments.seeds} seeds; allowed {TOLERANCE:.0%}")
    if arguments.page:
        rewrite(arguments.page, "conformance", "\n\n".join(tables))
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
