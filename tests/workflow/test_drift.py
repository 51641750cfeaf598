"""Drift between ratings that the real step preprocessed, over a real S3 server."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from matinee.workflow.drift import detect_drift, population_stability_index, write_profile
from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.workflow.conftest import Rating, as_csv, grid

Put = Callable[[str, bytes | str], str]
Detect = Callable[..., dict[str, Any]]
RATINGS = grid(100, 20)


@pytest.fixture
def detect(put: Put, bucket: str) -> Detect:
    """Preprocess ratings then and now; return what drift is found."""

    def run(
        now: Sequence[Rating], then: Sequence[Rating] = RATINGS, **values: Any
    ) -> dict[str, Any]:
        outputs = {}
        for name, ratings in (("then", then), ("now", now)):
            settings = Settings.from_parameters(
                {
                    "ratings": put(f"{name}.csv", as_csv(ratings)),
                    "output": f"s3://{bucket}/runs",
                    "min_ratings_per_customer": 1,
                    "min_ratings_per_video": 1,
                    **values,
                }
            )
            outputs[name] = preprocess(settings, {"run": f"matinee-{name}"})
        profile = write_profile(settings, {"preprocessed": outputs["then"]})["profile"]
        assert profile == f"s3://{bucket}/runs/matinee-then/profile.json"
        inputs = {"preprocessed": outputs["now"], "profile": profile}
        return dict(detect_drift(settings, inputs))

    return run


def test_the_same_ratings_have_not_drifted(detect: Detect) -> None:
    found = detect(RATINGS)
    assert not found["drifted"]
    assert found["reasons"] == ["the ratings are like those of run matinee-then"]
    written = Objects().read_json(found["drift"])
    assert {name: written[name] for name in found} == found
    assert [measure["value"] for measure in written["measures"].values()] == [0.0] * 6


def test_a_sample_of_the_same_ratings_has_not_drifted(detect: Detect) -> None:
    found = detect([rating for place, rating in enumerate(RATINGS) if place % 3])
    assert not found["drifted"], found["reasons"]


def test_worse_stars_are_drift(detect: Detect) -> None:
    found = detect([(*ids, str(max(1, int(stars) - 2))) for *ids, stars in RATINGS])
    assert found["drifted"]
    assert [reason.partition(" is ")[0] for reason in found["reasons"]] == [
        "stability index of the stars",
        "shift of the mean of the stars",
    ]
    # 1 to 5 once each were 3 on average, and are 1, 1, 1, 2 and 3 now.
    assert found["reasons"][1].endswith(" is 1.400, more than 0.25")


def test_strangers_are_drift(detect: Detect) -> None:
    others = [(f"new {customer}", *rest) for customer, *rest in grid(34, 20)]
    found = detect([*RATINGS, *others])
    assert found["reasons"] == ["share of ratings of unknown customers is 0.254, more than 0.2"]
    assert not detect([*RATINGS, *others], drift_unknown_fraction=0.3)["drifted"]


def test_another_activity_is_drift(detect: Detect) -> None:
    # Half of the customers rate nearly nothing any more.
    found = detect([r for r in RATINGS if int(r[0][1:]) % 2 or r[1] in ("v0", "v1")])
    assert any("activity of customers" in reason for reason in found["reasons"])


def test_without_a_model_in_service_all_is_new(put: Put, bucket: str) -> None:
    settings = Settings.from_parameters(
        {"ratings": put("r.csv", as_csv(RATINGS)), "output": f"s3://{bucket}/runs"}
    )
    preprocessed = preprocess(settings, {"run": "matinee-first"})
    found = detect_drift(settings, {"preprocessed": preprocessed, "profile": None})
    assert (found["drifted"], found["reasons"]) == (
        True,
        ["no model is in service whose ratings these could be like"],
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [('{"run": "x"}', "lacks activity, customers, mean_stars"), ("[]", "lacks all")],
)
def test_what_is_no_profile_is_refused(put: Put, bucket: str, document: str, message: str) -> None:
    settings = Settings.from_parameters(
        {"ratings": put("r.csv", as_csv(RATINGS)), "output": f"s3://{bucket}/runs"}
    )
    inputs = {
        "preprocessed": preprocess(settings, {"run": "matinee-1"}),
        "profile": put("profile.json", document),
    }
    with pytest.raises(ObjectsError, match=f"profile.json is no profile of ratings: it {message}"):
        detect_drift(settings, inputs)


def test_the_population_stability_index_is_as_published() -> None:
    # Shares of 0.1, 0.9 against 0.5, 0.5, but for the half counts.
    expected = (0.1 - 0.5) * math.log(0.1 / 0.5) + (0.9 - 0.5) * math.log(0.9 / 0.5)
    found = population_stability_index([100_000, 900_000], [500_000, 500_000])
    assert found == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(population_stability_index([0, 10], [10, 0]))
    assert population_stability_index([3, 7], [3, 7]) == 0


def test_of_few_more_is_asked(detect: Detect) -> None:
    # A population of thirteen is a sample that says little.
    few = [rating for rating in RATINGS if int(rating[0][1:]) < 13]
    found = detect(few[: 13 * 20 // 2], few, drift_unknown_fraction=1)
    measures = Objects().read_json(found["drift"])["measures"]
    assert measures["stability index of the activity of customers"]["threshold"] > 1
    assert measures["stability index of the stars"]["threshold"] == 0.25
