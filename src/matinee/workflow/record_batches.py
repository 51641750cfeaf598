"""Records in batches that take so many bytes at most, encoded or in memory.

Refuses nothing: a record that takes more is a batch of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of a record: frame, tags, lengths and shape; of each of its values: four bytes, and a key of five.
_RECORD_BYTES, _VALUE_BYTES = 64, 9


def batches(bounds: NDArray[np.integer[Any]], most_bytes: int) -> Iterator[slice]:
    """Divide records.

    Parameters
    ----------
    bounds : ndarray of integers, shape (n + 1,)
        Where each record's values begin: a CSR matrix's `indptr`.
    most_bytes : int
        What the records of a batch may take as RecordIO-protobuf.
    """
    ends = np.arange(1, len(bounds)) * _RECORD_BYTES + (bounds[1:] - bounds[0]) * _VALUE_BYTES
    begin = 0
    while begin < len(ends):
        limit = most_bytes + (ends[begin - 1] if begin else 0)
        end = max(begin + 1, int(np.searchsorted(ends, limit, side="right")))
        yield slice(begin, end)
        begin = end
