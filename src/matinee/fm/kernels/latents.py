"""Latent labels of a probit model: normal with variance 1 around an output, cut off at 0.

Each record has random numbers of its own, so that results do not depend on any order.
"""

import math

import numpy as np
from numpy.typing import NDArray

from matinee.fm.kernels.build import inlined, kernel


@kernel
def draw_latents(
    outputs: NDArray[np.float32],
    labels: NDArray[np.float32],
    seeds: NDArray[np.uint64],
    begin: int,
    end: int,
    latents: NDArray[np.float32],
) -> None:
    """Draw latent labels: above 0 where the label is 1, below where it is 0.

    Parameters
    ----------
    outputs, labels, latents
        float32 (n,), of which records ``begin`` to ``end`` are drawn.
    seeds
        One number.
    """
    for n in range(begin, end):
        sign = 1.0 if labels[n] > 0 else -1.0
        state = seeds[0] + np.uint64(n) * np.uint64(0xD1342543DE82EF95)
        above = -sign * float(outputs[n])
        latents[n] = float(outputs[n]) + sign * _draw_above(above, state)


@inlined
def _draw_above(bound: float, state: np.uint64) -> float:
    """Draw a standard normal number above a bound, by rejection (Robert 1995)."""
    rate = (bound + math.sqrt(bound * bound + 4.0)) / 2.0
    while True:
        first, second = _uniform(state + np.uint64(1)), _uniform(state + np.uint64(2))
        state += np.uint64(2)
        if bound < 0.0:
            drawn = math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
            if drawn > bound:
                return drawn
        else:
            drawn = bound - math.log(first) / rate
            miss = drawn - rate
            if second <= math.exp(-0.5 * miss * miss):
                return drawn


@inlined
def _uniform(state: np.uint64) -> float:
    """Return a number above 0 and at most 1 (splitmix64: Steele, Lea and Flood 2014)."""
    word = state * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    word ^= word >> np.uint64(31)
    return (float(word >> np.uint64(11)) + 1.0) * 2.0**-53
