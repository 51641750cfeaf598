"""Scores are the model equation's, whoever stands beside a record and however it is stored."""

import numpy as np
import pytest
import scipy.sparse

from matinee.fm.errors import DataError
from matinee.fm.model import Model
from tests.fm import reference


def make(predictor_type: str = "regressor", num_factors: int = 4) -> Model:
    rng = np.random.default_rng(0)
    return Model(
        0.5,
        rng.standard_normal(6, dtype=np.float32),
        rng.standard_normal((6, num_factors), dtype=np.float32),
        predictor_type,  # type: ignore[arg-type]  # a literal at every call
    )


def test_the_equation_worked_by_hand() -> None:
    factors = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    model = Model(10.0, np.array([1, 2, 3], np.float32), factors, "regressor")

    # 10 + (1*1 + 2*2) + <(1, 2), (3, 4)> * 1 * 2
    assert model.predict(np.array([[1, 2, 0]], dtype=np.float32)).tolist() == [37.0]


@pytest.mark.parametrize("num_factors", [1, 4, 16, 37])
def test_scores_agree_with_the_sum_over_pairs(num_factors: int) -> None:
    model = make(num_factors=num_factors)
    x = np.random.default_rng(1).standard_normal((20, 6))

    expected = reference.output(
        reference.Parameters(
            np.array(0.5), model.linear.astype(float), model.factors.astype(float)
        ),
        x,
    )
    np.testing.assert_allclose(model.predict(x.astype(np.float32)), expected, rtol=1e-5, atol=1e-5)


def test_a_small_difference_between_large_pairs_is_kept() -> None:
    factors = np.array([[1e4], [1e4], [1e-4]], dtype=np.float32)
    model = Model(0.0, np.zeros(3, dtype=np.float32), factors, "regressor")

    # As half of a difference of squares it would be lost among 1e8.
    assert model.predict(np.array([[0, 1, 1]], np.float32)).tolist() == [1.0]
    assert model.predict(np.array([[1e-8, 1, 1]], np.float32)).tolist() == [2.0]


def test_dense_and_sparse_alone_and_together_score_the_same_bits() -> None:
    model = make(num_factors=20)
    # Records of no, one, two and more features.
    sparse = scipy.sparse.random(500, 6, 0.4, format="csr", dtype=np.float32, rng=1)
    assert set(np.diff(sparse.indptr)) >= {0, 1, 2, 3}

    together = model.predict(sparse)

    np.testing.assert_array_equal(model.predict(sparse.toarray()), together)
    for record in range(500):
        np.testing.assert_array_equal(model.predict(sparse[record]), together[record : record + 1])
    assert together.dtype == np.float32


def test_an_explicit_zero_changes_no_bit() -> None:
    with_zero = scipy.sparse.csr_matrix(([2.0, 0.0, 3.0], [0, 1, 4], [0, 3]), shape=(1, 6))
    without = scipy.sparse.csr_matrix(([2.0, 3.0], [0, 4], [0, 2]), shape=(1, 6))

    np.testing.assert_array_equal(make().predict(with_zero), make().predict(without))


def test_parameters_in_any_memory_order_are_used() -> None:
    model = make()
    strided = Model(
        model.bias, np.repeat(model.linear, 2)[::2], model.factors.T.copy().T, "regressor"
    )
    x = np.eye(6, dtype=np.float32) + 1

    np.testing.assert_array_equal(strided.predict(x), model.predict(x))


def test_a_classifier_scores_probabilities() -> None:
    x = np.eye(6, dtype=np.float32)

    raw, probabilities = make().predict(x), make("binary_classifier").predict(x)

    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-raw)), rtol=1e-6)


def test_a_classifier_s_score_saturates_at_0_and_1() -> None:
    linear = np.array([-200, -1, 0, 1, 200], dtype=np.float32)
    model = Model(0.0, linear, np.zeros((5, 1), dtype=np.float32), "binary_classifier")

    scores = model.predict(np.eye(5, dtype=np.float32))

    np.testing.assert_allclose(scores, [0, 0.26894143, 0.5, 0.7310586, 1], rtol=1e-6)
    assert scores[[0, 4]].tolist() == [0, 1]


def test_no_records_have_no_scores() -> None:
    assert make().predict(scipy.sparse.csr_matrix((0, 6))).shape == (0,)


def test_records_wider_than_the_model_are_refused() -> None:
    with pytest.raises(DataError, match="7 wide but feature_dim is 6"):
        make().predict(scipy.sparse.csr_matrix((1, 7)))
