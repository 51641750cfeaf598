"""Bayesian Factorization Machines by Gibbs sampling: regularisation is learned, not given.

Every feature's vector (its linear weight and its factors together) is drawn at once from its
distribution given all others; every field has a mean and a precision of its own for the weights and
for each factor (Freudenthaler, Schmidt-Thieme and Rendle 2011; Rendle 2012). The same arguments
give the same posterior, whatever the number of threads.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.chain import Chain
from matinee.fm.data import Features, SparseRows, check_features, check_labels, check_records
from matinee.fm.errors import DataError, HyperparameterError
from matinee.fm.fields import Fields
from matinee.fm.gibbs import Workers
from matinee.fm.hyperparameters import PredictorType, settings_problems
from matinee.fm.metrics import Totals
from matinee.fm.model import Model
from matinee.fm.posterior import Posterior
from matinee.fm.posterior_mean import PosteriorMean
from matinee.fm.stopping import LOSS, EarlyStopping
from matinee.fm.training import EpochResult, Observer

# Of the posterior's model, unless the settings say otherwise: loses next to nothing.
_LEAST_FACTORS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class McmcSettings:
    """How to train; checked when made.

    Attributes
    ----------
    num_factors
        Length of each feature's factor vector.
    predictor_type
        ``"regressor"`` or ``"binary_classifier"``.
    epochs
        Sweeps over all parameters.
    burn_in
        Sweeps at the beginning that the posterior forgets; fewer than ``epochs``.
    field_dims
        Widths of the fields; ``None`` finds them, see ``Fields.detect``.
    init_sigma
        Standard deviation of the initial factors.
    artifact_factors
        Most factors of the posterior's model; ``None`` stands for twice ``num_factors``, but at
        least 64, which loses next to nothing.
    num_samples
        Most samples that are kept for ``Posterior.predict_std``.
    patience
        Kept sweeps without a better validation loss before training stops; ``None`` never stops it.

    Raises
    ------
    HyperparameterError
        If a value is outside its range; all such values are named.
    """

    num_factors: int = 8
    predictor_type: PredictorType = "regressor"
    epochs: int = 300
    burn_in: int = 20
    field_dims: tuple[int, ...] | None = None
    init_sigma: float = 0.1
    artifact_factors: int | None = None
    num_samples: int = 16
    patience: int | None = None

    def __post_init__(self) -> None:
        counts = ("num_factors", "epochs", "artifact_factors", "patience")
        problems = settings_problems(self, counts, ("burn_in", "init_sigma", "num_samples"))
        if self.burn_in >= self.epochs:
            problems.append(
                f"burn_in is {self.burn_in}: it must be below epochs, which is {self.epochs}"
            )
        if problems:
            raise HyperparameterError("; ".join(problems))


def train_mcmc(
    settings: McmcSettings,
    features: Features,
    labels: ArrayLike | None,
    rng: np.random.Generator,
    *,
    threads: int = 1,
    observer: Observer | None = None,
    validation: tuple[Features, ArrayLike | None] | None = None,
    initial: Model | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Posterior:
    """Sample the posterior of a Factorization Machine.

    The artifact answers a binary_classifier's records through the logistic function, the chain
    through the normal distribution function: outputs are scaled so that they nearly agree.

    Parameters
    ----------
    settings
        Checked settings.
    features
        CSR matrix or dense array (n, features).
    labels
        (n,), 0 or 1 for a binary_classifier.
    rng
        Draws everything.
    threads
        How many; they make training faster and change nothing else.
    observer
        Told of epochs: train metrics are those of the sweep's own sample.
    validation
        Features and labels by which to keep the best epoch's posterior, and to stop early. Metrics
        are of the mean since burn-in, before that of the sweep's own sample.
    initial
        Where to start instead of at random.
    clock
        Seconds; measures epochs.

    Raises
    ------
    HyperparameterError
        If there are more threads than cores, or fields do not fit the features.
    DataError
        If there are no records, or features, labels or the initial model break a rule.
    DivergedError
        If a prediction or a parameter becomes infinite or NaN.
    """
    width = features.shape[1]
    given, checked = check_records(features, labels, width, settings.predictor_type)
    rows = _as_sparse(given)
    if initial is not None:
        initial.check(width, settings.num_factors, settings.predictor_type)
    fields = Fields.of(settings.field_dims, rows)
    judge = None if validation is None else _Judge(settings, *validation, rows.shape[1])
    with Workers(threads) as workers:
        chain = Chain(
            rows,
            checked,
            fields,
            settings.predictor_type,
            initial,
            settings.num_factors,
            settings.init_sigma,
            rng,
            workers,
        )
        collector = _Collector(settings, chain)
        for epoch in range(settings.epochs):
            started = clock()
            chain.sweep(epoch)
            kept = epoch >= settings.burn_in
            if kept:
                collector.keep()
            validated = None if judge is None else judge.measure(chain.sample(), kept=kept)
            if observer is not None:
                metrics = chain.metrics()
                seconds = clock() - started
                observer.on_epoch(EpochResult(epoch, metrics, len(checked), 1, seconds, validated))
            if judge is not None and kept and judge.should_stop(epoch, collector.so_far):
                break
        return collector.posterior(None if judge is None else judge.best)


# What has been kept of a chain by some epoch: enough to make a posterior.
_Kept: TypeAlias = tuple[PosteriorMean, tuple[Model, ...]]


class _Collector:
    """What a posterior is made of, sweep by sweep."""

    def __init__(self, settings: McmcSettings, chain: Chain) -> None:
        self._chain = chain
        self._wanted = settings.num_samples
        kept = settings.epochs - settings.burn_in
        self._apart = max(1, kept // max(1, self._wanted))
        factors = settings.artifact_factors
        if factors is None:
            factors = max(_LEAST_FACTORS, 2 * settings.num_factors)
        self._mean = chain.make_mean(factors, kept)
        self._samples: list[Model] = []

    def keep(self) -> None:
        """Count the chain's current state in."""
        self._chain.add_to(self._mean)
        if len(self._samples) < self._wanted and self._mean.count % self._apart == 0:
            self._samples.append(self._chain.sample())

    def so_far(self) -> _Kept:
        """Return a copy of what has been kept, from which a posterior can be made later."""
        return self._mean.copy(), tuple(self._samples)

    def posterior(self, of: _Kept | None = None) -> Posterior:
        """Return the posterior of a copy, or of all that has been kept."""
        mean, samples = (self._mean, tuple(self._samples)) if of is None else of
        return Posterior(self._chain.mean_of_labels(mean), samples)


class _Judge:
    """Measures validation records, and keeps the posterior that does best there."""

    def __init__(
        self,
        settings: McmcSettings,
        features: Features,
        labels: ArrayLike | None,
        feature_dim: int,
    ) -> None:
        self._predictor_type = settings.predictor_type
        self._rows = check_features(features, feature_dim)
        count = self._rows.shape[0]
        self._labels = check_labels(labels, count, settings.predictor_type)
        if not count:
            raise DataError(
                "there are no validation records: at least one is needed to measure a model"
            )
        self._stopping = EarlyStopping[_Kept](settings.patience)
        self._sums = np.zeros(count)
        self._kept = 0
        self._loss = math.inf

    def measure(self, sample: Model, *, kept: bool) -> dict[str, float]:
        """Return metrics of the mean of the samples kept, or of the sample if it is not kept."""
        scores = sample.predict(self._rows)
        if kept:
            self._sums += scores
            self._kept += 1
            scores = (self._sums / self._kept).astype(np.float32)
        totals = Totals(self._predictor_type)
        totals.add(scores, self._labels)
        metrics = totals.metrics()
        self._loss = metrics[LOSS[self._predictor_type]]
        return metrics

    def should_stop(self, epoch: int, so_far: Callable[[], _Kept]) -> bool:
        """Judge the epoch that was measured last."""
        return self._stopping.update(epoch, self._loss, so_far)

    @property
    def best(self) -> _Kept:
        """What had been kept by the best epoch."""
        return self._stopping.best_model


def _as_sparse(rows: SparseRows | NDArray[np.float32]) -> SparseRows:
    """Return checked features as rows whose values begin at 0."""
    if isinstance(rows, SparseRows):
        begin, end = (int(place) for place in rows.indptr[[0, -1]])
        if (begin, end) == (0, len(rows.indices)):
            return rows
        stored = slice(begin, end)
        indptr = rows.indptr - begin
        return SparseRows(indptr, rows.indices[stored], rows.data[stored], rows.shape)
    records, keys = np.nonzero(rows)
    counts = np.bincount(records, minlength=len(rows))
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return SparseRows(indptr, keys.astype(np.int32), rows[records, keys], rows.shape)
