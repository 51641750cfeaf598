"""Numbers by counting: every number once, whatever the order they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from matinee.datasets.simulated.hashing import Permutation, below, mixed, normal


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 1_000, 4_097])
def test_a_permutation_has_every_number_once(count: int) -> None:
    permutation = Permutation(count, np.random.default_rng(1))
    places = permutation(np.arange(count))
    assert sorted(places.tolist()) == list(range(count))
    assert permutation(np.arange(count)[::-1]).tolist() == places[::-1].tolist()


def test_a_permutation_leaves_no_order() -> None:
    places = Permutation(100_000, np.random.default_rng(1))(np.arange(100_000))
    assert abs(np.corrcoef(np.arange(100_000), places)[0, 1]) < 0.01
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.01


def test_bits_differ_from_number_to_number_and_key_to_key() -> None:
    numbers = np.arange(10_000)
    bits = np.concatenate([mixed(numbers, 1), mixed(numbers, 2)])
    assert len(np.unique(bits)) == 20_000
    ones = np.unpackbits(bits.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 0.02


def test_each_quarter_of_the_bits_is_normal_on_its_own() -> None:
    bits = mixed(np.arange(100_000), 3)
    draws = np.stack([normal(bits, quarter) for quarter in range(4)])
    np.testing.assert_allclose(np.cov(draws), np.eye(4), atol=0.02)
    np.testing.assert_allclose(draws.mean(axis=1), 0, atol=0.02)


def test_integers_are_below_their_limit_and_equally_likely() -> None:
    drawn = below(mixed(np.arange(60_000), 4), 6)
    counts = np.bincount(drawn, minlength=6)
    assert len(counts) == 6
    assert np.abs(counts - 10_000).max() < 400
