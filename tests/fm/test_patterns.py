"""Fields that another field decides share its block; others have one of their own."""

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.patterns import find_blocks


def one_hot(keys: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    return np.eye(width, dtype=np.float32)[keys]


CUSTOMER = np.repeat(np.arange(5), 8)
VIDEO = np.arange(40) * 7 % 4
AGE = np.array([0, 1, 0, 1, 1])
LIKED = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def blocks_of(*parts: NDArray[np.float32]) -> list[tuple[int, ...]]:
    rows = SparseRows.of(scipy.sparse.csr_matrix(np.hstack(parts)))
    fields = Fields(tuple(part.shape[1] for part in parts))
    return [block.fields for block in find_blocks(rows, fields)]


def test_what_a_customer_decides_goes_with_the_customer() -> None:
    age, liked = one_hot(AGE[CUSTOMER], 2), LIKED[CUSTOMER]
    assert blocks_of(age, one_hot(CUSTOMER, 5), one_hot(VIDEO, 4), liked) == [(1, 3, 0), (2,)]


def test_equal_features_of_other_values_are_other_patterns() -> None:
    values = one_hot(CUSTOMER, 5) * (1 + VIDEO[:, None]).astype(np.float32)
    assert blocks_of(one_hot(CUSTOMER, 5), values) == [(1,), (0,)]


def test_patterns_that_hardly_repeat_decide_nothing() -> None:
    own = np.arange(40, dtype=np.float32)[:, None] + 1
    assert blocks_of(own, one_hot(CUSTOMER, 5)) == [(0,), (1,)]


def test_records_know_their_pattern_and_patterns_a_record() -> None:
    rows = SparseRows.of(scipy.sparse.csr_matrix(one_hot(VIDEO, 4)))
    (block,) = find_blocks(rows, Fields((4,)))
    assert sorted(block.examples) == [0, 1, 2, 3]
    np.testing.assert_array_equal(VIDEO[block.examples][block.pattern_of], VIDEO)
