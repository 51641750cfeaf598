"""The baselines, on ratings whose right answer can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from matinee.workflow.baselines import DAMPINGS, errors, fit_biases
from matinee.workflow.prepare import Ratings


def ratings(*rows: tuple[int, int, float]) -> Ratings:
    customers, videos, stars = zip(*rows, strict=True)
    return Ratings(
        np.array(customers, np.int32), np.array(videos, np.int32), np.array(stars, np.float32)
    )


def test_errors_are_what_their_names_say() -> None:
    measured = errors(np.array([1.0, 4.0]), np.array([2, 1], np.float32))
    assert measured.mse == 5
    assert measured.rmse == pytest.approx(5**0.5)
    assert measured.mae == 2


def test_additive_stars_are_predicted_exactly() -> None:
    grid = ratings(*[(c, v, 1 + c + 2 * v) for c in range(3) for v in range(2)])
    model = fit_biases(grid, grid, 3, 2)
    assert model.mean == 3
    assert (model.customer_damping, model.video_damping) == (0, 0)
    np.testing.assert_allclose(model.customers, [-1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(model.videos, [-1, 1], atol=1e-12)
    np.testing.assert_allclose(model.predict(grid), grid.stars, atol=1e-12)


def test_a_bias_is_damped_by_the_formula() -> None:
    train = ratings((0, 0, 5), (0, 0, 5), (1, 1, 1), (1, 1, 1))
    # On validation the biases mean nothing, so the strongest damping fits best.
    validate = ratings((0, 0, 3), (1, 1, 3))
    model = fit_biases(train, validate, 2, 2)
    strongest = max(DAMPINGS)
    assert (model.customer_damping, model.video_damping) == (strongest, strongest)
    video = 2 * 2 / (2 + strongest)
    assert model.videos[0] == pytest.approx(video)
    assert model.customers[0] == pytest.approx(2 * (2 - video) / (2 + strongest))


def test_who_has_no_training_ratings_has_no_bias() -> None:
    model = fit_biases(ratings((0, 0, 5), (0, 1, 1)), ratings((0, 0, 5)), 2, 3)
    assert model.customers[1] == 0
    assert model.videos[2] == 0
    assert model.predict(ratings((1, 2, 4))).tolist() == [3]
