"""An obvious data set: the squares of a board, by row and column."""

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

SIDE = 12


def checkerboard() -> tuple[scipy.sparse.csr_matrix, NDArray[np.float32]]:
    """One record for each square of a board: row and column one-hot; 5 on white, 1 on black."""
    squares = np.random.default_rng(0).permutation(SIDE * SIDE)
    row, column = squares // SIDE, squares % SIDE
    features = scipy.sparse.csr_matrix(
        (
            np.ones(2 * len(squares), dtype=np.float32),
            np.stack([row, SIDE + column], axis=1).ravel(),
            np.arange(0, 2 * len(squares) + 1, 2),
        ),
        shape=(len(squares), 2 * SIDE),
    )
    return features, np.where((row + column) % 2, 5, 1).astype(np.float32)
