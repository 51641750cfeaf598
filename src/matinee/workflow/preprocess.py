"""The preprocess step: from raw ratings to three splits, index tables and a report.

Keeps the columns that matter, counts the malformed rows by cause, drops the long tail, keeps the
latest of a customer's ratings of a video, numbers customers and videos by falling popularity, and
splits by a hash of the ids, so that the same ratings and seed give the same bytes, on whichever
engine, and a rating keeps its split when others are added. Refuses ratings of which nothing or too
little is usable, filters that leave nothing, and splits that stay empty.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from matinee.workflow import tables
from matinee.workflow.engines.engine import Engine
from matinee.workflow.errors import RatingsError
from matinee.workflow.feature_tables import write_features
from matinee.workflow.malformed import MalformedRows
from matinee.workflow.objects import Objects
from matinee.workflow.parts import PART_ROWS, SPLITS, Preprocessed
from matinee.workflow.settings import Settings
from matinee.workflow.sources import Sources

logger = logging.getLogger(__name__)


def preprocess(
    settings: Settings, inputs: dict[str, Any], *, part_rows: int = PART_ROWS
) -> Preprocessed:
    """Read the ratings and write splits, index tables and the report.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `run`, the run's name.
    part_rows : int
        Rows of every part of a split but its last.

    Returns
    -------
    Preprocessed
        The parts of the `ratings` by split (Parquet: customer and video indexes, stars, time and
        side columns if asked for; in the order of their hash), URIs of `customers` and `videos`
        (Parquet: index, id, ratings; title) and of the `report` (JSON), how many of each there are,
        and the feature space, if the run has features.

    Raises
    ------
    ObjectsError
        If there are no such objects.
    RatingsError
        If they cannot be read, hold no usable ratings or too many malformed rows, or the filters or
        a split leave none.
    """
    objects = Objects()
    sources = Sources(objects)
    run = inputs["run"]
    folder = f"{settings.folder(run)}/preprocess"
    found = sources.find(settings.ratings)
    if settings.engine == "glue":
        from matinee.workflow.engines.glue import Glue

        return Glue(settings, run).preprocess(part_rows)
    # First of all, as it fails at once where nothing could be written.
    objects.delete_folder(folder)
    with (
        tempfile.TemporaryDirectory(prefix="matinee-preprocess-") as scratch_name,
        _open(settings, run, sources, Path(scratch_name), part_rows) as engine,
    ):
        malformed = engine.load(found)
        loaded = _check_rows(engine, settings, found, malformed)
        funnel = _reduce(engine, settings)
        counts = _split(engine, settings)
        report = {
            "run": run,
            "engine": settings.engine,
            "ratings": settings.ratings,
            "objects": found,
            "rows": loaded["usable"] + malformed.total,
            "malformed": malformed.report(),
            "not_before_until": loaded.pop("usable") - funnel[0]["ratings"],
            **loaded,
            "funnel": funnel,
            "stars": {f"{stars:g}": n for stars, n in engine.rows(engine.definition.histogram())},
            "splits": counts,
            "customers": funnel[-1]["customers"],
            "videos": funnel[-1]["videos"],
            "seed": settings.seed,
        }
        preprocessed: Preprocessed = {
            "run": run,
            "ratings": {
                split: tables.write_parts(
                    engine.split(split),
                    tables.ratings_schema(settings.side_columns, timed=settings.is_timed),
                    f"{folder}/ratings/{split}",
                    part_rows,
                    objects,
                    Path(scratch_name),
                )
                for split in SPLITS
            },
            "customers": f"{folder}/customers.parquet",
            "videos": f"{folder}/videos.parquet",
            "report": f"{folder}/report.json",
            "customer_count": funnel[-1]["customers"],
            "video_count": funnel[-1]["videos"],
            "rating_counts": counts,
        }
        for name, schema in (("customers", tables.CUSTOMERS), ("videos", tables.VIDEOS)):
            uri = f"{folder}/{name}.parquet"
            tables.write_table(engine.index(name), schema, uri, objects, Path(scratch_name))
    if settings.features:
        with tempfile.TemporaryDirectory(prefix="matinee-features-") as scratch_name:
            tables_folder = f"{folder}/features"
            write_features(
                settings.features, preprocessed, tables_folder, objects, Path(scratch_name)
            )
            preprocessed["features"] = tables_folder
    objects.write_json(report, preprocessed["report"])
    logger.info("malformed rows: %s", malformed.describe() or "none")
    for step in funnel:
        logger.info(
            "%(step)s: %(ratings)d ratings, %(customers)d customers, %(videos)d videos", step
        )
    return preprocessed


def _open(
    settings: Settings, run: str, sources: Sources, scratch: Path, part_rows: int
) -> AbstractContextManager[Engine]:
    """Open the engine that the run asks for; only its own library is loaded."""
    if settings.engine == "spark":
        from matinee.workflow.engines.spark import Spark

        return Spark(settings, run, sources, scratch, part_rows)
    if settings.engine == "athena":
        from matinee.workflow.engines.athena import Athena

        return Athena(settings, run, sources, scratch, part_rows)
    from matinee.workflow.engines.duckdb import DuckDB

    return DuckDB(settings, sources, scratch)


def _check_rows(
    engine: Engine, settings: Settings, found: list[str], malformed: MalformedRows
) -> dict[str, int]:
    """Take the malformed rows into account; return what is to be told of the usable ones."""
    definition = engine.definition
    seen: set[tuple[Any, str]] = set()
    for source, cause, count, row in engine.rows(definition.malformed()):
        first = (source, cause) not in seen
        seen.add((source, cause))
        name = found[source] if isinstance(source, int) else source
        malformed.add(cause, name, row, count if first else 0)
    [(usable, mended, unreadable)] = engine.rows(definition.usable())
    [(replaced,)] = engine.rows(definition.replaced_titles())
    malformed.refuse_above(settings.max_malformed_fraction, int(usable), settings.ratings)
    return {
        "usable": int(usable),
        "mended_ids": int(mended),
        "unreadable_times": int(unreadable),
        "titles_not_utf8": int(replaced),
    }


def _reduce(engine: Engine, settings: Settings) -> list[dict[str, Any]]:
    """Filter, deduplicate and index; return how many of what each step left."""
    definition = engine.definition
    engine.create("customer_counts", definition.counts("customer"))
    engine.create("video_counts", definition.counts("video"))
    engine.create("active", definition.active())
    engine.drop("checked")
    engine.create("kept", definition.kept())
    engine.create("distinct_ratings", definition.distinct_ratings())
    engine.create("customers", definition.customers())
    engine.create("videos", definition.videos())
    funnel = [_count(engine, step, query) for step, query in definition.funnel()]
    if not funnel[-1]["ratings"]:
        [(customer_most,)] = engine.rows(definition.most("customer"))
        [(video_most,)] = engine.rows(definition.most("video"))
        raise RatingsError(
            f"of {funnel[0]['ratings']} usable ratings none is left: min_ratings_per_customer"
            f" {settings.min_ratings_per_customer} leaves {funnel[1]['ratings']}, with"
            f" min_ratings_per_video {settings.min_ratings_per_video} 0; the most active customer"
            f" has {customer_most} ratings, the most rated video {video_most}"
        )
    for table in ("customer_counts", "video_counts", "active", "kept"):
        engine.drop(table)
    return funnel


def _split(engine: Engine, settings: Settings) -> dict[str, int]:
    """Split; return the ratings of each split."""
    definition = engine.definition
    engine.create("split_ratings", definition.split_ratings())
    rows = dict(engine.rows(definition.split_counts()))
    counts = {split: int(rows.get(split, 0)) for split in SPLITS}
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        raise RatingsError(
            f"no rating falls into {' and '.join(empty)}: {sum(counts.values())} ratings are too"
            f" few for the fractions {settings.train_fraction}, {settings.validate_fraction} and"
            f" {settings.test_fraction}"
        )
    return counts


def _count(engine: Engine, step: str, query: str) -> dict[str, Any]:
    [(ratings, customers, videos)] = engine.rows(query)
    return {
        "step": step,
        "ratings": int(ratings),
        "customers": int(customers),
        "videos": int(videos),
    }
