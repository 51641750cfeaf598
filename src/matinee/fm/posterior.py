"""What Bayesian training learns: one model that answers as the posterior mean, and samples of it.

The model is an ordinary one: it is written, served and loaded like any other. The samples say how
sure it is. ``RunningMean`` makes the model of a chain's samples one by one, in bounded memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import Features, check_features
from matinee.fm.errors import DataError
from matinee.fm.model import Model


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """A posterior distribution over models.

    Attributes
    ----------
    model
        Answers as the mean of the samples' outputs over the whole chain does.
    samples
        Some of the chain's models, evenly apart; may be empty.
    """

    model: Model
    samples: Sequence[Model]

    def predict(self, features: Features) -> NDArray[np.float32]:
        """Score records with the posterior mean; see ``Model.predict``."""
        return self.model.predict(features)

    def predict_std(self, features: Features) -> NDArray[np.float32]:
        """Return how much the samples' answers differ: one standard deviation, float32 (n,).

        It is the uncertainty about the prediction (a label's own noise comes on top), of a
        binary_classifier in units of probability.

        Raises
        ------
        DataError
            If there are fewer than two samples, or the features do not fit the model.
        """
        count = len(self.samples)
        if count < 2:
            raise DataError(
                f"the model has {count} posterior samples, but a deviation needs 2: only the mcmc "
                "solver draws them, num_samples of them"
            )
        checked = check_features(features, self.model.feature_dim)
        # Around the first sample, so that nothing cancels.
        origin = self.samples[0].predict(checked)
        sums, squares = np.zeros((2, len(origin)))
        for sample in self.samples[1:]:
            deviations = sample.predict(checked).astype(np.float64) - origin
            sums += deviations
            squares += np.square(deviations)
        variances = (squares - np.square(sums) / count) / (count - 1)
        return np.sqrt(np.maximum(variances, 0)).astype(np.float32)
