"""Ensembles over a real S3 server: one model that answers as its members do on average."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import random as random_matrix

from matinee.fm import FactorizationMachine, artifact
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model
from matinee.workflow.ensemble import average_models
from matinee.workflow.errors import EvaluationError, ObjectsError
from matinee.workflow.objects import Objects

Put = Callable[[str, bytes | str], str]
PutModel = Callable[..., str]
WIDTH = 30


def machine(
    seed: int, factors: int = 4, width: int = WIDTH, kind: PredictorType = "regressor"
) -> Model:
    rng = np.random.default_rng(seed)
    return Model(
        float(np.float32(rng.normal())),
        rng.normal(size=width).astype(np.float32),
        rng.normal(size=(width, factors)).astype(np.float32),
        kind,
    )


@pytest.fixture
def put_model(put: Put, tmp_path: Path) -> PutModel:
    def put_one(key: str, model: Model) -> str:
        path = tmp_path / artifact.MEMBER
        artifact.write(model, path)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(path, arcname=path.name)
        return put(key, archive.getvalue())

    return put_one


def test_an_ensemble_answers_the_mean_of_its_members(
    put_model: PutModel, bucket: str, tmp_path: Path
) -> None:
    # Of different numbers of factors, as trials of a tuning job are.
    members = [machine(seed, factors) for seed, factors in enumerate([4, 8, 3])]
    uris = [put_model(f"{number}/model.tar.gz", model) for number, model in enumerate(members)]
    target = f"s3://{bucket}/ensemble/model.tar.gz"
    assert average_models(uris, target) == {"model": target, "num_factors": 15}
    first = Objects().read(target)
    Objects().download(target, tmp_path / "model.tar.gz")
    ensemble = FactorizationMachine.load(tmp_path / "model.tar.gz")
    rows = random_matrix(50, WIDTH, 0.2, "csr", np.float32, random_state=1)
    mean = np.mean([member.predict(rows).astype(np.float64) for member in members], axis=0)
    np.testing.assert_allclose(ensemble.predict(rows), mean, rtol=1e-5, atol=1e-5)
    average_models(uris, target)
    assert Objects().read(target) == first


def test_an_ensemble_of_one_is_that_one(put_model: PutModel, bucket: str, tmp_path: Path) -> None:
    target = f"s3://{bucket}/ensemble/model.tar.gz"
    average_models([put_model("model.tar.gz", machine(1))], target)
    Objects().download(target, tmp_path / "model.tar.gz")
    found = artifact.read(tmp_path / "model.tar.gz")
    assert (found.factors == machine(1).factors).all()
    assert found.bias == machine(1).bias


def test_models_of_other_widths_are_refused(put_model: PutModel, bucket: str) -> None:
    uris = [put_model("a", machine(1)), put_model("b", machine(2, width=31))]
    with pytest.raises(EvaluationError, match="no ensemble: a regressor of 31 features cannot be"):
        average_models(uris, f"s3://{bucket}/ensemble")
    assert Objects().list(f"s3://{bucket}/ensemble") == []


def test_classifiers_are_refused(put_model: PutModel, bucket: str) -> None:
    uri = put_model("a", machine(1, kind="binary_classifier"))
    with pytest.raises(EvaluationError, match="/a is a binary_classifier: only regressors"):
        average_models([uri, uri], f"s3://{bucket}/ensemble")


def test_what_is_no_model_or_missing_is_refused(put: Put, bucket: str) -> None:
    with pytest.raises(EvaluationError, match=r"/text cannot be used: "):
        average_models([put("text", "text")], f"s3://{bucket}/ensemble")
    with pytest.raises(ObjectsError, match=r"cannot read s3://.*/gone"):
        average_models([f"s3://{bucket}/gone"], f"s3://{bucket}/ensemble")
