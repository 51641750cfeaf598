"""Records of two one-hot features are found and grouped; no record is lost or seen twice."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from matinee.fm.data import SparseRows, check_features
from matinee.fm.pairs import GroupedPairs, find_pairs


def rows(keys: ArrayLike, values: ArrayLike | None = None, width: int = 10) -> SparseRows:
    given = np.asarray(keys, dtype=np.int32)
    records, held = given.shape
    values = np.ones(given.size) if values is None else values
    checked = check_features(
        SparseRows(
            np.arange(records + 1) * held,
            given.ravel(),
            np.asarray(values, dtype=np.float32),
            (records, width),
        ),
        width,
    )
    assert isinstance(checked, SparseRows)
    return checked


def group(parts: int, seed: int = 0) -> tuple[list[tuple[int, int, float]], GroupedPairs]:
    rng = np.random.default_rng(seed)
    # A few of the many first features hold most of the records.
    first = np.minimum(rng.geometric(0.002, size=20_000), 900)
    second = 1000 + rng.integers(100, size=20_000)
    labels = rng.normal(size=20_000).astype(np.float32)
    keys = np.stack([first, second], axis=1).astype(np.int32)
    records = sorted(zip(first.tolist(), second.tolist(), labels.tolist(), strict=True))
    return records, GroupedPairs.group(keys, labels, 1200, parts, rng)


def test_two_one_hot_features_from_disjoint_sets_are_pairs() -> None:
    keys = [[0, 5], [3, 9], [0, 9]]

    found = find_pairs(rows(keys))

    np.testing.assert_array_equal(found, keys)


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ([[0, 5], [5, 9]], None),
        ([[0, 5], [3, 9]], [1, 1, 1, 0.5]),
        ([[0, 5, 9]], None),
        ([[0], [5]], None),
    ],
    ids=["feature in both places", "other value", "three features", "one feature"],
)
def test_other_records_are_not(keys: ArrayLike, values: ArrayLike | None) -> None:
    assert find_pairs(rows(keys, values)) is None


def test_dense_records_are_not() -> None:
    assert find_pairs(np.ones((3, 2), dtype=np.float32)) is None


@pytest.mark.parametrize("parts", [1, 3])
def test_grouping_keeps_every_record(parts: int) -> None:
    records, grouped = group(parts)

    first, second = grouped.keys.reshape(-1, 2).T
    kept = zip(
        grouped.first_features[first].tolist(),
        grouped.second_features[second].tolist(),
        grouped.labels.tolist(),
        strict=True,
    )
    assert sorted(kept) == records
    assert grouped.starts[0] == 0
    assert grouped.starts[-1] == len(records)


def test_the_kind_with_more_features_comes_first_whichever_key_it_is() -> None:
    keys = np.array([[0, 5], [0, 6], [1, 7]], dtype=np.int32)

    grouped = GroupedPairs.group(keys, np.ones(3, np.float32), 8, 1, np.random.default_rng(0))

    assert set(grouped.first_features.tolist()) == {5, 6, 7}
    assert grouped.second_features.tolist() == [0, 1]  # by popularity


def test_a_first_feature_lies_in_one_block() -> None:
    _, grouped = group(1)

    block = np.repeat(np.arange(len(grouped.starts) - 1), np.diff(grouped.starts))
    first = grouped.keys[::2]
    assert len(set(zip(first.tolist(), block.tolist(), strict=True))) == len(set(first.tolist()))
    assert len(set(block.tolist())) > 5


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_an_epoch_visits_every_block_once(parts: int) -> None:
    _, grouped = group(parts)

    rounds = list(grouped.visits(np.random.default_rng(0)))

    assert len(rounds) == parts
    visited = np.concatenate([blocks for each in rounds for blocks in each])
    assert sorted(visited.tolist()) == list(range(len(grouped.starts) - 1))


def test_parts_visited_at_the_same_time_share_no_row() -> None:
    _, grouped = group(3)
    keys = grouped.keys.reshape(-1, 2)

    for each in grouped.visits(np.random.default_rng(0)):
        rows_of = [
            np.concatenate(
                [keys[grouped.starts[block] : grouped.starts[block + 1]] for block in blocks]
            )
            for blocks in each
        ]
        for column in (0, 1):
            held = [set(part[:, column].tolist()) for part in rows_of]
            assert all(held)
            assert sum(map(len, held)) == len(set.union(*held))


def test_orders_change_with_the_generator() -> None:
    _, grouped = group(1)
    rng = np.random.default_rng(0)

    epochs = [next(grouped.visits(rng))[0].tolist() for _ in range(3)]

    assert len({tuple(epoch) for epoch in epochs}) == 3
