"""How far scores are from labels, under the names and definitions of the container's metrics.

Regressor: ``rmse``, ``mse`` and ``absolute_loss`` (the mean absolute error, despite its name).
Binary classifier: ``binary_classification_accuracy`` at a threshold of 0.5,
``binary_classification_cross_entropy`` with probabilities kept above 1e-8, and ``binary_f_1.000``,
the F1 score of class 1 from counts over all records. Sums are float64 and add up over parts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from matinee.fm.hosts import Hosts, added_up
from matinee.fm.hyperparameters import PredictorType

THRESHOLD = 0.5
_SMALLEST_PROBABILITY = 1e-8


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name in the log and whether smaller (loss) or larger (score) is better."""

    name: str
    kind: Literal["loss", "score"]


METRICS: Mapping[PredictorType, tuple[Metric, ...]] = MappingProxyType(
    {
        "regressor": (
            Metric("rmse", "loss"),
            Metric("mse", "loss"),
            Metric("absolute_loss", "loss"),
        ),
        "binary_classifier": (
            Metric("binary_classification_accuracy", "score"),
            Metric("binary_classification_cross_entropy", "loss"),
            Metric("binary_f_1.000", "score"),
        ),
    }
)


class Totals:
    """Running sums of a stretch of records, from which every metric follows.

    Parameters
    ----------
    predictor_type
        Chooses the metrics.
    """

    def __init__(self, predictor_type: PredictorType) -> None:
        self._predictor_type = predictor_type
        self._records = 0
        self._sums = np.zeros(5 if predictor_type == "binary_classifier" else 2)

    def add(
        self, scores: NDArray[np.float32], labels: NDArray[np.float32], *, times: int = 1
    ) -> None:
        """Add records, given as scores (n,) and labels (n,), each counted ``times`` times."""
        self._records += times * len(scores)
        self._sums += times * self._sum(scores.astype(np.float64), labels)

    def add_sums(self, sums: NDArray[np.float64], records: int) -> None:
        """Add records whose sums were made elsewhere.

        Parameters
        ----------
        sums
            float64: of squared and absolute errors for a regressor; for a binary_classifier the
            numbers of correct records, true positives, false positives and false negatives, and
            the sum of the cross-entropies.
        records
            How many.
        """
        self._records += records
        self._sums += sums

    @property
    def records(self) -> int:
        """How many records were added."""
        return self._records

    def of_all(self, hosts: Hosts | None) -> "Totals":
        """Return the sums over the records of all hosts; without other hosts, these."""
        records, *sums = added_up(hosts, np.array([self._records, *self._sums])).tolist()
        totals = Totals(self._predictor_type)
        totals.add_sums(np.array(sums), int(records))
        return totals

    def _sum(self, scores: NDArray[np.float64], labels: NDArray[np.float32]) -> NDArray[np.float64]:
        if self._predictor_type == "regressor":
            errors = scores - labels
            return np.array((np.square(errors).sum(), np.abs(errors).sum()))
        positive = labels == 1
        predicted = scores >= THRESHOLD
        of_label = np.where(positive, scores, 1 - scores)
        return np.array(
            (
                np.count_nonzero(predicted == positive),
                np.count_nonzero(predicted & positive),
                np.count_nonzero(predicted & ~positive),
                np.count_nonzero(~predicted & positive),
                -np.log(np.maximum(of_label, _SMALLEST_PROBABILITY)).sum(),
            )
        )

    def metrics(self) -> dict[str, float]:
        """Return each metric of ``METRICS`` by name and in order; one record or more is needed."""
        if self._predictor_type == "regressor":
            squared, absolute = (self._sums / self._records).tolist()
            values = (math.sqrt(squared), squared, absolute)
        else:
            correct, true_positive, false_positive, false_negative, entropy = self._sums.tolist()
            found = 2 * true_positive + false_positive + false_negative
            # Without a positive in labels or predictions F1 is 0/0; MXNet says 0.
            f1 = 2 * true_positive / found if found else 0.0
            values = (correct / self._records, entropy / self._records, f1)
        names = [metric.name for metric in METRICS[self._predictor_type]]
        return dict(zip(names, values, strict=True))
