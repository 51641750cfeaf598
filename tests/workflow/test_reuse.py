"""Steps that an earlier run has done already, over a real S3 server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matinee.workflow import reuse
from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects
from matinee.workflow.parameters import PARAMETERS
from matinee.workflow.preprocess import preprocess
from matinee.workflow.reuse import (
    OF_PREPROCESS,
    OF_TRAINING,
    find,
    prediction_key,
    preprocess_key,
    remember,
    reusing,
    training_key,
)
from matinee.workflow.settings import Settings
from tests.workflow.conftest import as_csv, grid

Put = Callable[[str, bytes | str], str]
IMAGE = "matinee-fm"
REUSE = "matinee.workflow.reuse"


@pytest.fixture
def settings(put: Put, bucket: str) -> Settings:
    ratings = put("ratings/r.csv", as_csv(grid(12, 12)))
    return Settings.from_parameters(
        {"ratings": ratings.rpartition("/")[0], "output": f"s3://{bucket}/runs"}
    )


def changed(settings: Settings, **values: Any) -> Settings:
    return Settings.from_parameters({**settings.to_parameters(), **values})


def run_once(settings: Settings, run: str) -> tuple[dict[str, Any], bool]:
    """Preprocess as a run does that reuses; also whether it had to."""
    made = []

    def make() -> Any:
        made.append(run)
        return preprocess(settings, {"run": run})

    outputs = reusing(settings, run, "preprocess", preprocess_key(settings), make)
    return outputs, bool(made)


def test_a_second_run_takes_what_the_first_has_made(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=REUSE)
    first, made = run_once(settings, "matinee-1")
    assert made
    assert "reused_from" not in first
    second, made = run_once(settings, "matinee-2")
    assert not made
    assert second == {**first, "run": "matinee-2", "reused_from": "matinee-1"}
    assert [record.message for record in caplog.records if record.name == REUSE] == [
        "preprocess: no earlier run did the same",
        "preprocess: reused from run matinee-1, as nothing that decides it has changed",
    ]
    # A third is told who made it, not who reused it.
    assert run_once(settings, "matinee-3")[0]["reused_from"] == "matinee-1"


def test_what_is_gone_or_changed_is_made_again(settings: Settings, put: Put) -> None:
    first, _ = run_once(settings, "matinee-1")
    Objects().delete(first["ratings"]["validate"][0]["uri"])
    _, made = run_once(settings, "matinee-2")
    assert made
    put(f"runs/{'matinee-2'}/preprocess/videos.parquet", b"another")
    third, made = run_once(settings, "matinee-3")
    assert made
    Objects().delete_folder(settings.folder("matinee-3"))
    assert run_once(settings, "matinee-4")[1]
    assert third["run"] == "matinee-3"


def test_other_ratings_settings_or_code_are_another_key(
    settings: Settings, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = preprocess_key(settings)
    assert preprocess_key(changed(settings, epochs=3, output=f"{settings.output}/x")) == key
    keys = {key, preprocess_key(changed(settings, seed=2))}
    keys.add(preprocess_key(changed(settings, features=["history"])))
    put("ratings/more.csv", as_csv([("c1", "v1", "5")]))
    keys.add(preprocess_key(settings))
    put("ratings/more.csv", as_csv([("c1", "v1", "4")]))
    keys.add(preprocess_key(settings))
    monkeypatch.setattr(reuse, "code_digest", lambda: "other code")
    keys.add(preprocess_key(settings))
    assert len(keys) == 6


def test_the_key_of_a_model_is_made_of_what_decides_it(settings: Settings) -> None:
    key = training_key(settings, "p", IMAGE)
    assert training_key(changed(settings, check_interval=9), "p", IMAGE) == key
    others = [
        training_key(settings, "q", IMAGE),
        training_key(settings, "p", "other"),
        training_key(changed(settings, epochs=3), "p", IMAGE),
        training_key(changed(settings, tune=True), "p", IMAGE),
        training_key(changed(settings, configurations=[{"epochs": 2}]), "p", IMAGE),
        prediction_key(key),
    ]
    assert len({key, *others}) == 7


def test_every_parameter_is_one_that_decides_or_one_that_does_not() -> None:
    deciding = {*OF_PREPROCESS, *OF_TRAINING}
    indifferent = {
        "ratings", "output", "recommendations",
        "athena_database", "athena_workgroup", "glue_job", "role", "preset", "image",
        "reuse", "check_interval", "training_volume_gb", "training_max_seconds",
        "transform_instance_type", "retrain", "drift_psi", "drift_unknown_fraction",
        "drift_mean_shift",
        "deferrable", "publish", "approval", "gate_tolerance", "gate_baseline",
        "model_package_group", "endpoint", "endpoint_instance_type", "endpoint_instance_count",
    }  # fmt: skip
    fields = set(Settings.__dataclass_fields__)
    assert deciding <= fields
    assert fields - deciding == indifferent
    assert fields - {"hyperparameters"} <= set(PARAMETERS)


def test_local_files_count_by_their_content(tmp_path: Path, s3: Any, bucket: str) -> None:
    del s3
    path = tmp_path / "r.csv"
    settings = Settings.from_parameters({"ratings": str(path), "output": f"s3://{bucket}/runs"})
    keys = []
    for body in ("a", "b", "a"):
        path.write_text(body)
        keys.append(preprocess_key(settings))
    assert keys[0] == keys[2] != keys[1]


def test_a_record_names_objects_that_are_there(settings: Settings, put: Put, bucket: str) -> None:
    with pytest.raises(ObjectsError, match="there is no object"):
        remember(settings, "matinee-1", "train", "k", {"model": f"{settings.output}/gone"})
    assert find(settings, "matinee-2", "train", "k") is None
    # What lies elsewhere is nobody's business here.
    outputs = {
        "model": put("runs/m/model.tar.gz", b"model"),
        "other": f"s3://{bucket}/x",
        "rmse": 1,
    }
    remember(settings, "matinee-1", "train", "k", outputs)
    assert find(settings, "matinee-2", "train", "k") == {"run": "matinee-1", "outputs": outputs}


def test_reuse_can_be_turned_off(settings: Settings) -> None:
    run_once(settings, "matinee-1")
    off = changed(settings, reuse=False)
    assert run_once(off, "matinee-2")[1]
    assert Objects().list(f"{settings.output}/steps/preprocess") == [
        f"{settings.output}/steps/preprocess/{preprocess_key(settings)}.json"
    ]
