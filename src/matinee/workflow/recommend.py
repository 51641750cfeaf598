"""The recommend steps: the best videos for one customer, or for all of them as Parquet.

Refuses a model that does not fit the index tables.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from matinee.workflow import tables
from matinee.workflow.attribution import Attribution
from matinee.workflow.catalogue import Catalogue
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.recommendation_table import RECOMMENDATIONS, RecommendationTable
from matinee.workflow.recommender import COUNT, Recommendations, Recommender, load_model
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)


class AllRecommended(TypedDict):
    """What `recommend_all` wrote.

    `customers` were served, `by_popularity` of them by popularity; `agreement` is of the reasons,
    see `attribution`, and None where they are exact.
    """

    run: str
    recommendations: str
    rows: int
    customers: int
    by_popularity: int
    agreement: float | None


def recommend(
    preprocessed: Preprocessed, model: str, *, customer: str | None, seed: int, count: int = COUNT
) -> Recommendations:
    """Recommend videos to a customer of a run.

    Parameters
    ----------
    preprocessed : Preprocessed
        What the preprocess step returned: where the index tables and ratings lie.
    model : str
        URI of the model.tar.gz.
    customer : str or None
        The customer's id; None takes the one whose hash with the seed is the smallest among those
        that the model knows.
    seed : int
    count : int
        How many videos at most.

    Returns
    -------
    Recommendations
        The best first, ties to the more popular video; a video without title has its id there.

    Raises
    ------
    ObjectsError
        If an object cannot be read.
    EvaluationError
        If the artifact is no model or of another width than the index tables.
    """
    with tempfile.TemporaryDirectory(prefix="matinee-recommend-") as scratch:
        recommender = Recommender.load(Objects(), preprocessed, model, Path(scratch))
        chosen = recommender.example_customer(seed) if customer is None else customer
        return recommender.recommend(chosen, count)


def recommend_all(
    settings: Settings,
    inputs: dict[str, Any],
    *,
    count: int = COUNT,
    progress: Callable[[int, int], None] | None = None,
    objects: Objects | None = None,
) -> AllRecommended:
    """Write the best videos of every customer as one Parquet object.

    Memory holds the model, the index tables and one block of customers; the ratings lie in a
    temporary file. The object appears when all of it is there.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed` and `trained`, as those steps returned them.
    count : int
        How many videos at most for each customer.
    progress : callable, optional
        Called with how many customers are done, and how many there are; by default they are logged.
    objects : Objects, optional
        S3, if not as the environment has it.

    Returns
    -------
    AllRecommended
        `recommendations` is `recommendations.parquet` in the run's folder: columns as of
        `RECOMMENDATIONS`, customers in the order of their index, ranks from 1. Scores and ties are
        `recommend`'s up to float32 rounding. The first reason alone; null where there is none.

    Raises
    ------
    ObjectsError, EvaluationError
        As of `recommend`.
    """
    objects = objects or Objects()
    preprocessed: Preprocessed = inputs["preprocessed"]
    uri = f"{settings.folder(preprocessed['run'])}/recommendations.parquet"
    with tempfile.TemporaryDirectory(prefix="matinee-recommend-") as scratch_name:
        scratch = Path(scratch_name)
        catalogue = Catalogue.read(objects, preprocessed, scratch)
        machine = load_model(objects, inputs["trained"]["model"], catalogue.space, scratch)
        attribution = Attribution.fit(machine.model, catalogue)
        table = RecommendationTable(catalogue, machine, attribution, count)
        blocks = table.blocks(progress or _log)
        tables.write_table(blocks, RECOMMENDATIONS, uri, objects, scratch)
    return {
        "run": preprocessed["run"],
        "recommendations": uri,
        "rows": table.rows,
        "customers": catalogue.customers.num_rows,
        "by_popularity": table.by_popularity,
        "agreement": attribution.agreement,
    }


def _log(done: int, total: int) -> None:
    logger.info("%d of %d customers have their recommendations", done, total)
