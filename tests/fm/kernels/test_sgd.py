"""The kernels of stochastic gradient descent agree with each other when the order is the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model
from matinee.fm.native import kernels

RATE, KEEP, BIAS = 0.1, 0.99, 0.5
RECORDS, FIRST, SECOND = 200, 7, 5
PREDICTOR_TYPES: tuple[PredictorType, ...] = ("regressor", "binary_classifier")


def draw(num_factors: int) -> tuple[NDArray[np.int32], NDArray[np.float32], Model]:
    """Records of many shared features, and a model to start from."""
    rng = np.random.default_rng(0)
    keys = np.stack([rng.integers(FIRST, size=RECORDS), rng.integers(SECOND, size=RECORDS)], axis=1)
    labels = rng.integers(2, size=RECORDS).astype(np.float32)
    factors = rng.normal(0, 0.3, (FIRST + SECOND, num_factors)).astype(np.float32)
    linear = rng.normal(0, 0.3, FIRST + SECOND).astype(np.float32)
    return keys.astype(np.int32), labels, Model(BIAS, linear, factors, "regressor")


def train_pairs(
    name: str, word: int, keys: NDArray[np.int32], labels: NDArray[np.float32], model: Model
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Linear terms, factors and sums after one visit of one block of all records."""
    k = model.num_factors
    width = -(-(k + 2) // 16) * 16
    rows = np.zeros((FIRST + SECOND, width), dtype=np.float32)
    rows[:, :k] = model.factors
    rows[:FIRST, -2:] = np.stack([model.linear[:FIRST], np.ones(FIRST)], axis=1)
    rows[FIRST:, -2:] = np.stack([np.ones(SECOND), model.linear[FIRST:]], axis=1)
    first, second = rows[:FIRST].copy(), rows[FIRST:].copy()
    tails = np.repeat(np.array([RATE, KEEP, RATE, KEEP], dtype=np.float32), 16).reshape(4, 16)
    tails[0, -1], tails[1, -1], tails[2, -2], tails[3, -2] = 0, 1, 0, 1
    sums = np.zeros(5)
    getattr(kernels("sgd"), name)(
        first.ravel(), second.ravel(), width, keys.ravel(), labels, np.array([0, RECORDS]),
        np.array([0]), np.array([word]), 1, BIAS, RATE, KEEP, tails.ravel(), sums,
    )  # fmt: skip
    assert (first[:, -1] == 1).all()
    assert (second[:, -2] == 1).all()
    linear = np.concatenate([first[:, -2], second[:, -1]])
    return linear, np.concatenate([first, second])[:, :k], sums


def train_records(
    predictor_type: PredictorType,
    word: int,
    keys: NDArray[np.int32],
    labels: NDArray[np.float32],
    model: Model,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    k = model.num_factors
    width = -(-(k + 1) // 16) * 16
    rows = np.zeros((FIRST + SECOND, width), dtype=np.float32)
    rows[:, :k], rows[:, k] = model.factors, model.linear
    is_factor = np.zeros(width, dtype=np.float32)
    is_factor[:k] = 1
    sums = np.zeros(5)
    kernels("sgd").train_records(
        rows.ravel(), width, k, np.arange(RECORDS + 1) * 2,
        (keys + np.array([0, FIRST], dtype=np.int32)).ravel(),
        np.ones(2 * RECORDS, dtype=np.float32), False, labels, np.arange(RECORDS), RECORDS, word,
        BIAS, RATE, KEEP, is_factor, np.empty(width, dtype=np.float32),
        predictor_type == "binary_classifier", sums,
    )  # fmt: skip
    return rows[:, k], rows[:, :k], sums


@pytest.mark.parametrize("num_factors", [1, 8, 14, 15, 16, 32, 64, 100])
@pytest.mark.parametrize("predictor_type", PREDICTOR_TYPES)
def test_pairs_train_as_other_records_do(predictor_type: PredictorType, num_factors: int) -> None:
    keys, labels, model = draw(num_factors)
    name = "train_pairs" if predictor_type == "regressor" else "train_classifier_pairs"

    for word in (0, 123456789123456789, 2**63 - 1):
        linear, factors, sums = train_pairs(name, word, keys, labels, model)
        expected = train_records(predictor_type, word, keys, labels, model)

        np.testing.assert_allclose(linear, expected[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(factors, expected[1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(sums, expected[2], rtol=1e-4)
        assert not np.allclose(factors, model.factors, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("num_factors", "width"), [(8, 16), (16, 32), (32, 48), (64, 80)])
def test_kernels_for_one_width_give_the_bytes_of_the_one_for_any(
    num_factors: int, width: int
) -> None:
    keys, labels, model = draw(num_factors)

    of_any = train_pairs("train_pairs", 99, keys, labels, model)
    of_one = train_pairs(f"train_pairs_{width}", 99, keys, labels, model)

    for any_, one in zip(of_any, of_one, strict=True):
        np.testing.assert_array_equal(any_, one)


def test_the_word_chooses_the_order() -> None:
    keys, labels, model = draw(8)

    trained = {
        train_pairs("train_pairs", word, keys, labels, model)[1].tobytes()
        for word in np.random.default_rng(0).integers(2**63, size=20).tolist()
    }

    assert len(trained) == 20
