"""Bootstrap intervals: against the textbook's standard error, and what makes them repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.workflow import intervals
from matinee.workflow.intervals import REPLICATES, group_sums, interval, replicate_ratios


def test_values_are_summed_by_customer() -> None:
    summed = group_sums(np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2], np.int32), 4)
    assert summed.tolist() == [2, 0, 5, 0]


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(3, 2, 4_000)
    bounds = interval(replicate_ratios(values[:, None], np.ones(4_000), seed=1))
    assert bounds is not None
    half = 1.96 * values.std() / np.sqrt(4_000)
    assert bounds[0] == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert bounds[1] == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_customers_are_drawn_whole() -> None:
    # 40 customers whose 100 ratings are alike are worth 40 ratings, not 4,000.
    rng = np.random.default_rng(7)
    of_customer = rng.normal(0, 1, 40)
    by_customer = interval(replicate_ratios(100 * of_customer[:, None], np.full(40, 100.0), 1))
    apart = interval(replicate_ratios(np.repeat(of_customer, 100)[:, None], np.ones(4_000), 1))
    assert by_customer is not None
    assert apart is not None
    assert np.ptp(by_customer) == pytest.approx(10 * np.ptp(apart), rel=0.2)


def test_one_call_draws_the_same_customers_for_all_figures() -> None:
    rng = np.random.default_rng(7)
    first = rng.normal(0, 1, 300)
    replicates = replicate_ratios(np.column_stack([first, first + 1]), np.ones(300), seed=1)
    np.testing.assert_allclose(replicates[:, 1] - replicates[:, 0], 1)


def test_the_weights_are_those_of_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_BLOCK_CUSTOMERS", 3)
    values, rows = np.arange(8.0), np.array([1.0, 2, 0, 1, 1, 3, 1, 1])
    rng = np.random.default_rng(5)
    numerator, denominator = np.zeros(REPLICATES), np.zeros(REPLICATES)
    for block in ([0, 1, 3], [4, 5, 6], [7]):
        weights = rng.poisson(1.0, (REPLICATES, len(block)))
        numerator += weights @ values[block]
        denominator += weights @ rows[block]
    drawn = denominator > 0
    found = replicate_ratios(values[:, None], rows, seed=5)
    np.testing.assert_allclose(found[:, 0], numerator[drawn] / denominator[drawn])


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.arange(50.0)[:, None]
    first = interval(replicate_ratios(values, np.ones(50), seed=1))
    assert interval(replicate_ratios(values, np.ones(50), seed=1)) == first
    assert interval(replicate_ratios(values, np.ones(50), seed=2)) != first


@pytest.mark.parametrize("rows", [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
def test_fewer_than_two_customers_say_nothing(rows: list[float]) -> None:
    assert interval(replicate_ratios(np.ones((3, 1)), np.array(rows), seed=1)) is None


@given(
    st.lists(st.tuples(st.floats(-100, 100, width=32), st.integers(1, 9)), min_size=2, max_size=40),
    st.integers(0, 2**32),
)
def test_replicates_stay_between_the_extremes(rows: list[tuple[float, int]], seed: int) -> None:
    means, counts = np.array(rows).T
    found = replicate_ratios((means * counts)[:, None], counts, seed)
    assert len(found) > REPLICATES / 2
    assert found.min() >= means.min() - 1e-9
    assert found.max() <= means.max() + 1e-9
