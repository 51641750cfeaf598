"""The chain of a Bayesian Factorization Machine: everything that a sweep draws.

Labels are in units of their standard deviation around their mean, values of features that are large
in units of their root mean square, so that vague priors fit any; models leave the chain in the
units that were given. Labels of a binary_classifier are latent normal ones (Albert and Chib
1993). Its model answers through the logistic function, the chain through the normal distribution
function: models leave the chain so scaled that the two nearly agree.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.errors import DivergedError
from matinee.fm.fields import Fields
from matinee.fm.gibbs import Residuals, Sampler, Workers, draw_noise, draw_priors, normals
from matinee.fm.gibbs_pairs import PairSampler
from matinee.fm.gibbs_rows import RowSampler
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.metrics import Totals
from matinee.fm.model import Model
from matinee.fm.native import kernels
from matinee.fm.posterior_mean import PosteriorMean

# The logistic of so many times a number is nearly the standard normal distribution function of it.
_PROBIT_TO_LOGIT = 1.702

_RECORDS = 2**16  # latent labels drawn at a time
_LARGEST_SQUARES = 1e30  # of residuals: where float32 has long lost the labels


class Chain:
    """A state of all parameters, and how it moves.

    Parameters
    ----------
    rows, labels
        Checked records, at least one; their values begin at 0.
    fields
        Of the rows.
    predictor_type
        ``"regressor"`` or ``"binary_classifier"``.
    initial
        A model of the labels to start from; None draws one.
    num_factors, init_sigma
        Of a drawn one; the deviation is in units of the chain.
    rng
        Draws everything.
    workers
        Who does the work.
    """

    def __init__(
        self,
        rows: SparseRows,
        labels: NDArray[np.float32],
        fields: Fields,
        predictor_type: PredictorType,
        initial: Model | None,
        num_factors: int,
        init_sigma: float,
        rng: np.random.Generator,
        workers: Workers,
    ) -> None:
        self._units = _units(rows)
        if (self._units != 1).any():
            values = rows.data / self._units[rows.indices]
            rows = dataclasses.replace(rows, data=values, all_ones=False)
        self._rows, self._labels, self._fields = rows, labels, fields
        self._predictor_type = predictor_type
        self._classifier = predictor_type == "binary_classifier"
        self._rng = rng
        self._workers = workers
        self._centre, self._scale = 0.0, _PROBIT_TO_LOGIT
        if not self._classifier:
            self._centre = float(labels.mean(dtype=np.float64))
            # Constant labels have no unit.
            self._scale = float(labels.std(dtype=np.float64)) or 1.0
        if initial is None:
            start = _draw_start(rows.shape[1], num_factors, init_sigma, rng)
        else:
            centred = dataclasses.replace(initial, bias=initial.bias - self._centre)
            start = _in_units(_scaled(centred, 1 / self._scale), self._units)
        self._seed = int(rng.integers(2**63))
        self._bias, self._noise = start.bias, 1.0
        # What the sampler explains; of a classifier, redrawn before every sweep.
        self._targets = ((labels - self._centre) / self._scale).astype(np.float32)
        # Between sweeps only classifiers need outputs.
        self._outputs = start.outputs(rows)
        self._residuals = _sum_up(self._targets - self._outputs)
        self._pairs = PairSampler.fits(rows, fields)
        kind = PairSampler if self._pairs else RowSampler
        self._sampler: Sampler = kind(
            rows, fields, self._targets, start.linear, start.factors, workers
        )

    def sweep(self, epoch: int) -> None:
        """Draw everything once.

        Raises
        ------
        DivergedError
            If predictions leave all bounds, or are NaN.
        """
        self._check(epoch)
        if self._classifier:
            self._draw_targets()
        else:
            count = len(self._labels)
            shift = self._draw_bias(self._residuals.sum)
            squares = self._residuals.squares + shift * (count * shift - 2 * self._residuals.sum)
            self._noise = draw_noise(squares, count, self._rng)
        priors = draw_priors(self._sampler.moments(), self._rng)
        fill = normals(self._seed, epoch)
        self._residuals = self._sampler.sweep(self._bias, self._noise, priors, fill)
        self._check(epoch)
        if self._classifier:
            self._outputs = self._targets - self._sampler.residuals()

    def metrics(self) -> dict[str, float]:
        """Return the train metrics of the current state."""
        totals = Totals(self._predictor_type)
        if self._classifier:
            scores = self._outputs * np.float32(self._scale)
            kernels("scoring").apply_logistic(scores, len(scores))
            totals.add(scores, self._labels)
        else:
            squares = self._residuals.squares * self._scale**2
            sums = np.array((squares, self._residuals.absolute * self._scale))
            totals.add_sums(sums, len(self._labels))
        return totals.metrics()

    def sample(self) -> Model:
        """Return the current state as a model of the labels."""
        state = Model(self._bias, *self._sampler.parameters(), "regressor")
        return self._of_labels(state, self._scale)

    def make_mean(self, artifact_factors: int, samples: int) -> PosteriorMean:
        """Return a mean of no samples for ``add_to``."""
        records = len(self._labels) if self._classifier or not self._pairs else 0
        linear, factors = self._sampler.parameters()
        return PosteriorMean(len(linear), factors.shape[1], artifact_factors, samples, records)

    def add_to(self, mean: PosteriorMean) -> None:
        """Count the current state in."""
        outputs = self._outputs
        if not self._classifier:
            # Those of pairs are not needed.
            outputs = outputs[:0] if self._pairs else self._targets - self._sampler.residuals()
        mean.add(self._bias, *self._sampler.parameters(), outputs)

    def mean_of_labels(self, mean: PosteriorMean) -> Model:
        """Return a mean as a model of the labels."""
        if self._pairs:
            # Features of different fields are all that two of one record can be.
            model = mean.model()
        else:
            model = mean.fitted_model(self._rows, self._fields, self._workers)
        scale = self._scale
        if self._classifier:
            # The mean of the normal distribution function of a normal variable.
            scale /= math.sqrt(1 + mean.variance())
        return self._of_labels(model, scale)

    def _of_labels(self, model: Model, scale: float) -> Model:
        scaled = _in_units(_scaled(model, scale), np.float32(1) / self._units)
        return dataclasses.replace(
            scaled, bias=scaled.bias + self._centre, predictor_type=self._predictor_type
        )

    def _check(self, epoch: int) -> None:
        squares = self._residuals.squares
        # NaN is not below anything.
        if not squares < _LARGEST_SQUARES:
            raise DivergedError(
                f"training diverged: in epoch {epoch} predictions are off by the root of {squares} "
                "in all; features of very different sizes may be the reason: scale them"
            )

    def _draw_bias(self, residuals: float) -> float:
        """Draw the constant term, given the sum of residuals; return its change."""
        count, noise = len(self._labels), self._noise
        # Its prior is standard normal.
        mean = (residuals + count * self._bias) / (count + noise)
        drawn = mean + float(self._rng.standard_normal()) * math.sqrt(noise / (count + noise))
        shift = drawn - self._bias
        self._bias = drawn
        return shift

    def _draw_targets(self) -> None:
        """Draw a classifier's latent labels, and the constant term."""
        targets = np.empty_like(self._outputs)
        seeds = self._rng.integers(2**64, size=1, dtype=np.uint64)

        def draw(first: int, last: int) -> None:
            kernels("latents").draw_latents(
                self._outputs, self._labels, seeds, first, last, targets
            )

        self._workers.map_parts(draw, len(targets), _RECORDS)
        self._draw_bias(float((targets - self._outputs).sum(dtype=np.float64)))
        self._targets = targets
        self._sampler.relabel(targets)


def _units(rows: SparseRows) -> NDArray[np.float32]:
    """Return the root mean square of each feature's values other than 0, but at least 1."""
    width = rows.shape[1]
    if rows.all_ones:
        return np.ones(width, dtype=np.float32)
    counts = np.bincount(rows.indices, rows.data != 0, width)
    squares = np.bincount(rows.indices, np.square(rows.data, dtype=np.float64), width)
    # Small values, as of long histories, are meant to be small.
    return np.sqrt(np.maximum(squares / np.maximum(counts, 1), 1)).astype(np.float32)


def _in_units(model: Model, units: NDArray[np.float32]) -> Model:
    """Return the model for features whose values are given in other units."""
    linear, factors = model.linear * units, model.factors * units[:, None]
    return dataclasses.replace(model, linear=linear, factors=factors)


def _sum_up(residuals: NDArray[np.float32]) -> Residuals:
    values = residuals.astype(np.float64)
    return Residuals(
        float(values.sum()), float(np.square(values).sum()), float(np.abs(values).sum())
    )


def _draw_start(
    feature_dim: int, num_factors: int, sigma: float, rng: np.random.Generator
) -> Model:
    # Weights of 0 would tell the first priors that all weights are.
    drawn = rng.standard_normal((feature_dim, num_factors + 1), dtype=np.float32)
    drawn *= np.float32(sigma)
    return Model(0.0, drawn[:, -1].copy(), drawn[:, :-1].copy(), "regressor")


def _scaled(model: Model, by: float) -> Model:
    """Return the model whose outputs are so many times the model's."""
    linear, factors = model.linear * np.float32(by), model.factors * np.float32(math.sqrt(by))
    return Model(model.bias * by, linear, factors, model.predictor_type)
