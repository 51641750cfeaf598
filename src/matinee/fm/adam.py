"""The solver ``adam``: SageMaker's training, and around it what SageMaker's algorithm lacks.

Without any extra this is ``matinee.fm.training.train`` to the byte. The extras: start from a model,
keep the best epoch by records held out and stop early, and average models trained from seeds of
their own, one after the other. Epochs are counted through from the first model to the last.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.averaging import average, compress
from matinee.fm.data import Features, SparseRows, check_features, check_labels, occurrences
from matinee.fm.errors import DataError, HyperparameterError
from matinee.fm.hosts import Hosts, added_up
from matinee.fm.hyperparameters import Hyperparameters, PredictorType
from matinee.fm.model import Model
from matinee.fm.shared_training import SharedAdamTrainer, agree
from matinee.fm.stopping import LOSS, EarlyStopping
from matinee.fm.training import AdamTrainer, BatchResult, EpochResult, Observer, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamSettings:
    """How to train.

    Attributes
    ----------
    hyperparameters
        As SageMaker's algorithm takes them.
    num_models
        Models trained from seeds of their own, whose raw outputs are averaged into one model.
    artifact_factors
        Factors kept of the average of several models; None keeps ``num_factors``.
    patience
        Epochs without a lower validation loss after which a model's training stops; None never
        stops early.
    """

    hyperparameters: Hyperparameters
    num_models: int = 1
    artifact_factors: int | None = None
    patience: int | None = None

    @property
    def num_factors(self) -> int:
        return self.hyperparameters.num_factors

    @property
    def predictor_type(self) -> PredictorType:
        return self.hyperparameters.predictor_type


def train_adam(
    settings: AdamSettings,
    features: Features,
    labels: ArrayLike | None,
    rng: np.random.Generator,
    *,
    observer: Observer | None = None,
    validation: tuple[Features, ArrayLike] | None = None,
    initial: Model | None = None,
    hosts: Hosts | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Model:
    """Train a model; the same arguments give the same bytes.

    Parameters
    ----------
    settings
        Checked settings.
    features
        CSR matrix (n, at most feature_dim), trained with lazy Adam, or dense array
        (n, feature_dim), trained with ordinary Adam.
    labels
        (n,), 0 or 1 for a binary_classifier.
    rng
        Draws the initial parameters.
    observer
        Told of batches and epochs.
    validation
        Features and labels by which to keep the best epoch's model.
    initial
        Where to start instead of at random, with zero moments.
    hosts
        Of the job, each of which calls this with records of its own, if any, and otherwise the same
        arguments: all return the same model.
    clock
        Seconds; measures epochs.

    Raises
    ------
    HyperparameterError
        If several models are to start from the same one: without chance they would stay the same.
    DataError
        If there are no records, or features, labels or the initial model break a rule.
    DivergedError
        If a prediction or a parameter becomes infinite or NaN.
    HostsError
        If a host is lost or has failed.
    """
    given = settings.hyperparameters
    count = settings.num_models
    if initial is not None and count > 1:
        raise HyperparameterError(
            f"num_models is {count} but all would start from the same model and end as the same "
            "model: adam draws nothing but the start; use 1"
        )
    rows = check_features(features, given.feature_dim)
    checked = check_labels(labels, rows.shape[0], given.predictor_type)
    make_trainer = _trainer(given, rows, checked, hosts, initial)
    generators = [rng] if count == 1 else rng.spawn(count)
    models = []
    for member, generator in enumerate(generators):
        told = None if observer is None else _Later(observer, member * given.epochs)
        trainer = make_trainer(generator)
        models.append(_train_one(settings, trainer, len(checked), told, validation, hosts, clock))
    if count == 1:
        return models[0]
    # How often a feature occurs says how much its interactions matter.
    weights = None
    if isinstance(rows, SparseRows):
        weights = added_up(hosts, occurrences(rows).astype(np.float64)).astype(np.int64)
    return compress(average(models), settings.artifact_factors or given.num_factors, weights)


class _Trainer(Protocol):
    """Training that goes on epoch by epoch."""

    batches: int

    def run_epoch(self, observer: Observer | None = None) -> dict[str, float]:
        """Train on every batch once, publish batch metrics, return those of the epoch."""

    def model(self) -> Model:
        """Take the parameters out as a model."""


def _trainer(
    given: Hyperparameters,
    rows: SparseRows | NDArray[np.float32],
    labels: NDArray[np.float32],
    hosts: Hosts | None,
    initial: Model | None,
) -> Callable[[np.random.Generator], _Trainer]:
    """Return what makes a trainer of initial parameters that a generator draws."""
    if hosts is not None:
        plan = agree(hosts, given, rows, labels)
        return lambda rng: SharedAdamTrainer(given, rows, labels, rng, hosts, plan, initial)
    if not len(labels):
        raise DataError("there are no records: at least one is needed to train")
    return lambda rng: AdamTrainer(given, rows, labels, rng, initial)


def _train_one(
    settings: AdamSettings,
    trainer: _Trainer,
    records: int,
    observer: Observer | None,
    validation: tuple[Features, ArrayLike] | None,
    hosts: Hosts | None,
    clock: Callable[[], float],
) -> Model:
    stopping: EarlyStopping[Model] = EarlyStopping(settings.patience)
    for epoch in range(settings.hyperparameters.epochs):
        started = clock()
        metrics = trainer.run_epoch(observer)
        result = EpochResult(epoch, metrics, records, trainer.batches, clock() - started)
        stop = False
        if validation is not None:
            measured = evaluate(trainer.model(), *validation, hosts)
            loss = measured[LOSS[settings.predictor_type]]
            stop = stopping.update(epoch, loss, trainer.model)
            result = dataclasses.replace(result, validation=measured)
        if observer is not None:
            observer.on_epoch(result)
        if stop:
            break
    return trainer.model() if validation is None else stopping.best_model


class _Later:
    """An observer of one of several models, whose epochs come after those of others."""

    def __init__(self, observer: Observer, epochs: int) -> None:
        self._observer = observer
        self._epochs = epochs

    def on_batch(self, result: BatchResult) -> None:
        self._observer.on_batch(dataclasses.replace(result, epoch=self._epochs + result.epoch))

    def on_epoch(self, result: EpochResult) -> None:
        self._observer.on_epoch(dataclasses.replace(result, epoch=self._epochs + result.epoch))
