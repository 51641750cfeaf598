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
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.data import Features, check_features, check_labels
from matinee.fm.errors import DataError, DivergedError
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.layout import LANES, Records, Rules, State
from matinee.fm.metrics import Totals
from matinee.fm.model import Model


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
    """

    epoch: int
    metrics: dict[str, float]
    records: int
    batches: int
    seconds: float


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
    clock
        Seconds; measures epochs.

    Raises
    ------
    DataError
        If there are no records, or features or labels break a rule.
    DivergedError
        If a prediction or a parameter becomes infinite or NaN.
    """
    rows = check_features(features, hyperparameters.feature_dim)
    checked = check_labels(labels, rows.shape[0], hyperparameters.predictor_type)
    if not len(checked):
        raise DataError("there are no records: at least one is needed to train")
    trainer = _Trainer(hyperparameters, rows, checked, rng)
    for epoch in range(hyperparameters.epochs):
        started = clock()
        metrics = trainer.run_epoch(epoch, observer)
        if observer is not None:
            seconds = clock() - started
            observer.on_epoch(EpochResult(epoch, metrics, len(checked), trainer.batches, seconds))
    return trainer.model(hyperparameters.epochs - 1)


def evaluate(model: Model, features: Features, labels: ArrayLike | None) -> dict[str, float]:
    """Return the metrics of a model on records it may not have seen.

    Raises
    ------
    DataError
        If there are no records, or features or labels break a rule.
    """
    scores = model.predict(features)
    checked = check_labels(labels, len(scores), model.predictor_type)
    if not len(scores):
        raise DataError("there are no records: at least one is needed to measure a model")
    totals = Totals(model.predictor_type)
    totals.add(scores, checked)
    return totals.metrics()


class _Trainer:
    """The arrays of one training run, laid out for ``matinee.fm.kernels``."""

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        features: Features,
        labels: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> None:
        # Numba takes more than a second to import: only those who train pay for it.
        from matinee.fm.kernels import train_batches

        self._run_batches = train_batches
        self._hyperparameters = hyperparameters
        self._labels = labels
        self.batches = -(-len(labels) // hyperparameters.mini_batch_size)
        self._records = self._make_records(features)
        self._rules = self._make_rules()
        self._state = self._make_state(rng)
        self._scores = np.empty(len(labels) + 1, dtype=np.float32)

    def run_epoch(self, epoch: int, observer: Observer | None) -> dict[str, float]:
        """Train on every batch once, publish batch metrics, return those of the epoch."""
        totals = Totals(self._hyperparameters.predictor_type)
        interval = self._hyperparameters.batch_metrics_publish_interval
        # Compiled code runs up to and with a batch whose metrics are published, or to the end.
        published = range(0, self.batches, interval)
        stops = sorted({*(batch + 1 for batch in published), self.batches})
        for first, stop in itertools.pairwise((0, *stops)):
            self._train_batches(epoch, first, stop)
            self._measure(first, stop, totals)
            if observer is not None and stop - 1 in published:
                observer.on_batch(BatchResult(epoch, stop - 1, totals.metrics()))
        return totals.metrics()

    def model(self, epoch: int) -> Model:
        """Take the parameters out as a model, which must be finite."""
        k = self._hyperparameters.num_factors
        bias = float(self._state.bias[0])
        weights = self._state.parameters.reshape(-1, 3, self._rules.is_factor.size)[:, 0]
        linear, factors = weights[:, k].copy(), weights[:, :k].copy()
        for name, values in (("bias", bias), ("linear", linear), ("factors", factors)):
            if not np.isfinite(values).all():
                raise self._diverged(f"a value of the {name} parameters", epoch)
        return Model(bias, linear, factors, self._hyperparameters.predictor_type)

    def _train_batches(self, epoch: int, first: int, stop: int) -> None:
        record = self._run_batches(
            self._records,
            self._state,
            self._rules,
            first,
            stop,
            epoch * self.batches + first,
            self._scores,
        )
        if record >= 0:
            raise self._diverged(f"the prediction for record {record}", epoch)

    def _measure(self, first: int, stop: int, totals: Totals) -> None:
        size = self._hyperparameters.mini_batch_size
        records = len(self._labels)
        batch = slice(first * size, min(stop * size, records))
        totals.add(self._scores[batch], self._labels[batch])
        padding = stop * size - records
        if padding > 0:
            totals.add(self._scores[records:], np.zeros(1, dtype=np.float32), times=padding)

    def _make_records(self, features: Features) -> Records:
        dense = isinstance(features, np.ndarray)
        if isinstance(features, np.ndarray):
            n, width = features.shape
            starts = np.arange(n + 1, dtype=np.int64) * width
            keys = np.arange(width, dtype=np.int32)
            values = features.ravel()
        else:
            starts = features.indptr.astype(np.int64)
            keys = features.indices.astype(np.int32, copy=False)
            values = features.data
        return Records(
            _read_only(starts),
            _read_only(keys),
            _read_only(values),
            _read_only(self._labels),
            dense,
        )

    def _make_rules(self) -> Rules:
        given = self._hyperparameters
        k = given.num_factors
        width = -(-(k + 1) // LANES) * LANES
        epsilon = np.float32(1e-8 if given.eps is None else given.eps)
        is_factor, rates, decays = (np.zeros(width, dtype=np.float32) for _ in range(3))
        is_factor[:k] = 1
        rates[:k] = given.factors_lr * given.learning_rate
        decays[:k] = given.factors_wd * given.wd
        if given.use_linear:
            rates[k] = given.linear_lr * given.learning_rate
            decays[k] = given.linear_wd * given.wd
        # Padding stays 0 if its 0 / (0 + epsilon) is not 0 / 0, whatever eps is.
        epsilons = np.ones(width, dtype=np.float32)
        epsilons[: k + 1] = epsilon
        rescale = 1 / given.mini_batch_size if given.rescale_grad is None else given.rescale_grad
        # MXNet's optimizers take 0 and negative bounds for "no clipping".
        clip = given.clip_gradient if given.clip_gradient and given.clip_gradient > 0 else np.inf
        return Rules(
            k,
            given.mini_batch_size,
            given.predictor_type == "binary_classifier",
            is_factor,
            rates,
            decays,
            epsilons,
            np.float32(given.bias_lr * given.learning_rate if given.use_bias else 0),
            np.float32(given.bias_wd * given.wd if given.use_bias else 0),
            epsilon,
            np.float32(rescale),
            np.float32(clip),
        )

    def _make_state(self, rng: np.random.Generator) -> State:
        given = self._hyperparameters
        starts = self._records.starts
        begins = np.arange(0, len(self._labels), given.mini_batch_size)
        ends = np.minimum(begins + given.mini_batch_size, len(self._labels))
        most = min(given.feature_dim, int((starts[ends] - starts[begins]).max()))
        width = self._rules.is_factor.size
        parameters = np.zeros((given.feature_dim, 3, width), dtype=np.float32)
        bias = np.zeros(3, dtype=np.float32)
        # The order of draws is part of what a seed means.
        drawn_bias = _draw(given, "bias", (1,), rng)
        drawn_linear = _draw(given, "linear", (given.feature_dim,), rng)
        k = given.num_factors
        parameters[:, 0, :k] = _draw(given, "factors", (given.feature_dim, k), rng)
        if given.use_linear:
            parameters[:, 0, k] = drawn_linear
        if given.use_bias:
            bias[:1] = drawn_bias
        return State(
            parameters.ravel(),
            bias,
            np.empty(most * width, dtype=np.float32),
            np.full(given.feature_dim, -1, dtype=np.int32),
            np.empty(most, dtype=np.int32),
            np.empty(width, dtype=np.float32),
        )

    def _diverged(self, what: str, epoch: int) -> DivergedError:
        given = self._hyperparameters
        return DivergedError(
            f"training diverged: {what} is not finite in epoch {epoch}; set clip_gradient or use "
            f"learning rates below bias_lr {given.bias_lr}, linear_lr {given.linear_lr}, "
            f"factors_lr {given.factors_lr}"
        )


def _draw(
    hyperparameters: Hyperparameters,
    group: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    method = getattr(hyperparameters, f"{group}_init_method")
    if method == "constant":
        return np.full(shape, getattr(hyperparameters, f"{group}_init_value"), dtype=np.float32)
    if method == "uniform":
        scale = np.float32(getattr(hyperparameters, f"{group}_init_scale"))
        return (2 * rng.random(shape, dtype=np.float32) - 1) * scale
    sigma = np.float32(getattr(hyperparameters, f"{group}_init_sigma"))
    return rng.standard_normal(shape, dtype=np.float32) * sigma


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    # One kind of array means one compiled version, whether the caller's may be written to or not.
    view = array.view()
    view.flags.writeable = False
    return view
