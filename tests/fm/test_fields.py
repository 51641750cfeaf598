"""Fields are what the widths say or what the records show, and cover all features."""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse

from matinee.fm.data import SparseRows
from matinee.fm.errors import HyperparameterError
from matinee.fm.fields import Fields


def rows(keys: Sequence[Sequence[int]], width: int) -> SparseRows:
    """Records of ones at some keys."""
    matrix = scipy.sparse.lil_matrix((len(keys), width), dtype=np.float32)
    for record, held in enumerate(keys):
        matrix[record, held] = 1
    return SparseRows.of(matrix.tocsr())


def test_records_of_one_key_from_each_range_have_a_field_for_each_range() -> None:
    assert Fields.of(None, rows([[0, 3, 5], [2, 4, 6]], 8)) == Fields((3, 2, 3))


@pytest.mark.parametrize(
    "keys",
    [
        [[0, 3], [3, 5]],  # 3 is first and second
        [[0, 3], [2, 5, 6]],
        [[1], [2]],
        [[], []],
    ],
)
def test_other_records_have_one_field(keys: Sequence[Sequence[int]]) -> None:
    assert Fields.of(None, rows(keys, 8)) == Fields((8,))


def test_dense_records_have_one_field() -> None:
    assert Fields.of(None, np.ones((2, 3), dtype=np.float32)) == Fields((3,))


def test_given_widths_are_taken() -> None:
    fields = Fields.of([2, 6], rows([[0, 3]], 8))
    assert fields.widths == (2, 6)
    assert fields.starts.tolist() == [0, 2, 8]


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((2, 5), "add up to 7 but there are 8 features"),
        ((8, 0), "field_dims has 0: every field needs a feature"),
        ((9, -1), "field_dims has -1: every field needs a feature"),
    ],
)
def test_widths_that_do_not_fit_are_refused(widths: tuple[int, ...], message: str) -> None:
    with pytest.raises(HyperparameterError, match=message):
        Fields.of(widths, rows([[0, 3]], 8))
