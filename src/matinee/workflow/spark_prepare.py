"""The prepare step on Spark executors: each of them encodes parts, and only counts come back.

The executors need matinee and its environment for AWS, and write the objects themselves; a part
that Spark tries again is written again with the same bytes. Nothing here imports Spark: the session
is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import (
    PartName,
    Prepared,
    PreparedPart,
    gather,
    part_names,
    prepare_part,
)
from matinee.workflow.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DONE = pa.schema([("split", pa.string()), ("number", pa.int32()), ("rows", pa.int64())])


def prepare_on_spark(
    session: SparkSession, settings: Settings, preprocessed: Preprocessed
) -> Prepared:
    """Encode the three splits, each part in a Spark task of its own.

    Parameters
    ----------
    session : SparkSession
    settings : Settings
    preprocessed : Preprocessed

    Returns
    -------
    Prepared
        As of `gather`.

    Raises
    ------
    RatingsError, ObjectsError
        As of `part_names` and `gather`. What a task refuses ends in Spark's own error, which names
        it, after as many tries as Spark makes.
    """
    names = part_names(settings, preprocessed)
    numbers = session.range(0, len(names), 1, len(names))
    encode = partial(prepare_numbered, settings, preprocessed, names)
    rows = numbers.mapInArrow(encode, "split string, number int, rows long").collect()
    done: list[PreparedPart] = [
        {"split": row["split"], "number": row["number"], "rows": row["rows"]} for row in rows
    ]
    return gather(settings, preprocessed, done)


def prepare_numbered(
    settings: Settings,
    preprocessed: Preprocessed,
    names: list[PartName],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Encode the parts whose places in `names` the batches' first columns hold.

    Yields
    ------
    pyarrow.RecordBatch
        The split, number and rows of each part, when it is written.
    """
    for batch in batches:
        for place in batch.column(0).to_pylist():
            done = prepare_part(settings, preprocessed, **names[place])
            yield pa.RecordBatch.from_pylist([dict(done)], schema=_DONE)
