"""How training lays its numbers out for the compiled loop: what it reads, changes and obeys.

Tuples of arrays and scalars only, each of the exact type that ``matinee.fm.kernels`` was compiled
for.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LANES = 16
"""Rows of parameters are padded to a multiple of this many floats."""


class Records(NamedTuple):
    """Training records as compressed rows, all arrays read-only.

    Attributes
    ----------
    starts
        int64 (n + 1,): where each record's values start; the last is where they all end.
    keys
        int32: the feature of each value; of dense records, those of one record.
    values, labels
        float32 (number of values,) and (n,).
    dense
        Whether every record holds every feature.
    """

    starts: NDArray[np.int64]
    keys: NDArray[np.int32]
    values: NDArray[np.float32]
    labels: NDArray[np.float32]
    dense: bool


class State(NamedTuple):
    """What training changes, and its scratch space.

    Attributes
    ----------
    parameters
        float32 (feature_dim * 3 * width,): of each feature the weights (factors, linear term, zeros
        up to ``width``), then their first and second moments.
    bias
        float32 (3,): the constant term and its moments.
    gradients
        float32 (most features in a batch * width,).
    slots
        int32 (feature_dim,): each feature's row in ``gradients``; -1 outside a batch.
    touched
        int32 (most features in a batch,): the batch's features by slot.
    sums
        float32 (width,).
    """

    parameters: NDArray[np.float32]
    bias: NDArray[np.float32]
    gradients: NDArray[np.float32]
    slots: NDArray[np.int32]
    touched: NDArray[np.int32]
    sums: NDArray[np.float32]


class Rules(NamedTuple):
    """How parameters move.

    Attributes
    ----------
    num_factors, mini_batch_size, classifier
        As the hyperparameters say.
    is_factor
        float32 (width,): 1 in the columns of factors, else 0.
    rates, decays, epsilons
        float32 (width,): learning rate, L2 and Adam's epsilon by column.
    bias_rate, bias_decay, epsilon
        The same for the constant term.
    rescale
        Multiplies summed gradients.
    clip
        Bounds a gradient's size; infinity bounds nothing.
    """

    num_factors: int
    mini_batch_size: int
    classifier: bool
    is_factor: NDArray[np.float32]
    rates: NDArray[np.float32]
    decays: NDArray[np.float32]
    epsilons: NDArray[np.float32]
    bias_rate: np.float32
    bias_decay: np.float32
    epsilon: np.float32
    rescale: np.float32
    clip: np.float32
