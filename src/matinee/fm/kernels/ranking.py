"""The best of many scores: one pass that mostly compares and seldom changes anything."""

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import kernel

_NONE = np.float32(-np.inf)


@kernel
def select_best(
    scores: NDArray[np.float32],
    records: int,
    candidates: int,
    count: int,
    best: NDArray[np.int64],
    best_scores: NDArray[np.float32],
) -> None:
    """Find each record's ``count`` highest scores, the highest first, ties in candidates' order.

    Parameters
    ----------
    scores
        float32 (records, candidates); minus infinity means that a candidate does not count.
    records, candidates, count
        Sizes; ``count`` is at least 1.
    best, best_scores
        int64 and float32 (records, count): receive the candidates and their scores, -1 and minus
        infinity where there are too few.
    """
    for record in range(records):
        row = record * candidates
        first = record * count
        last = first + count - 1
        for place in range(first, last + 1):
            best[place] = -1
            best_scores[place] = _NONE
        for candidate in range(candidates):
            score = scores[row + candidate]
            if score > best_scores[last]:
                place = last
                while place > first and score > best_scores[place - 1]:
                    best[place] = best[place - 1]
                    best_scores[place] = best_scores[place - 1]
                    place -= 1
                best[place] = candidate
                best_scores[place] = score
