"""Features and labels: taken in any numeric form, refused with the record that breaks a rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from matinee.fm.data import SparseRows, check_features, check_labels, compressed
from matinee.fm.errors import DataError


def rows(given: Any, feature_dim: int) -> SparseRows:
    checked = check_features(given, feature_dim)
    assert isinstance(checked, SparseRows)
    return checked


def test_a_narrow_sparse_matrix_is_widened() -> None:
    checked = rows(scipy.sparse.csr_matrix([[0, 2]]), 5)

    assert checked.shape == (1, 5)
    assert checked.data.dtype == np.float32


@pytest.mark.parametrize("form", [scipy.sparse.coo_array, scipy.sparse.csc_matrix])
def test_any_sparse_form_becomes_compressed_rows(form: Any) -> None:
    checked = rows(form([[0, 2], [1, 3]]), 2)

    assert checked.indptr.tolist() == [0, 1, 3]
    assert checked.indices.tolist() == [1, 0, 1]
    assert checked.data.tolist() == [2, 1, 3]


def test_explicit_zeros_stay_and_doubled_keys_are_added_up() -> None:
    given = scipy.sparse.csr_matrix(
        ([1.0, 0.0, 2.0, 5.0, 6.0], [3, 1, 3, 3, 2], [0, 0, 3, 3, 5]), shape=(4, 4)
    )

    checked = rows(given, 4)

    assert checked.indptr.tolist() == [0, 0, 2, 2, 4]
    assert checked.indices.tolist() == [1, 3, 2, 3]
    assert checked.data.tolist() == [0.0, 3.0, 6.0, 5.0]
    assert given.indices.tolist() == [3, 1, 3, 3, 2]


def test_a_sum_beyond_float32_is_refused() -> None:
    given = scipy.sparse.csr_matrix(
        (np.array([3e38, 3e38], dtype=np.float32), [1, 1], [0, 2]), shape=(1, 2)
    )

    with pytest.raises(DataError, match="feature 1 of record 0 is inf"):
        check_features(given, 2)


@pytest.mark.parametrize(("value", "all_ones"), [(1.0, True), (2.0, False)])
def test_values_that_are_all_1_are_noticed(value: float, all_ones: bool) -> None:
    assert rows(scipy.sparse.csr_matrix([[0, 1], [value, 0]]), 2).all_ones is all_ones


@pytest.mark.parametrize(
    ("bounds", "expected"), [([0, 2, 4], 2), ([0, 1, 4], None), ([0, 4], 4), ([0], None)]
)
def test_equally_many_values_in_each_record_are_noticed(
    bounds: list[int], expected: int | None
) -> None:
    keys = [0, 1, 2, 3][: bounds[-1]]
    given = scipy.sparse.csr_matrix((np.ones(len(keys)), keys, bounds), (len(bounds) - 1, 4))

    assert rows(given, 4).values_per_record == expected


def test_consecutive_records_are_taken_without_a_copy() -> None:
    whole = rows(scipy.sparse.csr_matrix([[0, 2], [1, 3], [4, 0]]), 2)

    part = whole[1:9]

    assert part.shape == (2, 2)
    assert (part.indptr.tolist(), part.indices.tolist()) == ([1, 3, 4], [1, 0, 1, 0])
    assert np.shares_memory(part.data, whole.data)
    assert rows(part, 2).data is part.data
    assert whole[2:1].shape == (0, 2)
    with pytest.raises(ValueError, match="not in steps of 2"):
        whole[::2]


def test_a_good_array_is_not_copied() -> None:
    dense = np.ones((2, 3), dtype=np.float32)

    assert check_features(dense, 3) is dense
    assert np.shares_memory(compressed(dense)[2], dense)


def test_arrays_mapped_from_files_are_not_copied(tmp_path: Path) -> None:
    kinds = {"indptr": np.int64, "indices": np.int32, "data": np.float32}
    mapped: dict[str, Any] = {}
    for name, values in {"indptr": [0, 1, 3], "indices": [2, 0, 1], "data": [1, 2, 3]}.items():
        np.save(tmp_path / name, np.array(values, dtype=kinds[name]))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    checked = rows(SparseRows(**mapped, shape=(2, 3)), 5)

    assert checked.shape == (2, 5)
    for name, array in mapped.items():
        assert np.shares_memory(getattr(checked, name), array)


def test_sparse_and_dense_records_in_the_kernels_form() -> None:
    starts, keys, values, dense = compressed(np.array([[5, 6], [7, 8]], dtype=np.float32))

    assert (starts.tolist(), keys.tolist(), values.tolist()) == ([0, 2, 4], [0, 1], [5, 6, 7, 8])
    assert dense
    assert not compressed(rows(scipy.sparse.csr_matrix((1, 2)), 2))[3]


def out_of_range() -> scipy.sparse.csr_matrix:
    matrix = scipy.sparse.csr_matrix(([1.0], [1], [0, 1]), shape=(1, 3))
    matrix.indices[0] = 7
    return matrix


def bounds_out_of_order() -> scipy.sparse.csr_matrix:
    matrix = scipy.sparse.csr_matrix(([1.0], [1], [0, 1, 1]), shape=(2, 3))
    matrix.indptr[1] = 2
    return matrix


def too_few_bounds() -> SparseRows:
    return SparseRows(
        np.array([0, 1]), np.array([1], np.int32), np.array([1], np.float32), shape=(2, 3)
    )


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
        (out_of_range(), "sparse features are malformed: key 7 of record 0 is not from 0 to 2"),
        (bounds_out_of_order(), "malformed: record 0 goes from 0 to 2 of 1 values"),
        (too_few_bounds(), "malformed: 2 records with 2 bounds, 1 keys and 1 values"),
        (scipy.sparse.csr_matrix(([1.0], [2**31], [0, 1]), (1, 2**32)), "key 2147483648 does not"),
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
