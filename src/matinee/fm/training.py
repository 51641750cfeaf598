"""Training as SageMaker's Factorization Machines do it: mini-batches in file order, lazy Adam.

The order of records is kept in every epoch; the last short batch is filled up with empty records of
label 0, which reach the bias and the train metrics; gradients are batch sums divided by
``mini_batch_size``, with L2 added before clipping; only features with a stored key in the batch
move. Dense records hold every key, so the same rule is ordinary Adam for them, and ``factors_lr``
is honoured, as documented. Training that leaves the finite numbers ends in an error, never a model.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.data import Features, SparseRows, check_features, check_labels, check_records
from matinee.fm.errors import DataError, DivergedError
from matinee.fm.hosts import Hosts
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.layout import Records, Rules, State
from matinee.fm.metrics import Totals
from matinee.fm.model import Model
from matinee.fm.native import kernels

# Records measured at a time: bounds memory whatever their number.
_RECORDS_AT_A_TIME = 1 << 16


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Train metrics from the start of an epoch to the end of one batch.

    Attributes
    ----------
    epoch, batch
        Counted from 0.
    metrics
        Name to value, as in ``matinee.fm.metrics.METRICS``; padding counts.
    """

    epoch: int
    batch: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One pass over the training records.

    Attributes
    ----------
    epoch
        Counted from 0.
    metrics
        Name to value over the epoch, of predictions made before each batch's update; padding
        counts.
    records
        True number of records, without padding.
    batches
        ``ceil(records / mini_batch_size)``.
    seconds
        How long the pass took.
    validation
        Metrics of the validation records after the epoch; None without such records.
    """

    epoch: int
    metrics: dict[str, float]
    records: int
    batches: int
    seconds: float
    validation: dict[str, float] | None = None


class Observer(Protocol):
    """Is told how training goes, in order, from the thread that called ``train``."""

    def on_batch(self, result: BatchResult) -> None:
        """Batches 0, n, 2n ... of each epoch, n being ``batch_metrics_publish_interval``."""

    def on_epoch(self, result: EpochResult) -> None:
        """Each epoch, after its batches."""


def train(
    hyperparameters: Hyperparameters,
    features: Features,
    labels: ArrayLike | None,
    rng: np.random.Generator,
    observer: Observer | None = None,
    *,
    initial: Model | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Model:
    """Train a model; the same arguments give the same bytes.

    Parameters
    ----------
    hyperparameters
        Checked hyperparameters.
    features
        CSR matrix (n, at most feature_dim), trained with lazy Adam, or dense array
        (n, feature_dim), trained with ordinary Adam.
    labels
        (n,), 0 or 1 for a binary_classifier.
    rng
        Draws the initial parameters.
    observer
        Told of batches and epochs.
    initial
        A model to start from instead of a random one.
    clock
        Seconds; measures epochs.

    Raises
    ------
    DataError
        If there are no records, or features, labels or the initial model break a rule.
    DivergedError
        If a prediction or a parameter becomes infinite or NaN.
    """
    rows, checked = check_records(
        features, labels, hyperparameters.feature_dim, hyperparameters.predictor_type
    )
    trainer = AdamTrainer(hyperparameters, rows, checked, rng, initial)
    for epoch in range(hyperparameters.epochs):
        started = clock()
        metrics = trainer.run_epoch(observer)
        if observer is not None:
            seconds = clock() - started
            observer.on_epoch(EpochResult(epoch, metrics, len(checked), trainer.batches, seconds))
    return trainer.model()


def evaluate(
    model: Model, features: Features, labels: ArrayLike | None, hosts: Hosts | None = None
) -> dict[str, float]:
    """Return the metrics of a model on records it may not have seen.

    Parameters
    ----------
    model
        What to measure.
    features, labels
        The records.
    hosts
        Of the job, each of which calls this with the same model and records of its own, if any: all
        are told the metrics of all records.

    Raises
    ------
    DataError
        If there are no records, or features or labels break a rule.
    HostsError
        If a host is lost or has failed.
    """
    rows = check_features(features, model.feature_dim)
    checked = check_labels(labels, rows.shape[0], model.predictor_type)
    totals = Totals(model.predictor_type)
    for first in range(0, len(checked), _RECORDS_AT_A_TIME):
        part = slice(first, first + _RECORDS_AT_A_TIME)
        totals.add(model.predict(rows[part]), checked[part])
    totals = totals.of_all(hosts)
    if not totals.records:
        raise DataError("there are no records: at least one is needed to measure a model")
    return totals.metrics()


class AdamTrainer:
    """Training that goes on epoch by epoch.

    Parameters
    ----------
    hyperparameters
        Checked hyperparameters.
    features, labels
        As ``check_features`` and ``check_labels`` return them, one record or more.
    rng
        Draws the initial parameters.
    initial
        A model to start from instead; its moments start at 0.

    Raises
    ------
    DataError
        If the initial model's sizes or predictor type are others than the hyperparameters say.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        features: SparseRows | NDArray[np.float32],
        labels: NDArray[np.float32],
        rng: np.random.Generator,
        initial: Model | None = None,
    ) -> None:
        self.batches = -(-len(labels) // hyperparameters.mini_batch_size)
        self._hyperparameters = hyperparameters
        self._epoch = 0
        self._records = Records.of(features, labels)
        self._rules = Rules.of(hyperparameters)
        self._state = State.start(hyperparameters, self._records, rng, initial)
        adam = kernels("adam")
        self._run_batches = adam.train_pairs if _are_pairs(features) else adam.train_records

    def run_epoch(self, observer: Observer | None = None) -> dict[str, float]:
        """Train on every batch once, publish batch metrics, return those of the epoch.

        Raises
        ------
        DivergedError
            If a prediction is infinite or NaN.
        """
        totals = Totals(self._hyperparameters.predictor_type)
        interval = self._hyperparameters.batch_metrics_publish_interval
        # Compiled code runs up to and with a batch whose metrics are published, or to the end.
        published = range(0, self.batches, interval)
        stops = sorted({*(batch + 1 for batch in published), self.batches})
        for first, stop in itertools.pairwise((0, *stops)):
            self._train_batches(first, stop, totals)
            if observer is not None and stop - 1 in published:
                observer.on_batch(BatchResult(self._epoch, stop - 1, totals.metrics()))
        self._epoch += 1
        return totals.metrics()

    def model(self) -> Model:
        """Take the parameters out as a model.

        Raises
        ------
        DivergedError
            If one is infinite or NaN.
        """
        return trained_model(self._state, self._hyperparameters, self._epoch - 1)

    def _train_batches(self, first: int, stop: int, totals: Totals) -> None:
        sums = np.zeros(5 if self._rules.classifier else 2)
        record = self._run_batches(
            *self._records,
            *self._state,
            *self._rules,
            first,
            stop,
            self._epoch * self.batches + first,
            sums,
        )
        if record >= 0:
            what = f"the prediction for record {record}"
            raise diverged(self._hyperparameters, what, self._epoch)
        totals.add_sums(sums, (stop - first) * self._hyperparameters.mini_batch_size)


def trained_model(state: State, given: Hyperparameters, epoch: int) -> Model:
    """Take the parameters out as a model.

    Parameters
    ----------
    state
        After an epoch.
    given
        Hyperparameters of the training.
    epoch
        Which epoch, counted from 0.

    Raises
    ------
    DivergedError
        If a parameter is infinite or NaN.
    """
    bias = float(state.bias[0])
    linear, factors = state.linear(given), state.factors(given)
    for name, values in (("bias", bias), ("linear", linear), ("factors", factors)):
        if not np.isfinite(values).all():
            raise diverged(given, f"a value of the {name} parameters", epoch)
    return Model(bias, linear, factors, given.predictor_type)


def diverged(given: Hyperparameters, what: str, epoch: int) -> DivergedError:
    """Return the error for ``what`` of an epoch that is not finite."""
    return DivergedError(
        f"training diverged: {what} is not finite in epoch {epoch}; set clip_gradient or use "
        f"learning rates below bias_lr {given.bias_lr}, linear_lr {given.linear_lr}, "
        f"factors_lr {given.factors_lr}"
    )


def _are_pairs(features: SparseRows | NDArray[np.float32]) -> bool:
    if not isinstance(features, SparseRows):
        return False
    return features.all_ones and features.values_per_record == 2
