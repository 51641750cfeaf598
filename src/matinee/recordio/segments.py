"""Segments of a byte array, copied many at once.

The codec's inner loop: it takes the variable parts of thousands of records (values, keys, labels)
out of a file, or lays them into one, without a Python loop over records. NumPy moves one item of
any size as fast as another, wherever it lies: so a segment is one item where it can be.
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import DTypeLike, NDArray

from matinee.recordio.framing import Integers, Octets


def words_at(octets: Octets, dtype: DTypeLike) -> NDArray[Any]:
    """View an array of bytes as the items that begin at each of them, without copying it."""
    kind = numpy.dtype(dtype)
    count = max(octets.size - kind.itemsize + 1, 0)
    return numpy.ndarray((count,), dtype=kind, buffer=octets, strides=(1,))


def gather(octets: Octets, starts: Integers, sizes: Integers, item: int = 1) -> Octets:
    """Concatenate the segments `octets[starts[i] : starts[i] + sizes[i]]`.

    Parameters
    ----------
    octets : ndarray of uint8
        Where the segments lie.
    starts, sizes : ndarray of int64, shape (n,)
        First byte and length of each segment; all lie inside `octets`.
    item : int
        Bytes copied at a time, of which every length is a multiple.

    Returns
    -------
    ndarray of uint8, shape (sizes.sum(),)
        A copy.
    """
    if sizes.size == 0 or not sizes.any():
        return numpy.empty(0, dtype=numpy.uint8)
    if (sizes == sizes[0]).all():
        return gather_equal(octets, starts, int(sizes[0])).reshape(-1)
    places = places_of(starts, sizes // item, item)
    if item == 1:
        return octets[places]
    return words_at(octets, f"V{item}")[places].view(numpy.uint8)


def gather_equal(octets: Octets, starts: Integers, size: int) -> Octets:
    """Copy segments of one size (> 0) into the rows of an array of shape (n, size)."""
    return words_at(octets, f"V{size}")[starts].view(numpy.uint8).reshape(-1, size)


def scatter(octets: Octets, starts: Integers, sizes: Integers, parts: Octets, item: int) -> None:
    """Write segments, concatenated in `parts`, over `octets`; the opposite of `gather`."""
    if sizes.size == 0 or not sizes.any():
        return
    if (sizes == sizes[0]).all():
        scatter_equal(octets, starts, parts.reshape(-1, int(sizes[0])))
        return
    words_at(octets, f"V{item}")[places_of(starts, sizes // item, item)] = parts.view(f"V{item}")


def scatter_equal(octets: Octets, starts: Integers, rows: Octets) -> None:
    """Write the rows of an array of shape (n, size) over `octets`, row i from `starts[i]` on."""
    kind = f"V{rows.shape[1]}"
    words_at(octets, kind)[starts] = rows.view(kind).reshape(-1)


def places_of(starts: Integers, counts: Integers, item: int) -> Integers:
    """Return where each item lies of segments of so many items."""
    before = numpy.cumsum(counts) - counts
    places = numpy.repeat(starts - before * item, counts)
    places += numpy.arange(0, places.size * item, item)
    return places
