"""Segments of a byte array, copied many at once.

The codec's inner loop: it takes the variable parts of thousands of records (values, keys, labels)
out of a file, or lays whole records into one, without a Python loop over records.
"""

import numpy
from numpy.lib.stride_tricks import sliding_window_view

from matinee.recordio.framing import Integers, Octets


def gather(octets: Octets, starts: Integers, sizes: Integers) -> Octets:
    """Concatenate the segments `octets[starts[i] : starts[i] + sizes[i]]`.

    Parameters
    ----------
    octets : ndarray of uint8
        Where the segments lie.
    starts, sizes : ndarray of int64, shape (n,)
        First byte and length of each segment; all lie inside `octets`.

    Returns
    -------
    ndarray of uint8, shape (sizes.sum(),)
        A copy.
    """
    total = int(sizes.sum())
    if total == 0:
        return numpy.empty(0, dtype=numpy.uint8)
    if int(sizes.min()) == int(sizes.max()):
        return gather_equal(octets, starts, int(sizes[0])).reshape(-1)
    before = numpy.cumsum(sizes) - sizes
    return octets[numpy.repeat(starts - before, sizes) + numpy.arange(total)]


def gather_equal(octets: Octets, starts: Integers, size: int) -> Octets:
    """Copy segments of one size (> 0) into the rows of an array of shape (n, size)."""
    rows: Octets = sliding_window_view(octets, size)[starts]
    return rows


def scatter_equal(octets: Octets, starts: Integers, rows: Octets) -> None:
    """Write the rows of an array of shape (n, size) over `octets`, row i from `starts[i]` on."""
    sliding_window_view(octets, rows.shape[1], writeable=True)[starts] = rows
