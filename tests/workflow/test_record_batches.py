"""How records are divided, against what they take when they are encoded."""

from __future__ import annotations

import numpy as np

from matinee import recordio
from matinee.workflow.features import FeatureSpace, pair_blocks
from matinee.workflow.record_batches import batches


def test_a_batch_is_as_large_as_it_may_be_and_no_larger() -> None:
    space = FeatureSpace(pair_blocks(2_000_000, 200_000))
    features = space.encode(np.full(200_000, 1_999_999), np.arange(200_000))
    parts = list(batches(features.indptr, 5_000_000))
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 200_000)
    sizes = [len(recordio.encode(features[part])) for part in parts]
    assert max(sizes) <= 5_000_000
    assert sizes[0] > 2_500_000


def test_a_record_that_is_too_large_goes_alone() -> None:
    assert list(batches(np.array([0, 100, 101, 102]), 200)) == [slice(0, 1), slice(1, 3)]
