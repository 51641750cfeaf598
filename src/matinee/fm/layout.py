"""How Adam's training lays its numbers out for the compiled loops: what they read, change and obey.

Tuples of arrays and scalars only, in the order of the kernels' parameters
(``matinee.fm.kernels.adam``). A feature's factors, linear term and all their moments are one row,
aligned to cache lines.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows, compressed
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.model import Model
from matinee.fm.native import LANES, aligned, padded

BLOCK_VALUES = 16
"""Scratch space is kept for this many records, the most that the kernels put into a block."""

# Initial factors drawn at a time: bounds the memory beside the parameters.
_DRAWN_AT_A_TIME = 1 << 18


class Records(NamedTuple):
    """Training records as compressed rows.

    Attributes
    ----------
    starts
        int64 (n + 1,): where each record's values start; the last is where they all end.
    keys
        int32: the feature of each value; of dense records, those of one record.
    values, labels
        float32 (number of values,) and (n,).
    n
        Number of records.
    dense
        Whether every record holds every feature.
    """

    starts: NDArray[np.int64]
    keys: NDArray[np.int32]
    values: NDArray[np.float32]
    labels: NDArray[np.float32]
    n: int
    dense: bool

    @classmethod
    def of(cls, features: SparseRows | NDArray[np.float32], labels: NDArray[np.float32]) -> Self:
        """Lay out checked records."""
        starts, keys, values, dense = compressed(features)
        return cls(starts, keys, values, labels, len(labels), dense)


class State(NamedTuple):
    """What training changes, and its scratch space.

    Attributes
    ----------
    parameters
        float32 (feature_dim * (3 * width + LANES),): of each feature the factors and their first
        and second moments, each filled up with zeros to ``width``, then the linear term, its two
        moments and zeros.
    bias
        float32 (3,): the constant term and its moments.
    gradients
        float32 (most slots * (width + LANES),): the sums for features that several records of a
        batch hold, factors and linear term; 0 outside a batch.
    table
        int32 (2 ** table_bits,): a hash table of a batch's features.
    slots
        int32 (most values in a batch,): the row in ``gradients`` of each value's feature.
    touched
        int32 (most slots,): the feature of each slot; of dense records always all features.
    scratch
        float32 (BLOCK_VALUES * (width + 1),): sums and gradients of a few records.
    table_bits
        Chosen so that a quarter of the table or less is used.
    """

    parameters: NDArray[np.float32]
    bias: NDArray[np.float32]
    gradients: NDArray[np.float32]
    table: NDArray[np.int32]
    slots: NDArray[np.int32]
    touched: NDArray[np.int32]
    scratch: NDArray[np.float32]
    table_bits: int

    @classmethod
    def start(
        cls,
        given: Hyperparameters,
        records: Records,
        rng: np.random.Generator,
        initial: Model | None,
    ) -> Self:
        """Draw the initial parameters, or take those of a model; all moments are 0.

        Raises
        ------
        DataError
            If training may not start from the model.
        """
        values = most_values(records, given.mini_batch_size)
        # A slot is of two values or more.
        slots = given.feature_dim if records.dense else min(given.feature_dim, values // 2)
        return cls.with_slots(given, min(given.feature_dim, values), values, slots, rng, initial)

    @classmethod
    def with_slots(
        cls,
        given: Hyperparameters,
        different: int,
        values: int,
        slots: int,
        rng: np.random.Generator,
        initial: Model | None,
    ) -> Self:
        """As ``start``, for batches of any kind.

        Parameters
        ----------
        given, rng, initial
            As for ``start``.
        different
            The most features that the table has to hold.
        values
            The most values whose slots are kept.
        slots
            The most slots.

        Raises
        ------
        DataError
            If training may not start from the model.
        """
        parameters, bias = _start(given, rng, initial)
        table_bits = min(32, (4 * different).bit_length())
        return cls(
            parameters,
            bias,
            aligned(slots * (padded(given.num_factors) + LANES)),
            np.empty(1 << table_bits, dtype=np.int32),
            np.empty(values, dtype=np.int32),
            np.arange(slots, dtype=np.int32),
            aligned(BLOCK_VALUES * (padded(given.num_factors) + 1)),
            table_bits,
        )

    def linear(self, given: Hyperparameters) -> NDArray[np.float32]:
        """Copy the linear terms, float32 (feature_dim,)."""
        rows = self.parameters.reshape(given.feature_dim, -1)
        return rows[:, 3 * padded(given.num_factors)].copy()

    def factors(self, given: Hyperparameters) -> NDArray[np.float32]:
        """Copy the factors, float32 (feature_dim, num_factors)."""
        rows = self.parameters.reshape(given.feature_dim, -1)
        return rows[:, : given.num_factors].copy()


class Rules(NamedTuple):
    """How parameters move.

    Attributes
    ----------
    width
        ``num_factors`` rounded up to a multiple of ``LANES``.
    mini_batch_size, classifier
        As the hyperparameters say.
    epsilons
        float32 (width,): Adam's epsilon by column.
    factors_rate, factors_decay, linear_rate, linear_decay, bias_rate, bias_decay
        Learning rate and L2 of each group.
    epsilon
        Adam's epsilon.
    rescale
        Multiplies summed gradients.
    clip
        Bounds a gradient's size; infinity bounds nothing.
    """

    width: int
    mini_batch_size: int
    classifier: bool
    epsilons: NDArray[np.float32]
    factors_rate: float
    factors_decay: float
    linear_rate: float
    linear_decay: float
    bias_rate: float
    bias_decay: float
    epsilon: float
    rescale: float
    clip: float

    @classmethod
    def of(cls, given: Hyperparameters) -> Self:
        """Gather what hyperparameters say."""
        width = padded(given.num_factors)
        epsilon = 1e-8 if given.eps is None else given.eps
        # Padding stays 0 if its 0 / (0 + epsilon) is not 0 / 0, whatever eps is.
        epsilons = np.ones(width, dtype=np.float32)
        epsilons[: given.num_factors] = epsilon
        return cls(
            width,
            given.mini_batch_size,
            given.predictor_type == "binary_classifier",
            epsilons,
            given.factors_lr * given.learning_rate,
            given.factors_wd * given.wd,
            given.linear_lr * given.learning_rate if given.use_linear else 0,
            given.linear_wd * given.wd if given.use_linear else 0,
            given.bias_lr * given.learning_rate if given.use_bias else 0,
            given.bias_wd * given.wd if given.use_bias else 0,
            epsilon,
            1 / given.mini_batch_size if given.rescale_grad is None else given.rescale_grad,
            # MXNet's optimizers take 0 and negative bounds for "no clipping".
            given.clip_gradient if given.clip_gradient and given.clip_gradient > 0 else np.inf,
        )


def most_values(records: Records, mini_batch_size: int) -> int:
    """Return the most values that a mini-batch of sparse records holds; 0 for dense ones."""
    if records.dense or not records.n:
        return 0
    begins = np.arange(0, records.n, mini_batch_size)
    ends = np.minimum(begins + mini_batch_size, records.n)
    return int((records.starts[ends] - records.starts[begins]).max())


def _start(
    given: Hyperparameters, rng: np.random.Generator, initial: Model | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return ``State``'s parameters and bias at the start."""
    if initial is not None:
        initial.check(given.feature_dim, given.num_factors, given.predictor_type)
    width = padded(given.num_factors)
    stride = 3 * width + LANES
    parameters = aligned(given.feature_dim * stride)
    rows = parameters.reshape(given.feature_dim, stride)
    bias = np.zeros(3, dtype=np.float32)
    if initial is None:
        # The order of draws is part of what a seed means.
        drawn_bias = _draw(given, "bias", (1,), rng)
        drawn_linear = _draw(given, "linear", (given.feature_dim,), rng)
        at_a_time = max(1, _DRAWN_AT_A_TIME // given.num_factors)
        for first in range(0, given.feature_dim, at_a_time):
            part = rows[first : first + at_a_time, : given.num_factors]
            part[:] = _draw(given, "factors", part.shape, rng)
    else:
        drawn_bias, drawn_linear = np.array([initial.bias], dtype=np.float32), initial.linear
        rows[:, : given.num_factors] = initial.factors
    if given.use_linear:
        rows[:, 3 * width] = drawn_linear
    if given.use_bias:
        bias[:1] = drawn_bias
    return parameters, bias


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
