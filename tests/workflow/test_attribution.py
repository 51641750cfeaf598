"""Reasons, against the sums they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from matinee.fm.model import Model
from matinee.workflow.attribution import Attribution
from matinee.workflow.catalogue import Catalogue
from matinee.workflow.features import FeatureSpace, Sets, pair_blocks
from matinee.workflow.rated import RatedVideos

CUSTOMERS, VIDEOS = 3, 9
# Customer 0 rated two videos, customer 1 seven (more than there are factors), customer 2 none.
BOUNDS = np.array([0, 2, 9, 9])
RATED = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8], np.int32)
STARS = np.array([5, 1, 4, 3, 2, 1, 5, 4, 3], np.float32)
FACTORS = 4


@pytest.fixture
def model() -> Model:
    rng = np.random.default_rng(1)
    factors = rng.normal(0, 1, (CUSTOMERS + VIDEOS, FACTORS)).astype(np.float32)
    linear = rng.normal(0, 0.1, CUSTOMERS + VIDEOS).astype(np.float32)
    return Model(3.0, linear, factors, "regressor")


def catalogue_of(space: FeatureSpace) -> Catalogue:
    trained = np.ones(len(RATED), np.bool_)
    rated = RatedVideos(BOUNDS, np.ones(VIDEOS, int), np.ones(VIDEOS), RATED, STARS, trained)
    customers, videos = (pa.table({"index": range(n)}) for n in (CUSTOMERS, VIDEOS))
    return Catalogue(customers, videos, rated, space)


@pytest.fixture
def catalogue() -> Catalogue:
    return catalogue_of(FeatureSpace(pair_blocks(CUSTOMERS, VIDEOS)))


def refit(model: Model, customer: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a customer's refitted vector, and what each rated video adds to each video."""
    own = slice(*BOUNDS[customer : customer + 2])
    videos = model.factors[CUSTOMERS:].astype(float)
    rest = STARS[own] - model.bias - model.linear[customer] - model.linear[CUSTOMERS + RATED[own]]
    inverse = np.linalg.inv(videos[RATED[own]].T @ videos[RATED[own]] + strength * np.eye(FACTORS))
    vector = inverse @ videos[RATED[own]].T @ rest
    return vector, (videos @ inverse @ videos[RATED[own]].T) * rest


@pytest.mark.parametrize("customer", [0, 1])
def test_what_ratings_add_is_the_refitted_preference(
    model: Model, catalogue: Catalogue, customer: int
) -> None:
    attribution = Attribution.fit(model, catalogue)
    assert attribution.strength is not None
    vector, added = refit(model, customer, attribution.strength)
    np.testing.assert_allclose(added.sum(axis=1), model.factors[CUSTOMERS:] @ vector, rtol=1e-4)
    everything = np.arange(VIDEOS)[None, :]
    found = attribution.reasons(
        customer, catalogue.rated.block(customer, customer + 1), everything, 9
    )
    for video in range(VIDEOS):
        positive = added[video][added[video] > 0]
        there = found.places[0, video] >= 0
        np.testing.assert_allclose(
            found.contributions[0, video][there], np.sort(positive)[::-1], rtol=1e-3, atol=1e-5
        )
        assert found.places[0, video][there].tolist() == [
            place for place in np.argsort(-added[video]) if added[video][place] > 0
        ]


def test_a_block_gives_what_each_customer_gives(model: Model, catalogue: Catalogue) -> None:
    attribution = Attribution.fit(model, catalogue)
    candidates = np.array([[5, 6, -1], [0, 1, 2], [0, 1, 2]])
    block = attribution.reasons(0, catalogue.rated.block(0, 3), candidates, 2)
    for customer in range(2):
        own = catalogue.rated.block(customer, customer + 1)
        alone = attribution.reasons(customer, own, candidates[customer : customer + 1], 2)
        there = alone.places[0] >= 0
        assert (block.places[customer] >= 0).tolist() == there.tolist()
        assert (block.places[customer] - BOUNDS[customer])[there].tolist() == alone.places[0][
            there
        ].tolist()
        np.testing.assert_allclose(block.contributions[customer], alone.contributions[0], rtol=1e-4)
    assert (block.places[0, 2] == -1).all(), "there is no third recommendation"
    assert (block.places[2] == -1).all(), "who rated nothing has no reasons"


def test_a_model_that_is_such_a_fit_is_matched(model: Model, catalogue: Catalogue) -> None:
    unit = np.square(model.factors[CUSTOMERS:]).sum(axis=1).mean()
    factors = model.factors.copy()
    for customer in range(2):
        factors[customer] = refit(model, customer, unit)[0]
    factors[2] = 0
    attribution = Attribution.fit(Model(3.0, model.linear, factors, "regressor"), catalogue)
    assert attribution.strength == pytest.approx(unit)
    assert attribution.agreement == pytest.approx(1, abs=1e-5)


def test_a_model_without_preferences_has_no_reasons(catalogue: Catalogue) -> None:
    features = CUSTOMERS + VIDEOS
    nothing = Model(
        3.0, np.zeros(features, np.float32), np.zeros((features, 2), np.float32), "regressor"
    )
    attribution = Attribution.fit(nothing, catalogue)
    assert attribution.agreement == 0
    found = attribution.reasons(0, catalogue.rated.block(0, 1), np.array([[5]]), 1)
    assert found.places.tolist() == [[[-1]]]


def test_a_feature_beside_them_is_taken_into_account(model: Model) -> None:
    # Videos have one more feature, which all of them share: of like vectors nothing changes.
    genre: Any = {"name": "video:genre", "of": "video", "offset": CUSTOMERS + VIDEOS, "width": 1}
    sets = Sets(np.arange(VIDEOS + 1), np.zeros(VIDEOS, np.int32))
    space = FeatureSpace([*pair_blocks(CUSTOMERS, VIDEOS), genre], {"video:genre": sets})
    shared = np.full((1, FACTORS), 0.5, np.float32)
    factors = np.concatenate([model.factors, shared])
    factors[CUSTOMERS:-1] -= shared
    # What the two of a video say of each other is taken out of its weight.
    within = factors[CUSTOMERS:-1] @ shared[0]
    linear = np.append(model.linear, np.float32(0))
    linear[CUSTOMERS:-1] -= within
    plain = catalogue_of(FeatureSpace(pair_blocks(CUSTOMERS, VIDEOS)))
    split = catalogue_of(space)
    candidates = np.array([[5, 6]])
    wanted = Attribution.fit(model, plain).reasons(0, plain.rated.block(0, 1), candidates, 2)
    found = Attribution.fit(Model(3.0, linear, factors, "regressor"), split).reasons(
        0, split.rated.block(0, 1), candidates, 2
    )
    assert found.places.tolist() == wanted.places.tolist()
    np.testing.assert_allclose(found.contributions, wanted.contributions, rtol=1e-3)


def test_reasons_of_a_history_are_exact() -> None:
    offset = CUSTOMERS + VIDEOS
    block: Any = {"name": "history", "of": "customer", "offset": offset, "width": VIDEOS}
    history = {"history": Sets(BOUNDS, RATED)}
    space = FeatureSpace([*pair_blocks(CUSTOMERS, VIDEOS), block], history)
    rng = np.random.default_rng(1)
    factors = rng.normal(0, 1, (space.width, FACTORS)).astype(np.float32)
    model = Model(3.0, rng.normal(0, 1, space.width).astype(np.float32), factors, "regressor")
    catalogue = catalogue_of(space)
    attribution = Attribution.fit(model, catalogue)
    assert (attribution.strength, attribution.agreement) == (None, None)
    videos = np.arange(VIDEOS)
    found = attribution.reasons(1, catalogue.rated.block(1, 2), videos[None, :], 7)
    with_all = space.encode(np.ones(VIDEOS, int), videos)
    for place, rated in enumerate(RATED[BOUNDS[1] : BOUNDS[2]]):
        without = with_all.copy()
        without[:, offset + rated] = 0
        change = (model.predict(with_all) - model.predict(without)).astype(float)
        # What it adds whatever the video is no reason for one of them.
        alone = change - factors[CUSTOMERS:offset] @ factors[offset + rated] / np.sqrt(7)
        np.testing.assert_allclose(alone, alone[0], atol=1e-4)
        adds = change - alone[0]
        for video in videos:
            shown = found.contributions[0, video][found.places[0, video] == place]
            assert shown.tolist() == pytest.approx(
                [adds[video]] if adds[video] > 0 else [], abs=1e-4
            )
