"""A trained Factorization Machine: three groups of float32 parameters, and how they score records.

Scoring is plain NumPy and SciPy, so that a process that only predicts never loads a compiler. A
record's score does not depend on the records beside it. Features as wide as the model, or narrower
when sparse, are scored; wider ones are refused.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm.data import Features, check_features
from matinee.fm.hyperparameters import PredictorType

# Rows scored at a time: bounds the (rows, num_factors) intermediate whatever the input's length.
_ROWS_AT_A_TIME = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Parameters of ``f(x) = bias + x.linear + sum over i<j of <factors_i, factors_j> x_i x_j``.

    Attributes
    ----------
    bias
        The constant term (a float32 value).
    linear
        float32 (feature_dim,).
    factors
        float32 (feature_dim, num_factors).
    predictor_type
        What ``predict`` answers: ``f(x)`` for a regressor, its logistic for a binary_classifier.
    """

    bias: float
    linear: NDArray[np.float32]
    factors: NDArray[np.float32]
    predictor_type: PredictorType

    @property
    def feature_dim(self) -> int:
        return int(self.factors.shape[0])

    @property
    def num_factors(self) -> int:
        return int(self.factors.shape[1])

    def predict(self, features: Features) -> NDArray[np.float32]:
        """Score records.

        Parameters
        ----------
        features
            CSR matrix (n, at most feature_dim) or dense array (n, feature_dim).

        Returns
        -------
        ndarray
            float32 (n,): raw ``f(x)`` for a regressor, the probability of class 1 for a
            binary_classifier.

        Raises
        ------
        DataError
            If the features do not fit the model or hold NaN or infinities.
        """
        checked = check_features(features, self.feature_dim)
        # One road for both kinds: a BLAS product's last bits would depend on the number of rows.
        rows = scipy.sparse.csr_matrix(checked)
        squared_factors = np.square(self.factors).sum(axis=1)
        scores = np.empty(rows.shape[0], dtype=np.float32)
        for start in range(0, rows.shape[0], _ROWS_AT_A_TIME):
            part = rows[start : start + _ROWS_AT_A_TIME]
            sums = part @ self.factors
            pairs = np.square(sums).sum(axis=1) - part.multiply(part).tocsr() @ squared_factors
            scores[start : start + _ROWS_AT_A_TIME] = (
                np.float32(self.bias) + part @ self.linear + np.float32(0.5) * pairs
            )
        return scores if self.predictor_type == "regressor" else logistic(scores)


def logistic(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``1 / (1 + exp(-value))`` of each value, exactly 0 or 1 once float32 saturates."""
    # exp of a non-positive number cannot overflow.
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
