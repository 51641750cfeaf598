"""Rankings against a plain reference in Python, and on catalogues whose right order can be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from matinee.fm.model import Model
from matinee.workflow import ranking
from matinee.workflow.errors import EvaluationError
from matinee.workflow.features import Block, FeatureSpace, Sets, pair_blocks
from matinee.workflow.prepare import Ratings
from matinee.workflow.ranking import CUTOFF, coverage, figures, measure_ranking, novelty

Rows = Iterable[tuple[int, int, float]]


def rated(rows: Rows) -> Ratings:
    customers, videos, stars = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), ())
    return Ratings(
        np.array(customers, np.int32), np.array(videos, np.int32), np.array(stars, np.float32)
    )


def splits(train: Rows, validate: Rows, test: Rows) -> dict[str, Ratings]:
    return {"train": rated(train), "validate": rated(validate), "test": rated(test)}


def pairs(customers: int, videos: int) -> FeatureSpace:
    return FeatureSpace(pair_blocks(customers, videos))


def of_videos(scores: Sequence[float], customers: int) -> Model:
    """A model of each video's score, whoever the customer."""
    linear = np.array([0.0] * customers + list(scores), np.float32)
    return Model(3.0, linear, np.zeros((len(linear), 2), np.float32), "regressor")


def relevant(*videos: Sequence[int], of: int) -> csr_matrix:
    rows = [row for row, wanted in enumerate(videos) for _ in wanted]
    columns = [video for wanted in videos for video in wanted]
    return csr_matrix((np.ones(len(rows)), (rows, columns)), (len(videos), of))


def plain(best: Sequence[int], wanted: set[int]) -> list[float]:
    """NDCG, recall and reciprocal rank of one list, as their definitions are read out."""
    gains = [1 if video in wanted else 0 for video in best]
    gained = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(best), len(wanted)) + 1))
    ranks = [rank for rank, gain in enumerate(gains, start=1) if gain]
    return [gained / ideal, sum(gains) / len(wanted), 1 / ranks[0] if ranks else 0.0]


def test_a_list_is_measured_as_the_definitions_say() -> None:
    best = np.array([[4, 0, 2, -1], [1, 2, 3, 4]])
    found = figures(best, relevant([0, 1], [5], of=6))
    dcg = 1 / math.log2(3)
    np.testing.assert_allclose(found, [[dcg / (1 + dcg), 0.5, 0.5], [0.0, 0.0, 0.0]])


def test_the_perfect_list_has_ndcg_1_however_many_are_relevant() -> None:
    best = np.array([[0, 1, 2], [0, 1, 2]])
    found = figures(best, relevant([0], [0, 1, 2, 3, 4, 5], of=6))
    np.testing.assert_allclose(found, [[1.0, 1.0, 1.0], [1.0, 0.5, 1.0]])


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[list[int]], list[set[int]]]:
    customers = draw(st.integers(1, 5))
    cutoff = draw(st.integers(1, 12))
    best = []
    for _ in range(customers):
        order = draw(st.permutations(range(15)))[: draw(st.integers(0, cutoff))]
        best.append([*order, *[-1] * (cutoff - len(order))])
    wanted = [draw(st.sets(st.integers(0, 14), min_size=1)) for _ in range(customers)]
    return best, wanted


@given(lists())
def test_figures_are_those_of_plain_python(case: tuple[list[list[int]], list[set[int]]]) -> None:
    best, wanted = case
    found = figures(np.array(best), relevant(*map(sorted, wanted), of=15))
    np.testing.assert_allclose(found, [plain(*pair) for pair in zip(best, wanted, strict=True)])


def test_novelty_is_in_bits_of_surprise() -> None:
    raters = np.array([8, 2, 0])
    assert novelty(np.array([[0, 1], [-1, -1]]), raters, 8) == (0 + 2) / 2
    assert novelty(np.array([[2, -1]]), raters, 8) == 3
    assert novelty(np.array([[-1]]), raters, 8) is None


def test_coverage_counts_each_video_once() -> None:
    assert coverage(np.array([[0, 3], [3, -1]]), 8) == 0.25


def test_what_was_rated_before_is_no_candidate() -> None:
    # Video 3 scores best but was rated, by customer 0 in train and by customer 1 in validate.
    ratings = splits(
        [(0, 3, 5), (1, 0, 1)], [(1, 3, 5)], [(0, 2, 4), (1, 1, 5), (1, 2, 3.9), (2, 0, 3)]
    )
    measured = measure_ranking(of_videos([0, 1, 2, 9], 3), ratings, pairs(3, 4), seed=1)
    assert (
        measured["protocol"] | {"eligible_customers": 2, "customers": 2, "catalogue": 4}
        == (measured["protocol"])
    )
    # Customer 0 is shown 2, 1, 0 and wants 2; customer 1 is shown 2, 1 and wants 1.
    assert measured["model"]["mrr"] == pytest.approx((1 + 1 / 2) / 2)
    assert measured["model"]["ndcg"] == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert measured["model"]["recall"] == 1
    assert measured["model"]["coverage"] == 0.75
    # By popularity 0 and 3 have one rating each, so it is 0, 1, 2 and 1, 2.
    assert measured["popular"]["mrr"] == pytest.approx((1 / 3 + 1) / 2)


def test_the_test_split_hides_nothing_from_the_candidates() -> None:
    ratings = splits([(0, 0, 5)], [], [(0, 1, 1), (0, 2, 5)])
    measured = measure_ranking(of_videos([0, 9, 1], 1), ratings, pairs(1, 3), seed=1)
    assert measured["model"]["mrr"] == 0.5


def test_without_relevant_ratings_there_is_the_protocol_alone() -> None:
    ratings = splits([(0, 0, 5)], [], [(0, 1, 3)])
    measured = measure_ranking(of_videos([0, 9], 1), ratings, pairs(1, 2), seed=1)
    assert measured.keys() == {"protocol"}
    assert measured["protocol"]["customers"] == 0


def test_a_model_of_other_data_is_refused() -> None:
    ratings = splits([(0, 0, 5)], [], [(0, 1, 5)])
    with pytest.raises(EvaluationError, match="has 4 features, but the run has 3"):
        measure_ranking(of_videos([0, 9, 1], 1), ratings, pairs(1, 2), seed=1)


def test_features_beside_customer_and_video_count() -> None:
    # Each video's one rater is a feature of it: who is rated by customer 1 is what is wanted.
    raters = Sets(np.array([0, 1, 2, 3]), np.array([0, 1, 0], np.int32))
    block: Block = {"name": "raters", "of": "video", "offset": 5, "width": 2}
    space = FeatureSpace([*pair_blocks(2, 3), block], {"raters": raters})
    linear = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
    model = Model(3.0, linear, np.zeros((7, 1), np.float32), "regressor")
    ratings = splits([(1, 0, 5)], [], [(0, 1, 5)])
    assert measure_ranking(model, ratings, space, seed=1)["model"]["mrr"] == 1


def test_of_many_customers_some_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST_CUSTOMERS", 5)
    ratings = splits(
        [(customer, 0, 5) for customer in range(40)],
        [],
        [(customer, 1 + customer % 3, 5) for customer in range(40)],
    )
    drawn = [ranking.judge(ratings, 4, seed) for seed in (1, 1, 2)]
    assert [judged.eligible for judged in drawn] == [40, 40, 40]
    assert drawn[0].customers.tolist() == drawn[1].customers.tolist()
    assert drawn[0].customers.tolist() != drawn[2].customers.tolist()
    for judged in drawn:
        assert len(judged.customers) == 5
        assert judged.relevant.indices.tolist() == [1 + c % 3 for c in judged.customers]
        assert judged.seen.indices.tolist() == [0] * 5


def random_splits(seed: int, customers: int, videos: int) -> dict[str, Ratings]:
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(customers * videos)[: customers * videos // 2]
    rows = [(int(p // videos), int(p % videos), float(rng.integers(1, 6))) for p in pairs]
    return splits(rows[::3], rows[1::3], rows[2::3])


@given(st.integers(0, 2**32))
def test_the_whole_protocol_is_that_of_plain_python(seed: int) -> None:
    customers, videos = 6, 13
    rng = np.random.default_rng(seed)
    ratings = random_splits(seed, customers, videos)
    linear = rng.normal(size=customers + videos).astype(np.float32)
    factors = rng.normal(size=(customers + videos, 3)).astype(np.float32)
    measured = measure_ranking(
        Model(0.5, linear, factors, "regressor"), ratings, pairs(customers, videos), seed=1
    )
    by_customer, shown = reference(linear, factors, ratings, customers, videos)
    assert measured["protocol"]["customers"] == len(by_customer)
    if not by_customer:
        assert "model" not in measured
        return
    found: dict[str, Any] = measured["model"]
    assert [found[name] for name in ("ndcg", "recall", "mrr")] == pytest.approx(
        np.mean(by_customer, axis=0).tolist(), abs=1e-6
    )
    assert found["coverage"] == len(shown) / videos


def reference(
    linear: np.ndarray,
    factors: np.ndarray,
    ratings: dict[str, Ratings],
    customers: int,
    videos: int,
) -> tuple[list[list[float]], set[int]]:
    """Return the figures of each customer who is judged, and all videos that anybody is shown."""
    by_customer: list[list[float]] = []
    shown: set[int] = set()
    for customer in range(customers):
        seen = {
            int(video)
            for split in ("train", "validate")
            for who, video, _ in zip(*ratings[split], strict=True)
            if who == customer
        }
        wanted = {
            int(video)
            for who, video, stars in zip(*ratings["test"], strict=True)
            if who == customer and stars >= 4
        }
        if not wanted:
            continue
        score = {
            video: float(linear[customers + video] + factors[customer] @ factors[customers + video])
            for video in range(videos)
            if video not in seen
        }
        best = sorted(score, key=lambda video: (-score[video], video))[:CUTOFF]
        shown.update(best)
        by_customer.append(plain([*best, *[-1] * (CUTOFF - len(best))], wanted))
    return by_customer, shown
