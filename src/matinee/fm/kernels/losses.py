"""What both predictor types make of a record's output: gradient of the loss, sums of the metrics.

The loss is half the squared error of a regressor and the cross-entropy of a binary classifier,
whose gradients by the output are both the prediction less the label.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined

_ONE = np.float32(1)
_SMALLEST_PROBABILITY = 1e-8


@inlined
def logistic(value: np.float32) -> np.float32:
    """Return ``1 / (1 + exp(-value))``, exactly 0 or 1 once float32 saturates."""
    # exp of a non-positive number cannot overflow.
    small = np.float32(math.exp(-abs(value)))
    return _ONE / (_ONE + small) if value >= 0 else small / (_ONE + small)


@inlined
def residual(
    output: np.float32, label: np.float32, classifier: bool, times: float, sums: NDArray[np.float64]
) -> np.float32:
    """Return the loss's gradient by the output; count the record ``times`` times in ``sums``.

    ``sums`` are those of ``matinee.fm.metrics.Totals.add_sums``: 2 for a regressor, 5 for a
    classifier.
    """
    if not classifier:
        error = np.float64(output) - np.float64(label)
        sums[0] += times * (error * error)
        sums[1] += times * abs(error)
        return output - label
    score = logistic(output)
    predicted = score >= np.float32(0.5)
    positive = label == _ONE
    sums[0] += times if predicted == positive else 0.0
    sums[1] += times if predicted and positive else 0.0
    sums[2] += times if predicted and not positive else 0.0
    sums[3] += times if positive and not predicted else 0.0
    of_label = np.float64(score) if positive else 1 - np.float64(score)
    sums[4] -= times * math.log(max(of_label, _SMALLEST_PROBABILITY))
    return score - label
