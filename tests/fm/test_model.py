"""Scores are the model equation's, whoever stands beside a record and however it is stored."""

import numpy as np
import pytest
import scipy.sparse

from matinee.fm.errors import DataError
from matinee.fm.model import Model, logistic
from tests.fm import reference


def make(predictor_type: str = "regressor") -> Model:
    rng = np.random.default_rng(0)
    return Model(
        0.5,
        rng.standard_normal(6, dtype=np.float32),
        rng.standard_normal((6, 4), dtype=np.float32),
        predictor_type,  # type: ignore[arg-type]  # a literal at every call
    )


def test_the_equation_worked_by_hand() -> None:
    factors = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    model = Model(10.0, np.array([1, 2, 3], np.float32), factors, "regressor")

    # 10 + (1*1 + 2*2) + <(1, 2), (3, 4)> * 1 * 2
    assert model.predict(np.array([[1, 2, 0]], dtype=np.float32)).tolist() == [37.0]


def test_scores_agree_with_the_sum_over_pairs() -> None:
    model = make()
    x = np.random.default_rng(1).standard_normal((20, 6))

    expected = reference.output(
        reference.Parameters(
            np.array(0.5), model.linear.astype(float), model.factors.astype(float)
        ),
        x,
    )
    np.testing.assert_allclose(model.predict(x.astype(np.float32)), expected, rtol=1e-4, atol=1e-5)


def test_dense_and_sparse_alone_and_together_score_the_same_bits() -> None:
    model = make()
    # More records than are scored at a time.
    sparse = scipy.sparse.random(8200, 6, 0.4, format="csr", dtype=np.float32, rng=1)

    together = model.predict(sparse)

    np.testing.assert_array_equal(model.predict(sparse.toarray()), together)
    for record in (0, 8191, 8199):
        np.testing.assert_array_equal(model.predict(sparse[record]), together[record : record + 1])
    assert together.dtype == np.float32


def test_a_classifier_scores_probabilities() -> None:
    x = np.eye(6, dtype=np.float32)

    raw, probabilities = make().predict(x), make("binary_classifier").predict(x)

    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-raw)), rtol=1e-6)


def test_the_logistic_saturates_at_0_and_1() -> None:
    values = np.array([-200, -1, 0, 1, 200], dtype=np.float32)

    np.testing.assert_allclose(logistic(values), [0, 0.26894143, 0.5, 0.7310586, 1], rtol=1e-6)
    assert logistic(values)[[0, 4]].tolist() == [0, 1]


def test_no_records_have_no_scores() -> None:
    assert make().predict(scipy.sparse.csr_matrix((0, 6))).shape == (0,)


def test_records_wider_than_the_model_are_refused() -> None:
    with pytest.raises(DataError, match="7 wide but feature_dim is 6"):
        make().predict(scipy.sparse.csr_matrix((1, 7)))
