"""Training by plain stochastic gradient descent: one step a record, in an order of its own.

Meant for speed and, by averaging models trained from several seeds, for accuracy. The constant term
is the labels' mean (for a classifier its logit) and stays; the other parameters move along each
record's gradient with L2. Records of two one-hot features are grouped by the first, which changes
their order; all orders are drawn from the generator given. A result depends on the seed and the
number of threads, never on timing. Training that leaves the finite numbers ends in an error.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.averaging import average, compress
from matinee.fm.data import Features, SparseRows, check_labels, check_records, occurrences
from matinee.fm.errors import DataError, DivergedError, HyperparameterError
from matinee.fm.hyperparameters import PredictorType, settings_problems
from matinee.fm.metrics import Totals
from matinee.fm.model import Model
from matinee.fm.native import kernels
from matinee.fm.pairs import GroupedPairs, find_pairs
from matinee.fm.sgd_trainers import PairTrainer, RecordTrainer
from matinee.fm.stopping import LOSS, EarlyStopping
from matinee.fm.threads import Team
from matinee.fm.training import EpochResult, Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class SgdSettings:
    """How to train; checked when made.

    By default each model is good alone and their average a little better. Dense ratings reward an
    average of many models that each fit their noise too: little regularization, a wide start and
    large steps, such as num_models 48, num_factors 14, epochs 8, learning_rate 0.04, regularization
    0.01 and init_sigma 0.3. With 14 or 30 factors a feature's parameters fill whole vectors of the
    processor.

    Attributes
    ----------
    num_factors
        Length of each feature's factor vector in each model.
    predictor_type
        ``"regressor"`` or ``"binary_classifier"`` (labels 0 and 1).
    epochs
        Passes over the records, at most.
    learning_rate
        Size of a step.
    regularization
        L2 penalty on the linear terms and factors of a record's features, at each of its steps.
    init_sigma
        Standard deviation of the initial factors; linear terms start at 0.
    num_models
        Models trained from seeds of their own, whose predictions are averaged into one model.
    artifact_factors
        Factors kept, at most, of the average of several models.
    patience
        Epochs without a lower validation loss after which training stops; None never stops early.

    Raises
    ------
    HyperparameterError
        If a value is outside its range; all such values are named.
    """

    num_factors: int = 30
    predictor_type: PredictorType = "regressor"
    epochs: int = 16
    learning_rate: float = 0.02
    regularization: float = 0.05
    init_sigma: float = 0.1
    num_models: int = 8
    artifact_factors: int = 64
    patience: int | None = None

    def __post_init__(self) -> None:
        counts = ("num_factors", "epochs", "num_models", "artifact_factors", "patience")
        amounts = ("learning_rate", "regularization", "init_sigma")
        problems = settings_problems(self, counts, amounts)
        if problems:
            raise HyperparameterError("; ".join(problems))


def train_sgd(
    settings: SgdSettings,
    features: Features,
    labels: ArrayLike | None,
    rng: np.random.Generator,
    *,
    threads: int = 1,
    observer: Observer | None = None,
    validation: tuple[Features, ArrayLike] | None = None,
    initial: Model | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Model:
    """Train a model; the same arguments give the same bytes.

    Parameters
    ----------
    settings
        Checked settings.
    features
        CSR matrix or dense array (n, features).
    labels
        (n,), 0 or 1 for a binary_classifier.
    rng
        Draws the initial factors and the orders of records.
    threads
        Used when every record holds two one-hot features; part of what a seed means.
    observer
        Told of epochs.
    validation
        Features and labels by which to keep the best epoch's model.
    initial
        Where to start instead of at random.
    clock
        Seconds; measures epochs.

    Raises
    ------
    HyperparameterError
        If there are more threads than cores.
    DataError
        If there are no records, or features, labels or the initial model break a rule.
    DivergedError
        If a prediction or a parameter becomes infinite or NaN.
    """
    width = features.shape[-1]
    rows, checked = check_records(features, labels, width, settings.predictor_type)
    if initial is not None:
        initial.check(width, settings.num_factors, settings.predictor_type)
    models = _train_models(
        settings, rows, checked, rng, threads, observer, validation, initial, clock
    )
    if len(models) == 1:
        return models[0]
    return compress(average(models), settings.artifact_factors, weights=occurrences(rows))


def _train_models(
    settings: SgdSettings,
    features: SparseRows | NDArray[np.float32],
    labels: NDArray[np.float32],
    rng: np.random.Generator,
    threads: int,
    observer: Observer | None,
    validation: tuple[Features, ArrayLike] | None,
    initial: Model | None,
    clock: Callable[[], float],
) -> list[Model]:
    """Train all models, epoch by epoch at the same time; return those of the best epoch."""
    with Team(threads) as team, Team(1) as alone:
        # Several models have nothing in common: each is left to one thread.
        of_models, of_parts = (team, alone) if settings.num_models > 1 else (alone, team)
        parts = threads if of_parts is team else 1
        trainers = _make_trainers(settings, features, labels, rng, parts, of_parts, initial)
        stopping = EarlyStopping[list[Model]](settings.patience)
        for epoch in range(settings.epochs):
            started = clock()
            sums = of_models.map(
                lambda trainer: trainer.run_epoch(settings.learning_rate), trainers
            )
            seconds = clock() - started
            if not np.isfinite(sums).all():
                raise _diverged("a prediction", epoch, settings)
            validated = None
            if validation is not None:
                models = _models(trainers, epoch, settings)
                validated = _evaluate(models, *validation)
            if observer is not None:
                totals = Totals(settings.predictor_type)
                totals.add_sums(np.sum(sums, axis=0), len(trainers) * len(labels))
                n = len(labels)
                observer.on_epoch(EpochResult(epoch, totals.metrics(), n, n, seconds, validated))
            if validated is not None:
                loss = validated[LOSS[settings.predictor_type]]
                if stopping.update(epoch, loss, lambda: models):  # noqa: B023  (called at once)
                    break
    return _models(trainers, epoch, settings) if validation is None else stopping.best_model


def _make_trainers(
    settings: SgdSettings,
    features: SparseRows | NDArray[np.float32],
    labels: NDArray[np.float32],
    rng: np.random.Generator,
    parts: int,
    team: Team,
    initial: Model | None,
) -> Sequence[PairTrainer | RecordTrainer]:
    pairs = find_pairs(features)
    if pairs is not None:
        records = GroupedPairs.group(pairs, labels, features.shape[1], parts, rng)
    else:
        visits = rng.permutation(len(labels))
    stored = occurrences(features) > 0
    trainers: list[PairTrainer | RecordTrainer] = []
    for own in rng.spawn(settings.num_models):
        start = initial or _draw(settings, stored, labels, own)
        if pairs is not None:
            trainers.append(PairTrainer(records, start, settings.regularization, own, team))
        else:
            trainers.append(
                RecordTrainer(features, labels, visits, start, settings.regularization, own)
            )
    return trainers


def _draw(
    settings: SgdSettings,
    stored: NDArray[np.bool_],
    labels: NDArray[np.float32],
    rng: np.random.Generator,
) -> Model:
    """Draw an initial model; features that no record holds predict nothing: they are all 0."""
    mean = float(labels.mean(dtype=np.float64))
    if settings.predictor_type == "binary_classifier":
        # Half a record of either label more: labels that are all the same have finite log-odds.
        share = (mean * len(labels) + 0.5) / (len(labels) + 1)
        mean = math.log(share / (1 - share))
    shape = (len(stored), settings.num_factors)
    factors = rng.standard_normal(shape, dtype=np.float32) * np.float32(settings.init_sigma)
    factors[~stored] = 0
    linear = np.zeros(len(stored), dtype=np.float32)
    return Model(float(np.float32(mean)), linear, factors, settings.predictor_type)


def _models(
    trainers: Sequence[PairTrainer | RecordTrainer], epoch: int, settings: SgdSettings
) -> list[Model]:
    models = [trainer.model() for trainer in trainers]
    for model in models:
        for name, values in (("linear", model.linear), ("factors", model.factors)):
            if not np.isfinite(values).all():
                raise _diverged(f"a value of the {name} parameters", epoch, settings)
    return models


def _evaluate(models: list[Model], features: Features, labels: ArrayLike) -> dict[str, float]:
    """Return the metrics of the models' mean on records."""
    predictor_type = models[0].predictor_type
    outputs = np.mean(
        [
            dataclasses.replace(model, predictor_type="regressor").predict(features)
            for model in models
        ],
        axis=0,
    )
    checked = check_labels(labels, len(outputs), predictor_type)
    if not len(outputs):
        raise DataError(
            "there are no validation records: at least one is needed to measure a model"
        )
    totals = Totals(predictor_type)
    if predictor_type == "binary_classifier":
        kernels("scoring").apply_logistic(outputs, len(outputs))
    totals.add(outputs, checked)
    return totals.metrics()


def _diverged(what: str, epoch: int, settings: SgdSettings) -> DivergedError:
    return DivergedError(
        f"training diverged: {what} is not finite in epoch {epoch}; use a learning_rate below "
        f"{settings.learning_rate}"
    )
