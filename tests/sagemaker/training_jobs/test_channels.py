"""The order and the shards of a channel, and the room for its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.sagemaker.data.objects import InputObject, Objects
from matinee.sagemaker.training_jobs.channels import TooMuchDataError, download, part
from tests.conftest import ObjectStore


def test_without_a_seed_the_order_stays() -> None:
    assert part("abcde", None, 3, 0, 1) == list("abcde")
    assert [part("abcde", None, 0, shard, 2) for shard in (0, 1)] == [list("ace"), list("bd")]


def test_a_seed_gives_every_epoch_its_order() -> None:
    orders = [part("abcdefgh", 1, epoch, 0, 1) for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert orders[0] != part("abcdefgh", 2, 0, 0, 1)


@given(
    st.lists(st.integers(), max_size=30),
    st.none() | st.integers(),
    st.integers(0, 5),
    st.integers(1, 6),
)
def test_the_shards_are_everything_in_about_equal_parts(
    items: list[int], seed: int | None, epoch: int, shards: int
) -> None:
    parts = [part(items, seed, epoch, shard, shards) for shard in range(shards)]
    assert sorted(item for one in parts for item in one) == sorted(items)
    sizes = [len(one) for one in parts]
    assert max(sizes) - min(sizes) <= 1


def test_sizes_that_nobody_has_asked_for_count_too(
    objects: Objects, object_store: ObjectStore, tmp_path: Path
) -> None:
    for key in ("room/a", "room/b", "room/c"):
        object_store.client().put_object(Bucket="matinee", Key=key, Body=b"xx")
    # As a manifest names them.
    items = [InputObject("matinee", f"room/{name}", name) for name in "abc"]
    with pytest.raises(TooMuchDataError, match=r"at least 4 bytes, .* has room for 3 more"):
        download(items, tmp_path, objects, room=3, check=lambda: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert download(items, tmp_path, objects, room=6, check=lambda: None) == 6
