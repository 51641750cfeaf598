"""Features and labels: taken in any numeric form, refused with the record that breaks a rule."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from matinee.fm.data import check_features, check_labels
from matinee.fm.errors import DataError


def test_a_narrow_sparse_matrix_is_widened() -> None:
    checked = check_features(scipy.sparse.csr_matrix([[0, 2]]), 5)

    assert checked.shape == (1, 5)
    assert checked.dtype == np.float32


@pytest.mark.parametrize("form", [scipy.sparse.coo_array, scipy.sparse.csc_matrix])
def test_any_sparse_form_becomes_csr(form: Any) -> None:
    checked = check_features(form([[0, 2], [1, 0]]), 2)

    assert isinstance(checked, scipy.sparse.csr_matrix)
    np.testing.assert_array_equal(checked.toarray(), [[0, 2], [1, 0]])


def test_explicit_zeros_stay_and_doubled_keys_are_added_up() -> None:
    given = scipy.sparse.csr_matrix(([1.0, 0.0, 2.0], [3, 1, 3], [0, 3]), shape=(1, 4))

    checked = check_features(given, 4)

    assert isinstance(checked, scipy.sparse.csr_matrix)
    assert (checked.indices.tolist(), checked.data.tolist()) == ([1, 3], [0.0, 3.0])
    assert given.indices.tolist() == [3, 1, 3]


def test_a_good_array_is_not_copied() -> None:
    dense = np.ones((2, 3), dtype=np.float32)

    assert check_features(dense, 3) is dense


def out_of_range() -> scipy.sparse.csr_matrix:
    matrix = scipy.sparse.csr_matrix(([1.0], [1], [0, 1]), shape=(1, 3))
    matrix.indices[0] = 7
    return matrix


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((2, 4)), "dense records hold 4 values but feature_dim is 3"),
        (np.ones((2, 2)), "dense records hold 2 values but feature_dim is 3"),
        (np.ones(3), "features must have 2 dimensions"),
        ([["a", "b", "c"]], "features must be numbers"),
        ([[0, 1, 2], [0, np.nan, 1]], "feature 1 of record 1 is nan: values must be finite"),
        ([[0, 1, 1e39]], "feature 2 of record 0 is inf"),
        (scipy.sparse.csr_matrix((1, 4)), "sparse records are 4 wide but feature_dim is 3"),
        (
            scipy.sparse.csr_matrix([[0, 1, 0], [0, 0, 0], [1, 0, -np.inf]]),
            "feature 2 of record 2 is -inf: values must be finite",
        ),
        (out_of_range(), "sparse features are malformed"),
    ],
)
def test_bad_features_are_refused(features: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_features(features, 3)


def test_labels_become_float32() -> None:
    checked = check_labels([0, 1, 5], 3, "regressor")

    assert checked.dtype == np.float32
    assert checked.tolist() == [0, 1, 5]


@pytest.mark.parametrize(
    ("labels", "predictor_type", "message"),
    [
        (None, "regressor", "records have no label"),
        ([1.0], "regressor", r"labels have shape \(1,\): 2 records need \(2,\)"),
        ([[1.0], [2.0]], "regressor", r"labels have shape \(2, 1\)"),
        ([1.0, np.nan], "regressor", "label of record 1 is nan: labels must be finite"),
        ([1.0, 1e39], "regressor", "label of record 1 is inf: labels must be finite"),
        ([1.0, 3.0], "binary_classifier", "label of record 1 is 3.0: a binary_classifier needs"),
        ([np.nan, 1.0], "binary_classifier", "label of record 0 is nan: a binary_classifier"),
        (["x", 1], "regressor", "labels must be numbers"),
    ],
)
def test_bad_labels_are_refused(labels: Any, predictor_type: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_labels(labels, 2, predictor_type)
