"""The prepare step on Spark executors: each of them encodes parts, and only counts come back.

The executors need matinee and what every client needs to find AWS, and write the objects
themselves; a part that Spark tries again is written again with the same bytes. Nothing here imports
Spark: the session is the caller's, and not one of Spark Connect, which has no RDDs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from matinee.workflow.parts import Preprocessed
from matinee.workflow.prepare import Prepared, gather, part_names, prepare_parts
from matinee.workflow.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
    tasks = session.sparkContext.parallelize(names, len(names))
    done = tasks.mapPartitions(partial(prepare_parts, settings, preprocessed)).collect()
    return gather(settings, preprocessed, done)
