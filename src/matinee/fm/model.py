"""A trained Factorization Machine: three groups of float32 parameters, and how they score records.

A record's score does not depend on the records beside it, nor on whether it is stored sparse or
dense. Features as wide as the model, or narrower when sparse, are scored; wider ones are refused.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import Features, SparseRows, check_features, compressed
from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.native import kernels


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

    def check(self, feature_dim: int, num_factors: int, predictor_type: PredictorType) -> None:
        """Check that training of these sizes may start from the model.

        Raises
        ------
        DataError
            If it may not.
        """
        given = (self.predictor_type, self.feature_dim, self.num_factors)
        wanted = (predictor_type, feature_dim, num_factors)
        if given != wanted:
            described = [
                f"a {kind} of {width} features with {factors} factors"
                for kind, width, factors in (given, wanted)
            ]
            raise DataError(
                f"the model to start from is {described[0]}: training needs {described[1]}"
            )

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
        scores = self.outputs(check_features(features, self.feature_dim))
        if self.predictor_type == "binary_classifier":
            kernels("scoring").apply_logistic(scores, len(scores))
        return scores

    def outputs(self, rows: SparseRows | NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ``f(x)``, float32 (n,), of records that ``check_features`` has returned."""
        outputs = np.empty(rows.shape[0], dtype=np.float32)
        linear, factors = np.ascontiguousarray(self.linear), np.ascontiguousarray(self.factors)
        scoring, parameters = kernels("scoring"), (self.bias, linear, factors, self.num_factors)
        if isinstance(rows, SparseRows) and rows.values_per_record == 2:
            first = int(rows.indptr[0])
            scoring.score_pairs(first, rows.indices, rows.data, len(outputs), *parameters, outputs)
        else:
            scoring.score(*compressed(rows), 0, len(outputs), *parameters, outputs)
        return outputs
