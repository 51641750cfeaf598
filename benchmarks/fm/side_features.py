"""What side features add: MovieLens-100K's classic u1 split, by ``mcmc``.

    python -m benchmarks.fm.side_features
    python -m benchmarks.fm.side_features --features pair day history --chains 1

A group of features at a time may be left out: ``pair`` (user and movie), ``day`` (of the rating),
``attributes`` (age, gender and occupation of the user, year and genres of the movie), ``history``
(which movies the user rated: SVD++, Koren 2008) and ``raters`` (which users rated the movie). Both
sets come from training ratings alone. The mean of a few chains is tested, kept within the stars.

MovieLens-100K is fetched as ``matinee data movielens-100k`` does, into the same cache.
"""

import argparse
import io
import os
import re
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from matinee.datasets import movielens
from matinee.fm.averaging import average
from matinee.fm.mcmc import McmcSettings, train_mcmc

GROUPS = ("pair", "day", "attributes", "history", "raters")
USERS, MOVIES = 943, 1_682
RATINGS_OF_U1_TEST = 20_000
DAY_S = 86_400
Matrix: TypeAlias = "scipy.sparse.csr_matrix"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is known of users and movies, in the order of their numbers.

    Attributes
    ----------
    users
        Age, gender and occupation of each.
    years
        The year in each movie's title, or "".
    genres
        The genres of each movie.
    """

    users: Sequence[tuple[str, str, str]]
    years: Sequence[str]
    genres: Sequence[frozenset[str]]


def read_attributes(cache: Path) -> Attributes:
    """Read users and movies from whichever archive of the data set is in the cache."""
    published = cache / movielens.GroupLens.archive
    if published.exists():
        with zipfile.ZipFile(published) as archive:
            users = _table(archive.read("ml-100k/u.user").decode("latin-1"), "|")
            movies = _table(archive.read("ml-100k/u.item").decode("latin-1"), "|")
        years = [re.search(r"\((\d{4})\)", movie[1]) for movie in movies]
        return Attributes(
            [(user[1], user[2], user[3]) for user in users],
            [year.group(1) if year else "" for year in years],
            [
                frozenset(str(genre) for genre, flag in enumerate(movie[5:]) if flag == "1")
                for movie in movies
            ],
        )
    with zipfile.ZipFile(cache / movielens.RecBole.archive) as archive:
        folder = "recbole/dataset_example/ml-100k"
        users = _table(archive.read(f"{folder}/ml-100k.user").decode(), "\t")[1:]
        movies = _table(archive.read(f"{folder}/ml-100k.item").decode(), "\t")[1:]
    users.sort(key=lambda user: int(user[0]))
    movies.sort(key=lambda movie: int(movie[0]))
    return Attributes(
        [(user[1], user[2], user[3]) for user in users],
        [movie[2] for movie in movies],
        [frozenset(movie[3].split()) for movie in movies],
    )


def make_features(
    ratings: NDArray[np.int64], train: slice, attributes: Attributes, groups: Sequence[str]
) -> tuple[Matrix, tuple[int, ...]]:
    """Return the features of all ratings and the widths of their fields.

    Parameters
    ----------
    ratings
        (n, 4): user, movie, stars and seconds, users and movies counted from 0.
    train
        The ratings that histories may tell of.
    groups
        Of ``GROUPS``.
    """
    user, movie = ratings[:, 0], ratings[:, 1]
    known = ratings[train]
    rated = scipy.sparse.csr_matrix(
        (np.ones(len(known), dtype=np.float32), (known[:, 0], known[:, 1])), (USERS, MOVIES)
    )
    of_users: list[Matrix] = []
    of_movies: list[Matrix] = []
    of_ratings: list[Matrix] = []
    if "pair" in groups:
        of_users.append(scipy.sparse.identity(USERS, dtype=np.float32, format="csr"))
        of_movies.append(scipy.sparse.identity(MOVIES, dtype=np.float32, format="csr"))
    if "attributes" in groups:
        of_users += [one_hot(column) for column in zip(*attributes.users, strict=True)]
        names = sorted(frozenset().union(*attributes.genres))
        genres = [[name in held for name in names] for held in attributes.genres]
        of_movies += [one_hot(attributes.years), unit_rows(np.array(genres, dtype=np.float32))]
    if "history" in groups:
        of_users.append(unit_rows(rated))
    if "raters" in groups:
        of_movies.append(unit_rows(rated.T))
    if "day" in groups:
        of_ratings.append(one_hot(ratings[:, 3] // DAY_S))
    fields = [
        *(matrix[user] for matrix in of_users),
        *(matrix[movie] for matrix in of_movies),
        *of_ratings,
    ]
    features = scipy.sparse.hstack(fields, format="csr", dtype=np.float32)
    # Some millions of keys: SciPy sorts them faster than training would.
    features.sort_indices()
    return features, tuple(int(field.shape[1]) for field in fields)


def one_hot(values: ArrayLike) -> Matrix:
    """Return a column for each distinct value."""
    _, places = np.unique(np.asarray(values), return_inverse=True)
    ends = np.arange(len(places) + 1)
    return scipy.sparse.csr_matrix((np.ones(len(places), dtype=np.float32), places, ends))


def unit_rows(matrix: "Matrix | NDArray[np.float32]") -> Matrix:
    """Return the matrix with rows divided by their lengths, so that long sets weigh no more."""
    rows = scipy.sparse.csr_matrix(matrix)
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return scipy.sparse.csr_matrix(scipy.sparse.diags(1 / np.maximum(lengths, 1e-9)) @ rows)


def main() -> int:
    """Train, test, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", nargs="+", choices=GROUPS, default=GROUPS)
    parser.add_argument("--chains", type=int, default=3, help="(default: 3)")
    parser.add_argument("--epochs", type=int, default=300, help="of a chain (default: 300)")
    arguments = parser.parse_args()
    cache = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser() / "cache"
    content = movielens.load(cache, report=print).ratings
    ratings = np.loadtxt(io.BytesIO(content), dtype=np.int64, delimiter="\t")
    ratings[:, :2] -= 1
    test, train = slice(0, RATINGS_OF_U1_TEST), slice(RATINGS_OF_U1_TEST, None)
    features, widths = make_features(ratings, train, read_attributes(cache), arguments.features)
    stars = ratings[:, 2].astype(np.float32)
    print(
        f"{sum(widths):,} features in {len(widths)} fields, {features.nnz / len(stars):.0f} a row"
    )
    settings = McmcSettings(
        num_factors=10,
        epochs=arguments.epochs,
        burn_in=min(20, arguments.epochs - 1),
        field_dims=widths,
        init_sigma=0.03,
        num_samples=0,
    )
    models = []
    for seed in range(arguments.chains):
        started = time.process_time()
        rng = np.random.default_rng(seed)
        models.append(train_mcmc(settings, features[train], stars[train], rng).model)
        seconds = time.process_time() - started
        predictions = np.clip(average(models).predict(features[test]), 1, 5)
        rmse = float(np.sqrt(np.mean(np.square(predictions - stars[test]))))
        print(f"{len(models)} chains: test RMSE {rmse:.4f} (the last took {seconds:.1f} s of CPU)")
    return 0


def _table(text: str, separator: str) -> list[list[str]]:
    # Not splitlines(): Latin-1 text may hold bytes that it takes for ends of lines.
    return [line.rstrip("\r").split(separator) for line in text.split("\n") if line]


if __name__ == "__main__":
    sys.exit(main())
