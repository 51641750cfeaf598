"""Fields: blocks of consecutive features that mean one thing, such as user, item or genre.

``Fields`` names them by their widths. Solvers that learn regularisation learn it for each field.
Widths that do not add up to the features' number are refused.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import Features
from matinee.fm.errors import HyperparameterError


@dataclass(frozen=True, slots=True)
class Fields:
    """Widths of the fields, in the features' order.

    Attributes
    ----------
    widths
        Number of features of each field, at least 1 each.
    """

    widths: tuple[int, ...]

    @classmethod
    def of(cls, field_dims: Sequence[int] | None, features: Features) -> Self:
        """Return the given fields, or those found in the features if none are given.

        Raises
        ------
        HyperparameterError
            If a width is below 1, or the widths' sum is not the number of features.
        """
        return cls.detect(features) if field_dims is None else cls.check(field_dims, features)

    @classmethod
    def check(cls, field_dims: Sequence[int], features: Features) -> Self:
        """Return given fields if they fit the features.

        Raises
        ------
        HyperparameterError
            If a width is below 1, or the widths' sum is not the number of features.
        """
        wrong = [width for width in field_dims if width < 1]
        if wrong:
            raise HyperparameterError(f"field_dims has {wrong[0]}: every field needs a feature")
        if sum(field_dims) != features.shape[1]:
            raise HyperparameterError(
                f"field_dims add up to {sum(field_dims)} but there are {features.shape[1]} features"
            )
        return cls(tuple(int(width) for width in field_dims))

    @classmethod
    def detect(cls, features: Features) -> Self:
        """Find fields: one for each position if every row stores one key of each, else one field.

        Rows must hold the same number of keys, and the keys at one position must all be below those
        at the next. A field begins where the one before it ends, after its largest key.

        Parameters
        ----------
        features
            CSR matrix with sorted keys, or dense array.
        """
        whole = cls((int(features.shape[1]),))
        if isinstance(features, np.ndarray) or not features.shape[0]:
            return whole
        per_row = np.diff(features.indptr)
        if per_row.min() != per_row.max() or per_row[0] < 2:
            return whole
        keys = features.indices.reshape(-1, per_row[0])
        smallest, largest = keys.min(axis=0), keys.max(axis=0)
        if (largest[:-1] >= smallest[1:]).any():
            return whole
        ends = [0, *(int(end) + 1 for end in largest[:-1]), int(features.shape[1])]
        return cls(tuple(end - start for start, end in itertools.pairwise(ends)))

    @property
    def starts(self) -> NDArray[np.int64]:
        """The first feature of each field and, at the end, the number of features."""
        return np.concatenate(([0], np.cumsum(self.widths))).astype(np.int64)
