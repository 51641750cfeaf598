"""The mean of a chain's samples as one Factorization Machine, made one by one in bounded memory.

The mean of <factors_i, factors_j> is kept as that of the factors' own means over a few segments of
the chain: factors of features vary independently within a segment, up to what the chain turns them
meanwhile. Features that come together, such as those of a history, do not: then weights and factors
are fitted to the mean of the outputs themselves, which changes them little.
"""

import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from matinee.fm.averaging import compress
from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.gibbs import Workers
from matinee.fm.gibbs_rows import RowSampler
from matinee.fm.model import Model

# Of the fit, found on MovieLens-100K with histories.
_WEIGHT_SWEEPS, _SWEEPS = 3, 3
_STRENGTH = 1.0


class PosteriorMean:
    """Sums over samples, in the units of the chain.

    Parameters
    ----------
    feature_dim, num_factors
        Shape of the samples' factors.
    artifact_factors
        Most factors of the mean. Every ``num_factors`` of them are a segment's.
    samples
        How many samples there will be, at most.
    records
        How many outputs of training records each sample comes with.
    """

    def __init__(
        self, feature_dim: int, num_factors: int, artifact_factors: int, samples: int, records: int
    ) -> None:
        self._artifact_factors = artifact_factors
        self._samples = samples
        self._bias = 0.0
        self._linear = np.zeros(feature_dim)
        segments = min(max(1, artifact_factors // num_factors), samples)
        self._factors = np.zeros((segments, feature_dim, num_factors), dtype=np.float32)
        self._counts = np.zeros(segments, dtype=np.int64)
        self._outputs, self._squares = np.zeros((2, records))

    @property
    def count(self) -> int:
        """How many samples there have been."""
        return int(self._counts.sum())

    def copy(self) -> Self:
        """Return a copy that stays as it is."""
        return copy.deepcopy(self)

    def add(
        self,
        bias: float,
        linear: NDArray[np.float32],
        factors: NDArray[np.float32],
        outputs: NDArray[np.float32],
    ) -> None:
        """Count a sample in, with its outputs (records,); arrays may change afterwards."""
        segment = self.count * len(self._counts) // self._samples
        self._counts[segment] += 1
        self._bias += bias
        self._linear += linear
        self._factors[segment] += factors
        self._outputs += outputs
        self._squares += np.square(outputs)

    def variance(self) -> float:
        """Return the mean over records of the variance of their outputs."""
        means = self._outputs / self.count
        return float((self._squares / self.count - np.square(means)).mean())

    def model(self) -> Model:
        """Return the mean as a regressor; there must have been a sample."""
        count = self.count
        # Segments weigh as much as they have samples: (sum / own)^2 own / count.
        factors = np.concatenate(
            [
                total / np.float32(np.sqrt(own * count))
                for total, own in zip(self._factors, self._counts, strict=True)
                if own
            ],
            axis=1,
        )
        linear = (self._linear / count).astype(np.float32)
        mean = Model(float(np.float32(self._bias / count)), linear, factors, "regressor")
        return compress(mean, self._artifact_factors)

    def fitted_model(self, rows: SparseRows, fields: Fields, workers: Workers) -> Model:
        """Return the mean, changed so that its outputs for the records are those of the mean.

        Parameters
        ----------
        rows
            The records.
        """
        mean = self.model()
        missing = self._outputs / self.count - mean.outputs(rows)
        bias = float(missing.mean())
        # Weights first, as if there were no factors: nearly everything is theirs, and cheap.
        nothing = np.zeros(rows.shape[1], dtype=np.float32)
        targets = (missing - bias).astype(np.float32)
        solver = RowSampler(rows, fields, targets, nothing, nothing[:, None], workers)
        for _ in range(_WEIGHT_SWEEPS):
            solver.improve(_STRENGTH)
        weights, _ = solver.parameters()
        fitted = Model(mean.bias + bias, mean.linear + weights, mean.factors, "regressor")
        targets = (self._outputs / self.count - fitted.bias).astype(np.float32)
        solver = RowSampler(rows, fields, targets, fitted.linear, fitted.factors, workers)
        for _ in range(_SWEEPS):
            solver.improve(_STRENGTH)
        linear, factors = solver.parameters()
        return Model(fitted.bias, linear.copy(), factors.copy(), "regressor")
