"""What is wrong with features and labels: one pass over mapped arrays, without temporary ones.

These loops look before others index unchecked; they only find, ``matinee.fm.data`` has the words.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import kernel

_ONE = np.float32(1)


@kernel
def check_rows(
    starts: NDArray[np.int64],
    keys: NDArray[np.int32],
    values: NDArray[np.float32],
    records: int,
    stored: int,
    width: int,
    found: NDArray[np.int64],
) -> int:
    """Look for what compressed rows may not hold.

    Parameters
    ----------
    starts, keys, values
        int64 (records + 1,), int32 (stored,), float32 (stored,).
    records, stored
        Lengths.
    width
        Keys are below it.
    found
        int64 (5,): receives the record and the position of the first fault, then whether all
        values are 1, whether keys increase in every record, and how many values each record has,
        -1 if not all have the same number.

    Returns
    -------
    int
        0 without a fault; 1 if a record's bounds lie outside the stored values, 2 if a key is out
        of range, 3 if a value is not finite.
    """
    per_record = starts[1] - starts[0] if records > 0 else -1
    ones = True
    increasing = True
    for record in range(records):
        found[0] = record
        first = starts[record]
        last = starts[record + 1]
        if first < 0 or last < first or last > stored:
            return 1
        if last - first != per_record:
            per_record = -1
        before = -1
        for at in range(first, last):
            key = keys[at]
            value = values[at]
            if key < 0 or key >= width:
                found[1] = at
                return 2
            if not math.isfinite(value):
                found[1] = at
                return 3
            if value != _ONE:
                ones = False
            if key <= before:
                increasing = False
            before = key
    found[2] = ones
    found[3] = increasing
    found[4] = per_record
    return 0


@kernel
def find_not_finite(values: NDArray[np.float32], count: int) -> int:
    """Return the position of the first value that is NaN or infinite, -1 if there is none."""
    for at in range(count):
        if not math.isfinite(values[at]):
            return at
    return -1


@kernel
def find_not_binary(values: NDArray[np.float32], count: int) -> int:
    """Return the position of the first value that is neither 0 nor 1, -1 if there is none."""
    for at in range(count):
        if values[at] != 0 and values[at] != 1:
            return at
    return -1
