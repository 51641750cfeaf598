"""The average of models predicts the average, and compressed models predict nearly the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.fm.averaging import average, compress
from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model


def random_model(
    seed: int, num_factors: int, predictor_type: PredictorType = "regressor", feature_dim: int = 6
) -> Model:
    rng = np.random.default_rng(seed)
    return Model(
        float(np.float32(rng.normal())),
        rng.standard_normal(feature_dim, dtype=np.float32),
        rng.standard_normal((feature_dim, num_factors), dtype=np.float32),
        predictor_type,
    )


def random_records(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((20, 6), dtype=np.float32)


def test_the_average_predicts_the_mean_of_the_predictions() -> None:
    models = [random_model(0, 3), random_model(1, 5), random_model(2, 3)]
    x = random_records(0)

    averaged = average(models)

    assert averaged.num_factors == 11
    expected = np.mean([model.predict(x) for model in models], axis=0)
    np.testing.assert_allclose(averaged.predict(x), expected, rtol=1e-4, atol=1e-5)


def test_the_average_of_classifiers_predicts_the_mean_of_the_log_odds() -> None:
    models = [random_model(seed, 2, "binary_classifier") for seed in (0, 1)]
    x = random_records(0) / 4

    odds = [np.log(p / (1 - p)) for p in (model.predict(x).astype(float) for model in models)]
    expected = 1 / (1 + np.exp(-np.mean(odds, axis=0)))

    np.testing.assert_allclose(average(models).predict(x), expected, rtol=1e-4)


def test_one_model_is_its_own_average() -> None:
    model = random_model(0, 3)

    assert average([model]) is model


def test_models_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(DataError, match="no models"):
        average([])
    with pytest.raises(DataError, match=r"regressor of 7 features .* regressor of 6 features"):
        average([random_model(0, 3), random_model(0, 3, feature_dim=7)])
    with pytest.raises(DataError, match="binary_classifier of 6"):
        average([random_model(0, 3), random_model(0, 3, "binary_classifier")])


def test_copies_of_a_model_compress_to_the_model() -> None:
    model = random_model(0, 3)
    x = random_records(0)

    compressed = compress(average([model, model, model]), 3)

    assert compressed.num_factors == 3
    np.testing.assert_allclose(compressed.predict(x), model.predict(x), rtol=1e-4, atol=1e-4)


def test_compression_keeps_the_interactions_as_close_as_any_can_be() -> None:
    model = random_model(0, 5)

    compressed = compress(model, 2)

    interactions, kept = (m.factors.astype(float) @ m.factors.T for m in (model, compressed))
    smallest = np.linalg.svd(interactions, compute_uv=False)[2:]
    assert np.square(interactions - kept).sum() == pytest.approx(
        np.square(smallest).sum(), rel=1e-4
    )
    assert compressed.bias == model.bias
    np.testing.assert_array_equal(compressed.linear, model.linear)


def test_weights_say_whose_interactions_matter() -> None:
    model = random_model(0, 4)
    weights = [1, 1, 0, 0, 0, 0]

    compressed = compress(model, 2, weights)

    interactions, kept = (m.factors @ m.factors.T for m in (model, compressed))
    np.testing.assert_allclose(kept[:2, :2], interactions[:2, :2], rtol=1e-4, atol=1e-5)


def test_a_model_with_few_factors_is_left_alone() -> None:
    model = random_model(0, 3)

    assert compress(model, 3) is model


@pytest.mark.parametrize("weights", [[1] * 5, [1, 1, 1, -1, 1, 1], [np.nan] * 6])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights"):
        compress(random_model(0, 3), 2, weights)


def test_factors_must_be_positive() -> None:
    with pytest.raises(DataError, match="num_factors is 0"):
        compress(random_model(0, 3), 0)
