"""A posterior answers with its mean, and says how much its samples differ."""

import numpy as np
import pytest

from matinee.fm.errors import DataError
from matinee.fm.model import Model
from matinee.fm.posterior import Posterior


def model(bias: float, slope: float) -> Model:
    linear = np.array([slope], dtype=np.float32)
    return Model(bias, linear, np.zeros((1, 1), dtype=np.float32), "regressor")


X = np.array([[0], [2]], dtype=np.float32)


def test_the_deviation_is_that_of_the_samples_predictions() -> None:
    samples = [model(1, 0), model(2, 1), model(6, 5)]
    posterior = Posterior(model(3, 2), samples)
    assert posterior.predict(X).tolist() == [3, 7]
    predictions = [sample.predict(X) for sample in samples]
    np.testing.assert_allclose(
        posterior.predict_std(X), np.std(predictions, axis=0, ddof=1), rtol=1e-6
    )


def test_small_deviations_of_large_predictions_are_not_lost() -> None:
    posterior = Posterior(model(1e6, 0), [model(1e6, 0), model(1e6 + 1, 0)])
    np.testing.assert_allclose(posterior.predict_std(X), 0.5**0.5, rtol=1e-6)


def test_one_sample_has_no_deviation() -> None:
    with pytest.raises(DataError, match="1 posterior samples, but a deviation needs 2"):
        Posterior(model(0, 0), [model(0, 0)]).predict_std(X)


def test_features_must_fit() -> None:
    posterior = Posterior(model(0, 0), [model(0, 0), model(1, 0)])
    with pytest.raises(DataError, match="dense records hold 2 values"):
        posterior.predict_std(np.zeros((1, 2), dtype=np.float32))
