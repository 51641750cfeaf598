"""Rankings are those of predicting every pair, whatever the records hold."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm import FactorizationMachine
from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model
from matinee.fm.ranking import top

CUSTOMERS, VIDEOS, WIDTH = 5, 40, 12


def make(predictor_type: PredictorType = "regressor") -> Model:
    rng = np.random.default_rng(0)
    return Model(
        0.5,
        rng.standard_normal(WIDTH, dtype=np.float32),
        rng.standard_normal((WIDTH, 3), dtype=np.float32),
        predictor_type,
    )


def sides() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return customers (5, 12) of the first six features and videos (40, 12) of the others."""
    rng = np.random.default_rng(1)
    customers = np.zeros((CUSTOMERS, WIDTH), dtype=np.float32)
    videos = np.zeros((VIDEOS, WIDTH), dtype=np.float32)
    customers[:, :6] = rng.random((CUSTOMERS, 6)) * (rng.random((CUSTOMERS, 6)) < 0.5)
    videos[:, 6:] = rng.random((VIDEOS, 6)) * (rng.random((VIDEOS, 6)) < 0.5)
    return customers, videos


def all_scores(model: Model) -> NDArray[np.float32]:
    """Predict each pair as one record."""
    customers, videos = sides()
    pairs = (customers[:, None] + videos).reshape(-1, WIDTH)
    return model.predict(pairs).reshape(CUSTOMERS, VIDEOS)


@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_the_ranking_of_all_pairs(predictor_type: PredictorType, form: Any) -> None:
    model, (customers, videos) = make(predictor_type), sides()
    expected = all_scores(model)

    ranking = top(model, form(customers), form(videos), 7)

    best = np.argsort(-expected, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(ranking.candidates, best)
    by_pair = np.take_along_axis(expected, best, axis=1)
    np.testing.assert_allclose(ranking.scores, by_pair, rtol=1e-5)


def test_more_customers_than_are_ranked_at_a_time() -> None:
    model, (customers, videos) = make(), sides()
    times = (1 << 22) // VIDEOS // CUSTOMERS + 1
    many = scipy.sparse.csr_matrix(np.tile(customers, (times, 1)))
    expected = all_scores(model).argmax(axis=1)
    last = ([CUSTOMERS * times - 1], [expected[-1]])
    excluded = scipy.sparse.csr_matrix((np.ones(1), last), shape=(CUSTOMERS * times, VIDEOS))

    ranking = top(model, many, videos, 1, exclude=excluded)

    np.testing.assert_array_equal(ranking.candidates[:-1, 0], np.tile(expected, times)[:-1])
    assert ranking.candidates[-1, 0] != expected[-1]


def test_excluded_pairs_do_not_count() -> None:
    model, (customers, videos) = make(), sides()
    scores = all_scores(model)
    mask = np.zeros((CUSTOMERS, VIDEOS))
    mask[0, scores[0].argmax()] = 1
    mask[2] = 1
    mask[2, 4] = 0

    ranking = top(model, customers, videos, 2, exclude=scipy.sparse.csr_matrix(mask))

    scores[mask == 1] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    best[2, 1] = -1
    np.testing.assert_array_equal(ranking.candidates, best)
    assert np.isnan(ranking.scores[2]).tolist() == [False, True]


def test_ties_are_in_the_order_of_candidates() -> None:
    model = Model(0.0, np.zeros(3, np.float32), np.zeros((3, 1), np.float32), "regressor")

    ranking = top(model, np.eye(1, 3, dtype=np.float32), np.eye(2, 3, 1, dtype=np.float32), 3)

    assert ranking.candidates.tolist() == [[0, 1, -1]]


def test_an_explicit_zero_of_the_other_side_is_no_shared_feature() -> None:
    model = Model(0.0, np.ones(2, np.float32), np.ones((2, 1), np.float32), "regressor")
    customer = scipy.sparse.csr_matrix(([1.0, 0.0], [0, 1], [0, 2]), shape=(1, 2))

    assert top(model, customer, np.array([[0, 1]], np.float32), 1).scores.tolist() == [[3.0]]


def test_a_trained_machine_ranks() -> None:
    customers, videos = sides()
    pairs = (customers[:, None] + videos).reshape(-1, WIDTH)
    machine = FactorizationMachine(2, epochs=3, random_state=1)
    machine.fit(pairs, np.arange(len(pairs)) % 5)

    ranking = machine.top(customers, videos, 1)

    best = machine.predict(pairs).reshape(CUSTOMERS, VIDEOS).max(axis=1)
    np.testing.assert_allclose(ranking.scores[:, 0], best, rtol=1e-5)


def mask_of(rows: int, columns: int) -> Any:
    return scipy.sparse.csr_matrix((rows, columns))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": 0}, "count is 0"),
        ({"records": np.ones((1, WIDTH))}, "feature 6 stands in records and in candidates"),
        ({"candidates": np.ones((1, 3))}, "dense records hold 3 values"),
        ({"exclude": mask_of(4, VIDEOS)}, "exclude has 4 rows but there are 5 records"),
        ({"exclude": mask_of(CUSTOMERS, 41)}, "sparse records are 41 wide"),
        ({"exclude": np.zeros((CUSTOMERS, VIDEOS))}, "exclude must be a sparse matrix"),
    ],
)
def test_what_cannot_be_ranked_is_refused(changes: dict[str, Any], problem: str) -> None:
    customers, videos = sides()
    given = {"records": customers, "candidates": videos, "count": 1, **changes}

    with pytest.raises(DataError, match=problem):
        top(make(), **given)
