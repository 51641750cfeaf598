"""What samplers share: priors and noise follow their distributions, random numbers their place."""

import numpy as np
import pytest

from matinee.fm.fields import Fields
from matinee.fm.gibbs import Workers, draw_noise, draw_priors, field_moments, normals


def test_moments_are_sums_by_field() -> None:
    linear = np.array([1, 2, 3], dtype=np.float32)
    factors = np.array([[4, 5], [6, 7], [8, 9]], dtype=np.float32)
    moments = field_moments(Fields((2, 1)), linear, factors)
    assert moments.counts.tolist() == [2, 1]
    assert moments.sums.tolist() == [[10, 12, 3], [8, 9, 3]]
    assert moments.squares.tolist() == [[52, 74, 5], [64, 81, 9]]


def test_priors_find_the_mean_and_precision_of_many_parameters() -> None:
    rng = np.random.default_rng(0)
    parameters = rng.normal([2, -1], [0.5, 3], (50_000, 2)).astype(np.float32)
    moments = field_moments(Fields((50_000,)), parameters[:, 1], parameters[:, :1])
    priors = draw_priors(moments, rng)
    np.testing.assert_allclose(priors.means, [[2, -1]], rtol=0, atol=0.05)
    np.testing.assert_allclose(priors.precisions, [[4, 1 / 9]], rtol=0.03)


def test_priors_of_few_parameters_vary() -> None:
    """Of one parameter of 1: precision Gamma(1, rate 0.45), mean around 1/2; both by hand."""
    moments = field_moments(Fields((1,)), np.ones(1, np.float32), np.ones((1, 0), np.float32))
    rng = np.random.default_rng(0)
    draws = [draw_priors(moments, rng) for _ in range(4000)]
    assert np.mean([draw.precisions for draw in draws]) == pytest.approx(1 / 0.45, rel=0.06)
    assert np.mean([draw.means for draw in draws]) == pytest.approx(0.5, abs=0.06)


def test_noise_is_that_of_residuals() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_noise(800.0, 200, rng) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx((0.2 + 400) / (0.5 + 100 - 1), rel=0.01)


def test_random_numbers_depend_on_their_place_alone() -> None:
    def drawn(seed: int, sweep: int, field: int, part: int) -> bytes:
        out = np.empty(4, dtype=np.float32)
        normals(seed, sweep)(out, field, part)
        return out.tobytes()

    places = [(1, 2, 3, 4), (0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0)]
    assert len({drawn(*place) for place in places}) == len(places)
    assert drawn(*places[0]) == drawn(*places[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_workers_return_results_in_order(threads: int) -> None:
    with Workers(threads) as workers:
        assert workers.map_parts(lambda first, last: (first, last), 5, 2) == [
            (0, 2),
            (2, 4),
            (4, 5),
        ]
        assert workers.map_parts(lambda first, last: (first, last), 0, 2) == []


def test_room_is_aligned_zeros_that_stay() -> None:
    with Workers(1) as workers:
        room = workers.room("a", 20)
        assert room.ctypes.data % 64 == 0
        assert len(room) >= 20
        assert not room.any()
        room[:] = 1
        assert workers.room("a", 10) is room
        assert not workers.room("b", 10).any()
