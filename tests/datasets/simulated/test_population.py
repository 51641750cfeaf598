"""The simulated ratings have the published shape, and what is said of them is so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from matinee.datasets.simulated import census
from matinee.datasets.simulated.population import (
    CUSTOMER_LAW,
    CUSTOMERS,
    Crowd,
    Kind,
    Population,
    expected_stars,
    rounded,
)
from matinee.fm.matinee_fm import MatineeFM

# What is published of the example's data, before and after its filters.
PUBLISHED = {
    "ratings": (4_060_000, 1_714_265),
    "customers": (2_080_000, 140_344),
    "videos": (165_000, 38_385),
}
PUBLISHED_VARIANCE = 1.44


def test_scale_1_has_the_published_shape() -> None:
    counted = census.take(Population(1, 1), 5, 10, 2, lambda _: None)
    before, after = counted["funnel"][0], counted["funnel"][-1]
    for what, (whole, kept) in PUBLISHED.items():
        assert before[what] == pytest.approx(whole, rel=0.005)
        assert after[what] == pytest.approx(kept, rel=0.005)
    assert counted["stars"]["variance"] == pytest.approx(PUBLISHED_VARIANCE, rel=0.02)
    assert counted["malformed"]["total"] == 811
    assert counted["rows"] == before["ratings"] + 811


@pytest.mark.parametrize("count", [1, 7, 20_000])
def test_places_belong_to_their_owners(count: int) -> None:
    crowd = Crowd(count, CUSTOMER_LAW)
    owners = crowd.owners(np.arange(crowd.places))
    assert np.unique(owners).tolist() == list(range(count))
    degrees = np.bincount(owners)
    assert (np.diff(degrees) >= 0).all()
    firsts = [crowd.first_place(owner) for owner in range(count + 1)]
    assert np.diff(firsts).tolist() == degrees.tolist()


def test_activity_has_its_long_tail() -> None:
    crowd = Crowd(CUSTOMERS, CUSTOMER_LAW)
    degrees = np.bincount(crowd.owners(np.arange(crowd.places)))
    assert (degrees >= 5).mean() == pytest.approx(0.0675, abs=1e-4)
    assert degrees.max() == 2_600
    assert np.median(degrees) == 1


def test_rows_are_the_same_however_they_are_asked_for() -> None:
    population = Population(0.001, 3)
    whole = population.at(0, population.rows)
    assert sorted(whole.numbers.tolist()) == list(range(population.rows))
    parts = [population.at(first, first + 500) for first in range(0, 1_500, 500)]
    for name in ("numbers", "customers", "videos", "stars", "kinds"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tolist() == getattr(whole, name)[:1_500].tolist()


def test_every_kind_is_there_as_often_as_it_is_said() -> None:
    population = Population(0.05, 1)
    kinds = np.bincount(population.at(0, population.rows).kinds)
    said = {Kind.SOUND: population.sound, Kind.DUPLICATE: population.planted}
    assert dict(enumerate(kinds.tolist())) == {**said, **population.malformed}


def test_another_seed_is_another_population() -> None:
    one, two = (Population(0.001, seed).at(0, 1_000) for seed in (1, 2))
    assert (one.customers != two.customers).any()
    assert (one.stars != two.stars).any()


def test_filters_that_keep_nothing_leave_no_error_to_attain() -> None:
    counted = census.take(Population(0.001, 1), 10**6, 1, 1, lambda _: None)
    assert counted["funnel"][-1]["ratings"] == 0
    assert counted["attainable"] is None


def test_expected_stars_are_the_mean_of_the_stars() -> None:
    rng = np.random.default_rng(1)
    for score in (-3.0, 1.2, 3.5, 4.4, 9.0):
        scores = np.full(200_000, score, np.float32)
        stars = rounded(scores, rng.standard_normal(len(scores), np.float32))
        assert expected_stars(scores[:1])[0] == pytest.approx(stars.mean(), abs=0.01)


def test_the_attainable_error_is_what_learning_gets_close_to() -> None:
    """Of everybody rating everything there is enough to learn the planted signal almost whole."""
    side, rng = 300, np.random.default_rng(1)
    customers, videos = np.divmod(np.arange(side * side), side)
    scores = Population(0.01, 1).scores(customers, videos)
    stars = rounded(scores, rng.standard_normal(len(scores), np.float32)).astype(np.float32)
    keys = np.stack([customers, side + videos], axis=1).ravel()
    bounds = np.arange(0, len(keys) + 1, 2)
    ones = np.ones(len(keys), np.float32)
    features = csr_matrix((ones, keys, bounds), shape=(len(stars), 2 * side))
    train = rng.random(len(stars)) < 0.8

    machine = MatineeFM(
        num_factors=2, solver="mcmc", epochs=60, burn_in=20, init_sigma=0.5, random_state=1
    )
    predicted = machine.fit(features[train], stars[train]).predict(features[~train])

    learned, attainable, naive = (
        float(np.sqrt(np.mean((prediction - stars[~train]) ** 2)))
        for prediction in (predicted, expected_stars(scores[~train]), stars[train].mean())
    )
    assert attainable < learned < 1.03 * attainable < naive
