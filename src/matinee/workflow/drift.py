"""Drift: whether new ratings are still like those that the model in service was trained on.

`write_profile` keeps what a run's ratings are like; `detect_drift` compares a later run's with it:
the stars, how active customers and how popular videos are by the population stability index, the
mean of the stars, and the share of ratings by customers, or of videos, that the model doesn't know.
So a run on ratings that have not drifted can end before it trains. Refuses profiles that are none.

The population stability index of shares p_i now and q_i then is sum((p_i - q_i) ln(p_i / q_i)); by
custom below 0.1 nothing has changed, and above 0.25 much has (N. Siddiqi, Credit Risk Scorecards,
2006). Of samples of n and m from the same population it is distributed as (1/n + 1/m) times a
chi-squared variable of one degree of freedom less than there are bins (B. Yurdakul and J. Naranjo,
Statistical Properties of the Population Stability Index, Journal of Risk Model Validation 14 (4),
2020), so of few customers or videos more is asked than the threshold.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.parts import Preprocessed
from matinee.workflow.runs import in_service
from matinee.workflow.settings import Settings

logger = logging.getLogger(__name__)

# Ratings of a customer, or of a video, against the mean of all: so more data alone is no drift.
ACTIVITY_BOUNDS = (0.18, 0.35, 0.71, 1.41, 2.83, 5.66)
# Stars may be fractions.
STAR_BOUNDS = (1.5, 2.5, 3.5, 4.5)
_ENTITIES = ("customer", "video")
# How rarely an index is taken for drift that comes of chance.
_SIGNIFICANCE = 0.001


class Profile(TypedDict):
    """What a run's ratings are like.

    `stars` counts ratings by STAR_BOUNDS, `activity` customers and videos by ACTIVITY_BOUNDS;
    `customers` and `videos` are the URIs of the run's index tables.
    """

    run: str
    ratings: int
    mean_stars: float
    stars: list[int]
    activity: dict[str, list[int]]
    customers: str
    videos: str


class Drift(TypedDict):
    """Whether ratings have drifted, why or why not, and each measure beside its threshold."""

    run: str
    drifted: bool
    reasons: list[str]
    drift: str


def write_profile(settings: Settings, inputs: dict[str, Any]) -> dict[str, str]:
    """Write `profile.json` of a run's ratings.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed`.

    Returns
    -------
    dict
        `profile`, its URI.
    """
    preprocessed: Preprocessed = inputs["preprocessed"]
    uri = f"{settings.folder(preprocessed['run'])}/profile.json"
    objects = Objects()
    with tempfile.TemporaryDirectory(prefix="matinee-drift-") as scratch:
        objects.write_json(_profile(objects, preprocessed, Path(scratch)), uri)
    return {"profile": uri}


def detect_drift(settings: Settings, inputs: dict[str, Any]) -> Drift:
    """Compare a run's ratings with the profile of those that the model in service learned from.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        `preprocessed`, of the new ratings, and `profile`, the URI of the older run's
        `profile.json`, or None where no model is in service.

    Returns
    -------
    Drift
        Also written to `drift.json`, whose URI is `drift`, with all `measures`. Without a profile
        the ratings count as drifted. `reasons` says what has drifted, or what has not.

    Raises
    ------
    ObjectsError
        If the profile or an index table is missing, or it is no profile.
    """
    preprocessed: Preprocessed = inputs["preprocessed"]
    objects = Objects()
    measures: dict[str, dict[str, float]] = {}
    if inputs["profile"] is None:
        reasons, drifted = ["no model is in service whose ratings these could be like"], True
    else:
        with tempfile.TemporaryDirectory(prefix="matinee-drift-") as scratch:
            then = _read_profile(objects, inputs["profile"])
            now = _profile(objects, preprocessed, Path(scratch))
            measures = _measures(settings, objects, then, now, Path(scratch))
        reasons = [
            f"{name} is {measure['value']:.3f}, more than {measure['threshold']:g}"
            for name, measure in measures.items()
            if measure["value"] > measure["threshold"]
        ]
        drifted = bool(reasons)
        reasons = reasons or [f"the ratings are like those of run {then['run']}"]
    uri = f"{settings.folder(preprocessed['run'])}/drift.json"
    found: Drift = {
        "run": preprocessed["run"],
        "drifted": drifted,
        "reasons": reasons,
        "drift": uri,
    }
    objects.write_json({**found, "profile": inputs["profile"], "measures": measures}, uri)
    logger.info("%s: %s", "drifted" if drifted else "not drifted", "; ".join(reasons))
    return found


def profile_in_service(objects: Objects, sagemaker: Any, endpoint: str) -> str | None:
    """Return the URI of the profile of the run whose model an endpoint serves.

    None where nothing is in service, or the run has no profile.

    Raises
    ------
    ObjectsError
        If the endpoint serves what is not of a run.
    """
    run = in_service(objects, sagemaker, endpoint)
    if run is None:
        return None
    uri = f"{run.summary['settings']['output']}/{run.name}/profile.json"
    return uri if objects.exists(uri) else None


def is_due(settings: Settings, preprocessed: Preprocessed) -> bool:
    """Write the profile of a run's ratings and say whether they are to be trained on.

    Parameters
    ----------
    settings : Settings
    preprocessed : Preprocessed

    Raises
    ------
    ObjectsError, PublishError
        As of `write_profile`, `profile_in_service` and `detect_drift`.
    """
    write_profile(settings, {"preprocessed": preprocessed})
    if settings.retrain == "always":
        return True
    profile = profile_in_service(Objects(), boto3.client("sagemaker"), settings.endpoint)
    return detect_drift(settings, {"preprocessed": preprocessed, "profile": profile})["drifted"]


def population_stability_index(now: ArrayLike, then: ArrayLike) -> float:
    """Return the index of two histograms of the same bins, shape (bins,).

    Half a count is added to every bin, so that an empty one is no infinity.
    """
    shares = [
        (counts := np.asarray(given, np.float64) + 0.5) / counts.sum() for given in (now, then)
    ]
    return float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))


def _index(now: Sequence[int], then: Sequence[int], threshold: float) -> tuple[float, float]:
    """Return the index of two histograms, and the threshold: or what chance gives, if more."""
    from scipy.special import chdtri

    chance = float(chdtri(len(now) - 1, _SIGNIFICANCE)) * (1 / sum(now) + 1 / sum(then))
    return population_stability_index(now, then), max(threshold, chance)


def _measures(
    settings: Settings, objects: Objects, then: Profile, now: Profile, scratch: Path
) -> dict[str, dict[str, float]]:
    psi, unknown = settings.drift_psi, settings.drift_unknown_fraction
    found = {
        "stability index of the stars": _index(now["stars"], then["stars"], psi),
        "shift of the mean of the stars": (
            abs(now["mean_stars"] - then["mean_stars"]),
            settings.drift_mean_shift,
        ),
    }
    for entity, noun in (("customer", "activity of customers"), ("video", "popularity of videos")):
        index = _index(now["activity"][entity], then["activity"][entity], psi)
        found[f"stability index of the {noun}"] = index
    tables: Sequence[tuple[str, str, str]] = (
        ("customer", now["customers"], then["customers"]),
        ("video", now["videos"], then["videos"]),
    )
    for entity, new, old in tables:
        known = _table(objects, old, [entity], scratch)[entity]
        table = _table(objects, new, [entity, "ratings"], scratch)
        strange = table.filter(pc.invert(pc.is_in(table[entity], value_set=known.combine_chunks())))
        total, theirs = (pc.sum(each["ratings"]).as_py() or 0 for each in (table, strange))
        found[f"share of ratings of unknown {entity}s"] = theirs / total, unknown
    return {
        name: {"value": value, "threshold": float(threshold)}
        for name, (value, threshold) in found.items()
    }


def _profile(objects: Objects, preprocessed: Preprocessed, scratch: Path) -> Profile:
    histogram: Mapping[str, int] = objects.read_json(preprocessed["report"])["stars"]
    stars = np.array([float(value) for value in histogram])
    counts = np.array([*histogram.values()], np.int64)
    activity = {}
    for entity in _ENTITIES:
        uri = preprocessed["customers"] if entity == "customer" else preprocessed["videos"]
        ratings = _table(objects, uri, ["ratings"], scratch)["ratings"].to_numpy()
        activity[entity] = _histogram(ratings / ratings.mean(), ACTIVITY_BOUNDS)
    return {
        "run": preprocessed["run"],
        "ratings": int(counts.sum()),
        "mean_stars": float(stars @ counts / counts.sum()),
        "stars": _histogram(stars, STAR_BOUNDS, counts),
        "activity": activity,
        "customers": preprocessed["customers"],
        "videos": preprocessed["videos"],
    }


def _histogram(
    values: ArrayLike, bounds: Sequence[float], counts: ArrayLike | None = None
) -> list[int]:
    bins = np.digitize(np.asarray(values, np.float64), bounds)
    found: list[int] = (
        np.bincount(bins, weights=counts, minlength=len(bounds) + 1).astype(np.int64).tolist()
    )
    return found


def _read_profile(objects: Objects, uri: str) -> Profile:
    profile: Profile = objects.read_json(uri)
    missing = Profile.__required_keys__ - set(profile) if isinstance(profile, dict) else {"all"}
    if missing:
        raise ObjectsError(f"{uri} is no profile of ratings: it lacks {', '.join(sorted(missing))}")
    return profile


def _table(objects: Objects, uri: str, columns: Sequence[str], scratch: Path) -> pa.Table:
    path = scratch / "table.parquet"
    objects.download(uri, path)
    return pq.read_table(path, columns=list(columns))
