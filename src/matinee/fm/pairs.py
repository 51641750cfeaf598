"""Records of two one-hot features, grouped for stochastic gradient descent.

Rows of parameters are moved through the caches far less often when the records of a few first
features (the kind with more features, customers for example) are visited together. So records are
copied once into blocks of neighbouring first features, in a random order of first features, and
only the order of blocks and the order inside them change from epoch to epoch. For several threads
blocks are cut along the second features too, so that threads never touch the same row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.native import kernels

_BLOCK = 2048  # records; found by measuring


def find_pairs(features: SparseRows | NDArray[np.float32]) -> NDArray[np.int32] | None:
    """Return the keys (n, 2) if every record holds two features of value 1 from disjoint sets.

    Features are disjoint when none is the first key of one record and the second of another.
    """
    if not isinstance(features, SparseRows) or not features.all_ones:
        return None
    if not (np.diff(features.indptr) == 2).all():
        return None
    stored = slice(features.indptr[0], features.indptr[-1])
    keys: NDArray[np.int32] = features.indices[stored].reshape(-1, 2)
    is_first = np.zeros(features.shape[1], dtype=np.bool_)
    is_first[keys[:, 0]] = True
    return None if is_first[keys[:, 1]].any() else keys


@dataclass(frozen=True, slots=True, eq=False)
class GroupedPairs:
    """Records of two one-hot features in blocks.

    Attributes
    ----------
    first_features, second_features
        The feature of each row of parameters: first ones in a random order, second ones by part
        and falling popularity, so that the rows most used lie together.
    keys, labels
        int32 (2 * n,) and float32 (n,): first and second row of each record, and its label.
    starts
        int64 (blocks + 1,): where each block begins in them.
    parts
        Number of threads that may work at a time.
    """

    first_features: NDArray[np.int64]
    second_features: NDArray[np.int64]
    keys: NDArray[np.int32]
    labels: NDArray[np.float32]
    starts: NDArray[np.int64]
    parts: int

    @classmethod
    def group(
        cls,
        keys: NDArray[np.int32],
        labels: NDArray[np.float32],
        feature_dim: int,
        parts: int,
        rng: np.random.Generator,
    ) -> "GroupedPairs":
        """Copy records, given as ``find_pairs`` returns them, into blocks."""
        native = kernels("sgd")
        n = len(labels)
        counts = [np.bincount(keys[:, column], minlength=feature_dim) for column in (0, 1)]
        position = int(np.count_nonzero(counts[1]) > np.count_nonzero(counts[0]))
        of_first, of_second = counts[position], counts[1 - position]
        first = rng.permutation(np.flatnonzero(of_first))
        ranked = np.argsort(-of_second, kind="stable")[: np.count_nonzero(of_second)]
        # Dealt out in turn, popular features give every part as many records; a part's rows lie
        # together, because processors fetch neighbouring cache lines too.
        of_parts = [ranked[part::parts] for part in range(parts)]
        second = np.concatenate(of_parts)
        rows, blocks = np.zeros((2, feature_dim), dtype=np.int32)
        rows[first], rows[second] = np.arange(len(first)), np.arange(len(second))
        before = np.cumsum(of_first[first]) - of_first[first]
        blocks[first] = before // (_BLOCK * parts) * parts
        for part, features in enumerate(of_parts):
            blocks[features] = part
        starts = np.zeros(blocks[first[-1]] + parts + 1, dtype=np.int64)
        native.count_pairs(keys.ravel(), n, blocks, starts[1:])
        np.cumsum(starts, out=starts)
        grouped_keys, grouped_labels = np.empty(2 * n, np.int32), np.empty(n, np.float32)
        native.group_pairs(
            keys.ravel(), labels, n, position, rows, blocks, starts[:-1].copy(), grouped_keys,
            grouped_labels,
        )  # fmt: skip
        seed = int(rng.integers(2**62))
        native.shuffle_pairs(grouped_keys, grouped_labels, starts, len(starts) - 1, seed)
        return cls(first, second, grouped_keys, grouped_labels, starts, parts)

    def visits(self, rng: np.random.Generator) -> Iterator[list[NDArray[np.int64]]]:
        """Yield an epoch's work: for each part the blocks to visit, in their order.

        The parts yielded at a time have no row in common; each epoch needs ``parts`` such rounds
        (distributed stochastic gradient descent; Gemulla, Haas, Nijkamp and Sismanis 2011).
        """
        groups = np.array_split(np.arange((len(self.starts) - 1) // self.parts), self.parts)
        for shift in rng.permutation(self.parts):
            yield [
                rng.permutation(group) * self.parts + (part + shift) % self.parts
                for part, group in enumerate(groups)
            ]
