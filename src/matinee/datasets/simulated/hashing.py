"""Random numbers by counting: the same key and number give the same draw, in any order, anywhere.

So each row can be drawn by itself, and no table of customers or videos has to be kept. Made for
variety, not for secrecy.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Uint64s = NDArray[np.uint64]
Integers = NDArray[np.integer[Any]]

# The increment and the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
# Number Generators, OOPSLA 2014).
_STEP: Final = 0x9E3779B97F4A7C15
_FINALISER: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT: Final = np.uint64(31)

# The middle of each of 65,536 equally likely slices of a standard normal law.
_NORMAL: Final[NDArray[np.float32]] = ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


def mixed(numbers: Integers, key: int) -> Uint64s:
    """Return 64 random bits for each number; different numbers have different bits.

    Parameters
    ----------
    numbers : ndarray, shape (n,)
        At least 0.
    key : int
        64 bits; each gives a stream of its own.
    """
    bits = numbers.astype(np.uint64)
    bits *= np.uint64(_STEP)
    bits += np.uint64(key)
    for shift, factor in _FINALISER:
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> _LAST_SHIFT
    return bits


def normal(bits: Uint64s, quarter: int) -> NDArray[np.float32]:
    """Return a standard normal draw out of one of the four quarters of 64 bits each."""
    drawn: NDArray[np.float32] = _NORMAL[(bits >> np.uint64(16 * quarter)).astype(np.uint16)]
    return drawn


def below(bits: Uint64s, limits: Integers | int) -> NDArray[np.int64]:
    """Return integers from 0 to below `limits`, at most 2^31, out of the upper 32 bits each."""
    upper = bits >> np.uint64(32)
    upper *= np.asarray(limits, np.uint64)
    return (upper >> np.uint64(32)).astype(np.int64)


class Permutation:
    """An order of the numbers below `count` at random, in no memory.

    Parameters
    ----------
    count : int
        From 1 to 2^62.
    rng : numpy.random.Generator
        Chooses the order.
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count = np.uint64(count)
        bits = max(2, (count - 1).bit_length())
        self._mask = np.uint64(2**bits - 1)
        self._shift = np.uint64((bits + 1) // 2)
        keys = rng.integers(0, 2**63, (4, 2), np.uint64)
        # Odd factors alone can be undone.
        self._rounds = [(2 * factor + np.uint64(1), summand) for factor, summand in keys]

    def __call__(self, numbers: Integers) -> NDArray[np.int64]:
        """Return where each number stands.

        Parameters
        ----------
        numbers : ndarray, shape (n,)
            From 0 to below `count`.
        """
        places = self._once(numbers.astype(np.uint64))
        # The rounds permute up to the next power of two: who lands beyond `count` walks on.
        while (beyond := np.flatnonzero(places >= self._count)).size:
            places[beyond] = self._once(places[beyond])
        return places.astype(np.int64)

    def _once(self, numbers: Uint64s) -> Uint64s:
        for factor, summand in self._rounds:
            numbers *= factor
            numbers += summand
            numbers &= self._mask
            numbers ^= numbers >> self._shift
        return numbers
