"""Latent labels are normal, cut off at 0 on the side that the label says."""

import math

import numpy as np
import pytest

from matinee.fm.native import kernels

COUNT = 40_000


@pytest.mark.parametrize("output", [-6.0, -1.0, 0.0, 0.5, 8.0])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_latents_are_truncated_normal(output: float, label: float) -> None:
    outputs = np.full(COUNT, output, dtype=np.float32)
    labels = np.full(COUNT, label, dtype=np.float32)
    latents = np.empty_like(outputs)
    seeds = np.array([7], dtype=np.uint64)
    kernels("latents").draw_latents(outputs, labels, seeds, 0, COUNT, latents)
    sign = 2 * label - 1
    assert (sign * latents > 0).all()
    # The mean is output + sign * density / probability of the side.
    density = math.exp(-(output**2) / 2) / math.sqrt(2 * math.pi)
    probability = math.erfc(-sign * output / math.sqrt(2)) / 2
    expected = output + sign * density / probability
    assert latents.mean(dtype=np.float64) == pytest.approx(expected, abs=0.02)
    variance = 1 - (expected - output) * expected
    assert latents.var(dtype=np.float64) == pytest.approx(variance, rel=0.05)


def test_a_part_is_drawn_as_in_the_whole() -> None:
    outputs, labels = np.zeros(10, np.float32), np.ones(10, np.float32)
    seeds = np.array([7], dtype=np.uint64)
    whole, part = np.empty(10, np.float32), np.full(10, np.nan, np.float32)
    kernels("latents").draw_latents(outputs, labels, seeds, 0, 10, whole)
    kernels("latents").draw_latents(outputs, labels, seeds, 4, 7, part)
    assert part[4:7].tobytes() == whole[4:7].tobytes()
    assert np.isnan(part[[3, 7]]).all()
    assert len(set(whole)) == 10
