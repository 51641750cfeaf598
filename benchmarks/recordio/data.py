"""The rows to write and read: those of a recommender, and rows of any length."""

from pathlib import Path
from typing import Any

import numpy
import scipy.sparse

CUSTOMERS = 140_344
WIDTH = 178_729
MEAN_FEATURES = 12


def ratings(rows: int, rng: numpy.random.Generator) -> tuple[Any, Any]:
    """Draw a one-hot matrix (rows, WIDTH) of a customer and a video a row, and stars."""
    keys = numpy.empty((rows, 2), dtype=numpy.int32)
    keys[:, 0] = rng.integers(0, CUSTOMERS, rows)
    keys[:, 1] = rng.integers(CUSTOMERS, WIDTH, rows)
    bounds = numpy.arange(rows + 1) * 2
    parts = (numpy.ones(2 * rows, dtype=numpy.float32), keys.reshape(-1), bounds)
    return scipy.sparse.csr_matrix(parts, shape=(rows, WIDTH)), _stars(rows, rng)


def general(rows: int, rng: numpy.random.Generator) -> tuple[Any, Any]:
    """Draw a matrix (rows, WIDTH) of as many numbers a row as it happens, and stars."""
    bounds = numpy.concatenate([[0], numpy.cumsum(rng.poisson(MEAN_FEATURES, rows))])
    keys = rng.integers(0, WIDTH, bounds[-1]).astype(numpy.int32)
    parts = (rng.standard_normal(bounds[-1], dtype=numpy.float32), keys, bounds)
    return scipy.sparse.csr_matrix(parts, shape=(rows, WIDTH)), _stars(rows, rng)


def save(path: Path, features: Any, labels: Any) -> None:
    """Keep rows for another process."""
    numpy.savez(
        path,
        data=features.data,
        indices=features.indices,
        indptr=features.indptr,
        shape=numpy.array(features.shape),
        labels=labels,
    )


def load(path: Path) -> tuple[Any, Any]:
    """Return what `save` kept."""
    with numpy.load(path) as kept:
        parts = (kept["data"], kept["indices"], kept["indptr"])
        return scipy.sparse.csr_matrix(parts, shape=tuple(kept["shape"])), kept["labels"]


def _stars(rows: int, rng: numpy.random.Generator) -> Any:
    return rng.integers(1, 6, rows).astype(numpy.float32)
