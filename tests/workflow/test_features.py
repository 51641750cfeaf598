"""The feature space of a run, made by the real steps over a real S3 server."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from matinee import recordio
from matinee.fm import artifact
from matinee.fm.model import Model
from matinee.workflow import feature_tables
from matinee.workflow.errors import RatingsError
from matinee.workflow.features import (
    FeatureSpace,
    coded_times,
    open_space,
    pair_blocks,
    read_blocks,
    sets_of,
    values_of,
)
from matinee.workflow.objects import Objects
from matinee.workflow.parts import SPLITS, Preprocessed
from matinee.workflow.prepare import prepare
from matinee.workflow.preprocess import preprocess
from matinee.workflow.recommend import recommend
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv

Put = Callable[[str, bytes | str], str]
Step = Callable[..., tuple[Settings, Preprocessed]]

HEADER = "user_id,item_id,rating,timestamp,genre,age,vine"
GENRES = ["Comedy|Drama", "Drama", "", " Comedy | Comedy ", "Western"]
MONTH_S = 31 * 86_400
RATINGS = [
    (
        f"c{customer}",
        f"v{video}",
        str(1 + (customer + video) % 5),
        str((customer + video) % 3 * MONTH_S) if customer else "",
        GENRES[video % 5],
        str(20 + customer % 2),
        "Y" if video % 2 else "N",
    )
    for customer in range(12)
    for video in range(10)
    if (customer + 3 * video) % 4
]


@pytest.fixture
def step(put: Put, bucket: str) -> Step:
    """Preprocess the ratings with features; the settings come too."""
    uri = put("r.csv", as_csv(RATINGS, HEADER))

    def run(*features: str, part_rows: int = 20, **values: Any) -> tuple[Settings, Preprocessed]:
        settings = Settings.from_parameters(
            {
                "ratings": uri,
                "output": f"s3://{bucket}/runs",
                "features": list(features),
                "min_ratings_per_customer": 1,
                "min_ratings_per_video": 1,
                **values,
            }
        )
        return settings, preprocess(settings, {"run": "matinee-1"}, part_rows=part_rows)

    return run


def rows_of(preprocessed: Preprocessed, split: str, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for part in preprocessed["ratings"][split]:
        Objects().download(part["uri"], folder / "part")
        rows += pq.read_table(folder / "part").to_pylist()
    return rows


def records_of(settings: Settings, preprocessed: Preprocessed, split: str) -> Any:
    """Return the split as the prepare step encodes it: a dense matrix, and stars."""
    prepared: Any = prepare(settings, dict(preprocessed))
    body = b"".join(Objects().read(uri) for uri in Objects().list(prepared[split]))
    records = recordio.decode(body)
    assert isinstance(records.features, csr_matrix)
    assert records.features.shape[1] == prepared["feature_dim"] == sum(prepared["field_dims"])
    return records.features.toarray(), records.labels


def block(space: FeatureSpace, name: str) -> slice:
    found = {block["name"]: block for block in space.blocks}[name]
    return slice(found["offset"], found["offset"] + found["width"])


def vocabulary(preprocessed: Preprocessed, name: str) -> list[tuple[int, str | None, int]]:
    [file] = [
        block["values"] for block in read_blocks(preprocessed, Objects()) if block["name"] == name
    ]
    table = pq.read_table(io.BytesIO(Objects().read(f"{preprocessed['features']}/{file}")))
    return [(row["index"], row["value"], row["ratings"]) for row in table.to_pylist()]


ALL = ("history", "raters", "month", "video:genre", "customer:age", "rating:vine")


def test_a_record_says_what_is_known_of_its_rating(step: Step, tmp_path: Path) -> None:
    settings, preprocessed = step(*ALL)
    train = rows_of(preprocessed, "train", tmp_path)
    with open_space(preprocessed) as space:
        names = [block["name"] for block in space.blocks]
        assert names == ["customer", "video", *ALL]
        assert space.field_dims[:4] == [12, 10, 10, 12]
        for split in SPLITS:
            features, labels = records_of(settings, preprocessed, split)
            rows = rows_of(preprocessed, split, tmp_path)
            assert labels.tolist() == [row["stars"] for row in rows]
            for record, row in zip(features, rows, strict=True):
                own = {name: record[block(space, name)] for name in names}
                assert np.flatnonzero(own["customer"]).tolist() == [row["customer"]]
                assert np.flatnonzero(own["video"]).tolist() == [row["video"]]
                # Training ratings alone, whatever the split; of the row's own if it is one of them.
                for name, of, member in (
                    ("history", "customer", "video"),
                    ("raters", "video", "customer"),
                ):
                    theirs = sorted(rated[member] for rated in train if rated[of] == row[of])
                    assert np.flatnonzero(own[name]).tolist() == theirs
                    assert own[name][theirs] == pytest.approx(len(theirs) ** -0.5)
                texts = {
                    "month": ""
                    if row["time"] is None
                    else f"1970-0{1 + int(row['time'] / MONTH_S)}",
                    "video:genre": row["genre"],
                    "customer:age": row["age"],
                    "rating:vine": row["vine"],
                }
                for name, text in texts.items():
                    values: set[str | None] = set(values_of(text)) or {None}
                    places = [
                        place
                        for place, value, _ in vocabulary(preprocessed, name)
                        if value in values
                    ]
                    assert np.flatnonzero(own[name]).tolist() == places
                    assert own[name][places] == pytest.approx(len(places) ** -0.5)


def test_vocabularies_are_of_training_ratings_the_most_frequent_first(
    step: Step, tmp_path: Path
) -> None:
    _, preprocessed = step("video:genre", "month")
    train = rows_of(preprocessed, "train", tmp_path)
    for name, texts in (
        ("video:genre", [row["genre"] for row in train]),
        ("month", ["" if row["time"] is None else str(row["time"]) for row in train]),
    ):
        found = vocabulary(preprocessed, name)
        assert [place for place, _, _ in found] == list(range(len(found)))
        assert found[0] == (0, None, sum(not values_of(text) for text in texts))
        ratings = [count for _, _, count in found[1:]]
        assert ratings == sorted(ratings, reverse=True)
    genres = {value: count for _, value, count in vocabulary(preprocessed, "video:genre")}
    assert genres["Comedy"] == sum("Comedy" in row["genre"] for row in train)


def test_serving_encodes_as_training_did(step: Step, tmp_path: Path) -> None:
    settings, preprocessed = step(*ALL)
    features, _ = records_of(settings, preprocessed, "test")
    rows = rows_of(preprocessed, "test", tmp_path)
    customers = [row["customer"] for row in rows]
    videos = [row["video"] for row in rows]
    with open_space(preprocessed) as space:
        known: dict[str, Any] = {
            "times": [np.nan if row["time"] is None else row["time"] for row in rows],
            "values": {"vine": [row["vine"] for row in rows]},
        }
        encoded = space.encode(customers, videos, **known)
        assert (encoded.toarray() == features).all()
        assert encoded.has_sorted_indices
        # The two sides share no column, and are the whole together.
        asking, offered = space.encode(customers, **known), space.encode(videos=videos)
        assert not set(asking.indices) & set(offered.indices)
        assert ((asking + offered).toarray() == features).all()
        # Nothing is known of a rating that is not made yet.
        bare = space.encode(customers, videos).toarray()
        for name in ("month", "rating:vine"):
            assert (
                bare[:, block(space, name)]
                == [1] + [0] * (bare[:, block(space, name)].shape[1] - 1)
            ).all()
        stranger = space.encode([-1], [0]).toarray()[0]
        assert not stranger[block(space, "customer")].any()
        assert not stranger[block(space, "history")].any()
        assert stranger[block(space, "video")].tolist() == [1] + [0] * 9


def test_recommendations_are_what_the_model_says_of_the_encoded_pair(
    step: Step, put: Put, tmp_path: Path
) -> None:
    _, preprocessed = step(*ALL)
    videos = pq.read_table(io.BytesIO(Objects().read(preprocessed["videos"])))["video"].to_pylist()
    table = pq.read_table(io.BytesIO(Objects().read(preprocessed["customers"])))
    customer = table["customer"].to_pylist().index("c5")
    rng = np.random.default_rng(1)
    with open_space(preprocessed) as space:
        linear = rng.normal(size=space.width).astype(np.float32)
        factors = rng.normal(size=(space.width, 3)).astype(np.float32)
        model = Model(3.0, linear, factors, "regressor")
        artifact.write(model, tmp_path / "model")
        uri = put("model", (tmp_path / "model").read_bytes())
        found = recommend(preprocessed, uri, customer="c5", seed=1)
        chosen = [videos.index(item["video"]) for item in found["items"]]
        expected = model.predict(space.encode([customer] * len(chosen), chosen))
    assert len(chosen) == 10 - found["rated"] > 1
    stars = [item["stars"] for item in found["items"]]
    np.testing.assert_allclose(stars, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("customers", "videos", "message"),
    [
        ([12], [0], "customer 12 is none of the run's: they are 0 to 11"),
        ([0], [-2], "video -2 is none of the run's"),
        ([0, 1], [0], r"as many of either: there are \[2, 1\]"),
        (None, None, r"there are \[\]"),
        ([0.5], [0], "must be integers"),
    ],
)
def test_what_a_run_does_not_know_is_refused(customers: Any, videos: Any, message: str) -> None:
    space = FeatureSpace(pair_blocks(12, 10))
    with pytest.raises(RatingsError, match=message):
        space.encode(customers, videos)


def test_a_pair_without_features_is_two_ones() -> None:
    space = FeatureSpace(pair_blocks(2, 3))
    assert space.width == 5
    assert space.encode([0, 1], [2, 0]).toarray().tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]


def test_where_parts_are_cut_changes_no_byte(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    def bytes_of(part_rows: int) -> dict[str, bytes]:
        settings, preprocessed = step(*ALL, part_rows=part_rows)
        prepared: Any = prepare(settings, dict(preprocessed))
        found = {uri: Objects().read(uri) for uri in Objects().list(preprocessed["features"])}
        return found | {
            split: b"".join(Objects().read(uri) for uri in Objects().list(prepared[split]))
            for split in SPLITS
        }

    whole = bytes_of(1000)
    monkeypatch.setattr(feature_tables, "_SORTED_AT_A_TIME", 3)
    monkeypatch.setattr("matinee.workflow.prepare._BLOCK_VALUES", 50)
    assert bytes_of(7) == whole


def test_a_columns_texts_are_kept_though_side_columns_do_not_name_it(step: Step) -> None:
    settings, _ = step("video:genre", "customer:age", side_columns=["age"])
    assert settings.side_columns == ["age", "genre"]
    assert Settings.from_parameters(settings.to_parameters()) == settings


def test_a_column_may_be_called_anything(step: Step, put: Put) -> None:
    uri = put(
        "r2.csv", as_csv(RATINGS, HEADER.replace("genre", "ratings").replace("vine", "a/b:c"))
    )
    _, preprocessed = step("video:ratings", "rating:a/b:c", ratings=uri)
    names = [value for _, value, _ in vocabulary(preprocessed, "video:ratings")]
    assert set(names) == {None, "Comedy", "Drama", "Western"}
    assert {value for _, value, _ in vocabulary(preprocessed, "rating:a/b:c")} == {None, "Y", "N"}


def test_of_several_texts_the_most_frequent_counts(step: Step, put: Put) -> None:
    rows = [
        (f"c{customer}", "v0", "3", "0", genre, "", "")
        for customer, genre in enumerate(["Drama", "Drama", "Action", "", "", "", ""] * 6)
    ]
    ties = [(*row[:1], "v1", *row[2:4], "ba"[place % 2], "", "") for place, row in enumerate(rows)]
    uri = put("r3.csv", as_csv([*rows, *ties], HEADER))
    _, preprocessed = step("video:genre", ratings=uri)
    with open_space(preprocessed) as space:
        encoded = space.encode(videos=[0, 1]).toarray()[:, block(space, "video:genre")]
    names = [value for _, value, _ in vocabulary(preprocessed, "video:genre")]
    ids = pq.read_table(io.BytesIO(Objects().read(preprocessed["videos"])))["video"].to_pylist()
    chosen = {ids[row]: names[place] for row, place in np.argwhere(encoded).tolist()}
    assert chosen == {"v0": "Drama", "v1": "a"}


def test_a_value_that_no_training_rating_has_is_unknown(step: Step) -> None:
    _, preprocessed = step("rating:vine", "month")
    with open_space(preprocessed) as space:
        encoded = space.encode([0], [0], times=[1e9], values={"vine": ["maybe"]}).toarray()[0]
        for name in ("rating:vine", "month"):
            assert np.flatnonzero(encoded[block(space, name)]).tolist() == [0]


def test_a_feature_that_nothing_is_known_of_is_refused(put: Put, step: Step) -> None:
    uri = put("bare.csv", as_csv([row[:3] for row in RATINGS]))
    with pytest.raises(RatingsError, match=r"'month': no training rating has .* that can be read"):
        step("month", ratings=uri)


def test_a_column_of_too_many_texts_is_refused(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_tables, "MOST_TEXTS", 2)
    with pytest.raises(RatingsError, match="'video:genre': the column has more than 2 distinct"):
        step("video:genre")
    with pytest.raises(RatingsError, match="'rating:genre': the column has more than 2 distinct"):
        step("rating:genre")


def test_times_are_seconds_or_milliseconds() -> None:
    times = np.array([1_440_979_200, 1_440_979_200_000, np.nan, -1, 1e300, -1e300])
    for feature, expected in (("month", "2015-08"), ("day", "2015-08-31")):
        texts, codes = coded_times(times, feature)
        assert [texts[code] for code in codes] == [
            expected,
            expected,
            "",
            {"month": "1969-12", "day": "1969-12-31"}[feature],
            "",
            "",
        ]


def test_sets_of_texts() -> None:
    sets = sets_of(["b|a", "", "c", "a| b |a"], {"a": 1, "b": 2})
    assert sets.bounds.tolist() == [0, 2, 3, 4, 6]
    assert sets.members.tolist() == [1, 2, 0, 0, 1, 2]
    taken = sets.take(np.array([1, -1, 0]))
    assert (taken.bounds.tolist(), taken.members.tolist()) == ([0, 1, 1, 3], [0, 1, 2])
