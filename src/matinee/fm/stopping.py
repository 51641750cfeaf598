"""Early stopping: judge each epoch's model by records held out, keep the best, say when to end.

Every solver with a validation channel uses it. The loss is the root mean squared error of a
regressor and the cross-entropy of a binary classifier. What is kept is of the lowest loss, whether
training ended early or not; a loss that is not finite is refused.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from matinee.fm.errors import DivergedError, HyperparameterError
from matinee.fm.hyperparameters import PredictorType

Kept = TypeVar("Kept")

LOSS: Mapping[PredictorType, str] = MappingProxyType(
    {"regressor": "rmse", "binary_classifier": "binary_classification_cross_entropy"}
)
"""The metric that early stopping watches, by predictor type; smaller is better."""


class EarlyStopping(Generic[Kept]):
    """Remembers the best model so far and counts the epochs since.

    Parameters
    ----------
    patience
        After this many epochs in a row without a lower loss training should stop; ``None`` never
        stops, but still keeps the best model.

    Raises
    ------
    HyperparameterError
        If patience is not positive.

    Attributes
    ----------
    best_epoch : int or None
        Counted from 0; None before the first epoch.
    best_loss : float
        Infinite before the first epoch.
    """

    def __init__(self, patience: int | None = None) -> None:
        if patience is not None and patience < 1:
            raise HyperparameterError(f"patience is {patience}: it must be 1 or more epochs")
        self._patience = patience
        self._kept: Kept | None = None
        self.best_epoch: int | None = None
        self.best_loss = math.inf

    def update(self, epoch: int, loss: float, make_model: Callable[[], Kept]) -> bool:
        """Judge an epoch's model; return whether training should stop.

        Parameters
        ----------
        epoch
            Counted from 0, one higher at each call.
        loss
            Loss on the validation records after the epoch.
        make_model
            Makes what is to be kept. Called at once, and only if the loss is the lowest so far.

        Raises
        ------
        DivergedError
            If the loss is infinite or NaN.
        """
        if not math.isfinite(loss):
            raise DivergedError(
                f"training diverged: the validation loss is {loss} after epoch {epoch}"
            )
        if self.best_epoch is None or loss < self.best_loss:
            self._kept = make_model()
            self.best_epoch, self.best_loss = epoch, loss
        return self._patience is not None and epoch - self.best_epoch >= self._patience

    @property
    def best_model(self) -> Kept:
        """What ``make_model`` made in the epoch of the lowest loss.

        Raises
        ------
        LookupError
            Before the first epoch.
        """
        if self._kept is None:
            raise LookupError("no epoch has been judged yet")
        return self._kept
