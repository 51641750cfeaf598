"""One model in training by stochastic gradient descent: its parameters as the kernels want them.

``PairTrainer`` is for records of two one-hot features, ``RecordTrainer`` for any others. Both make
one step a record in an order of their own, drawn anew for each epoch, and give the parameters back
as a ``Model``; whether those are finite is for the caller to check.
"""

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows, compressed
from matinee.fm.model import Model
from matinee.fm.native import LANES, aligned, kernels, padded
from matinee.fm.pairs import GroupedPairs
from matinee.fm.threads import Team

_FIXED_WIDTHS = (16, 32, 48, 80)  # that have kernels of their own: 8, 16, 32 and 64 factors
_SUMS = {"regressor": 2, "binary_classifier": 5}


class PairTrainer:
    """Trains on grouped records.

    Parameters
    ----------
    records
        What to train on; their parts are trained on at the same time.
    initial
        The parameters to begin with; its constant term stays.
    regularization
        L2 penalty.
    rng
        Draws orders.
    team
        Trains the parts.
    """

    def __init__(
        self,
        records: GroupedPairs,
        initial: Model,
        regularization: float,
        rng: np.random.Generator,
        team: Team,
    ) -> None:
        self._records, self._regularization = records, regularization
        self._rng, self._team = rng, team
        self._bias, self._num_factors = initial.bias, initial.num_factors
        self._predictor_type = initial.predictor_type
        # The last two columns, so that only a row's last vector needs rates by column.
        self._first = _extend(initial, records.first_features, linear=-2, one=-1)
        self._second = _extend(initial, records.second_features, linear=-1, one=-2)
        is_other = np.ones(initial.feature_dim, dtype=np.bool_)
        is_other[records.first_features] = is_other[records.second_features] = False
        self._is_other = is_other
        self._other_linear = initial.linear[is_other]
        self._other_factors = initial.factors[is_other]
        name = "train_classifier_pairs"
        if initial.predictor_type == "regressor":
            width = self._first.shape[1]
            name = f"train_pairs_{width}" if width in _FIXED_WIDTHS else "train_pairs"
        self._train = getattr(kernels("sgd"), name)

    def run_epoch(self, rate: float) -> NDArray[np.float64]:
        """Make a step for every record; return the sums of the metrics.

        Parameters
        ----------
        rate
            Learning rate.
        """
        records = self._records
        # Cache lines apart: threads add to their own without waiting for each other.
        sums = np.zeros((records.parts, 2 * LANES))
        keep = 1 - rate * self._regularization
        tails = self._tails(rate, keep)
        for visits in records.visits(self._rng):
            words = [self._rng.integers(2**63, size=len(blocks)) for blocks in visits]

            def train(
                part: int,
                visits: list[NDArray[np.int64]] = visits,
                words: list[NDArray[np.int64]] = words,
            ) -> None:
                self._train(
                    self._first.reshape(-1), self._second.reshape(-1), self._first.shape[1],
                    records.keys, records.labels, records.starts, visits[part], words[part],
                    len(visits[part]), self._bias, rate, keep, tails,
                    sums[part],
                )  # fmt: skip

            self._team.map(train, range(records.parts))
        epoch: NDArray[np.float64] = sums.sum(axis=0)[: _SUMS[self._predictor_type]]
        return epoch

    def model(self) -> Model:
        """Copy the parameters; features that no record holds keep their initial ones."""
        k = self._num_factors
        linear = np.empty(len(self._is_other), dtype=np.float32)
        factors = np.empty((len(linear), k), dtype=np.float32)
        linear[self._is_other], factors[self._is_other] = self._other_linear, self._other_factors
        for features, rows, column in (
            (self._records.first_features, self._first, -2),
            (self._records.second_features, self._second, -1),
        ):
            linear[features] = rows[:, column]
            factors[features] = rows[:, :k]
        return Model(self._bias, linear, factors, self._predictor_type)

    def _tails(self, rate: float, keep: float) -> NDArray[np.float32]:
        """Rates and keeps of a row's last lanes, which leave its constant 1 alone."""
        tails = np.empty((2, 2, LANES), dtype=np.float32)
        tails[:, 0], tails[:, 1] = rate, keep
        for rates_and_keeps, one in zip(tails, (-1, -2), strict=True):
            rates_and_keeps[:, one] = 0, 1
        return tails.ravel()


class RecordTrainer:
    """Trains on records of any number of features and values.

    Parameters
    ----------
    features, labels
        As checked: (n, feature_dim) and (n,).
    visits
        int64 (n,): an order of the records, of which each epoch is a variation.
    initial, regularization, rng
        See ``PairTrainer``.
    """

    def __init__(
        self,
        features: SparseRows | NDArray[np.float32],
        labels: NDArray[np.float32],
        visits: NDArray[np.int64],
        initial: Model,
        regularization: float,
        rng: np.random.Generator,
    ) -> None:
        self._features, self._labels, self._visits = compressed(features), labels, visits
        self._regularization, self._rng = regularization, rng
        self._bias, self._num_factors = initial.bias, initial.num_factors
        self._predictor_type = initial.predictor_type
        self._train = kernels("sgd").train_records
        k = initial.num_factors
        self._rows = aligned(initial.feature_dim, padded(k + 1))
        self._rows[:, :k] = initial.factors
        self._rows[:, k] = initial.linear
        self._is_factor = np.zeros(self._rows.shape[1], dtype=np.float32)
        self._is_factor[:k] = 1

    def run_epoch(self, rate: float) -> NDArray[np.float64]:
        """Make a step for every record; return the sums of the metrics.

        Parameters
        ----------
        rate
            Learning rate.
        """
        sums = np.zeros(_SUMS[self._predictor_type])
        self._train(
            self._rows.reshape(-1), self._rows.shape[1], self._num_factors,
            *self._features, self._labels, self._visits, len(self._labels),
            int(self._rng.integers(2**63)), self._bias, rate,
            1 - rate * self._regularization, self._is_factor, np.empty_like(self._is_factor),
            self._predictor_type == "binary_classifier", sums,
        )  # fmt: skip
        return sums

    def model(self) -> Model:
        """Copy the parameters."""
        k = self._num_factors
        linear, factors = self._rows[:, k].copy(), self._rows[:, :k].copy()
        return Model(self._bias, linear, factors, self._predictor_type)


def _extend(
    initial: Model, features: NDArray[np.int64], linear: int, one: int
) -> NDArray[np.float32]:
    k = initial.num_factors
    rows = aligned(len(features), padded(k + 2))
    rows[:, :k] = initial.factors[features]
    rows[:, linear] = initial.linear[features]
    rows[:, one] = 1
    return rows
