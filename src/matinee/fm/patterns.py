"""Patterns: records that repeat their features in a block of fields, such as all of a customer's.

``find_blocks`` divides fields into blocks, so that a solver may go through the distinct patterns of
a block instead of all records. Fields that another field decides (a customer's age, a video's year)
share its block.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.fields import Fields
from matinee.fm.native import kernels

# Fewer records than this of a pattern, on average, make no pattern of it.
_REPEATED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Fields whose features come together.

    Attributes
    ----------
    fields
        Their numbers.
    pattern_of
        int32 (n,): the pattern of each record.
    examples
        int64 (patterns,): a record of each pattern.
    """

    fields: tuple[int, ...]
    pattern_of: NDArray[np.int32]
    examples: NDArray[np.int64]


def find_blocks(features: SparseRows, fields: Fields) -> list[Block]:
    """Divide fields into blocks, from the most patterns to the fewest."""
    hashes = _hashes(features, fields)
    found = []
    for field in range(len(fields.widths)):
        # Two sub-records of the same 64 bits are taken for one: among a million different ones
        # that happens once in tens of millions of times.
        _, examples, pattern_of = np.unique(
            hashes[:, field], return_index=True, return_inverse=True
        )
        found.append(Block((field,), pattern_of.astype(np.int32), examples.astype(np.int64)))
    found.sort(key=lambda block: -len(block.examples))
    blocks: list[Block] = []
    for block in found:
        for place, larger in enumerate(blocks):
            if _decides(larger, block):
                merged = (*larger.fields, *block.fields)
                blocks[place] = Block(merged, larger.pattern_of, larger.examples)
                break
        else:
            blocks.append(block)
    return blocks


def _decides(larger: Block, smaller: Block) -> bool:
    """Whether records of the same larger pattern, if it repeats, are of one smaller pattern."""
    if len(larger.examples) * _REPEATED > len(larger.pattern_of):
        return False
    expected = smaller.pattern_of[larger.examples][larger.pattern_of]
    return bool((expected == smaller.pattern_of).all())


def _hashes(features: SparseRows, fields: Fields) -> NDArray[np.uint64]:
    count = features.shape[0]
    field_of = np.repeat(np.arange(len(fields.widths), dtype=np.int32), fields.widths)
    hashes = np.zeros((count, len(fields.widths)), dtype=np.uint64)
    kernels("gibbs_rows").hash_records(
        features.indptr,
        features.indices,
        features.data.view(np.uint32),
        count,
        field_of,
        len(fields.widths),
        hashes,
    )
    return hashes
