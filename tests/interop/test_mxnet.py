"""Artifacts go to MXNet 1.9.1 and come back: `make interop`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm import MatineeFM, artifact
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.matinee_hyperparameters import Solver
from matinee.fm.model import Model

PROGRAM = Path(__file__).with_name("in_mxnet.py")
KINDS: tuple[PredictorType, ...] = ("regressor", "binary_classifier")

MxNet = Callable[..., None]


@pytest.fixture(scope="module")
def mxnet(mxnet_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MxNet]:
    """Have a process of MXNet's do what the words say."""
    log = tmp_path_factory.mktemp("mxnet") / "errors.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603 - our own program
            [mxnet_python, PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def run(*words: str | Path) -> None:
            asked.write(json.dumps([str(word) for word in words]) + "\n")
            asked.flush()
            assert answers.readline() == "done\n", log.read_text()

        yield run
        process.communicate()


def model(kind: PredictorType) -> Model:
    rng = np.random.default_rng(1)
    linear, factors = (rng.standard_normal(shape, dtype=np.float32) for shape in (6, (6, 3)))
    return Model(0.5, linear, factors, kind)


def records() -> scipy.sparse.csr_matrix:
    """Pairs, real values, many features, none."""
    rows = [[1, 0, 0, 1, 0, 0], [0, -2.5, 0, 0, 0.25, 0], [1, 2, 3, 4, 5, 6], [0] * 6]
    return scipy.sparse.csr_matrix(np.array(rows, dtype=np.float32))


def scored_by(mxnet: MxNet, file: Path, folder: Path) -> NDArray[np.float32]:
    given = records()
    np.savez(
        folder / "records.npz",
        values=given.data,
        keys=given.indices.astype(np.int64),
        starts=given.indptr.astype(np.int64),
        shape=given.shape,
    )
    mxnet("score", file, folder / "records.npz", folder / "scores.npy")
    scores: NDArray[np.float32] = np.load(folder / "scores.npy")
    return scores


@pytest.mark.parametrize("kind", KINDS)
def test_mxnet_scores_as_matinee_does(kind: PredictorType, mxnet: MxNet, tmp_path: Path) -> None:
    artifact.write(model(kind), tmp_path / "model_algo-1")

    scores = scored_by(mxnet, tmp_path / "model_algo-1", tmp_path)

    np.testing.assert_allclose(scores, model(kind).predict(records()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", get_args(Solver))
def test_what_any_solver_learned_is_scored_alike(
    solver: Solver, kind: PredictorType, mxnet: MxNet, tmp_path: Path
) -> None:
    burn_in = 1 if solver == "mcmc" else None
    machine = MatineeFM(2, kind, solver=solver, epochs=3, burn_in=burn_in, random_state=1)
    machine.fit(records() * np.float32(0.1), [1, 0, 1, 0])

    machine.save(tmp_path / "model_algo-1")

    scores = scored_by(mxnet, tmp_path / "model_algo-1", tmp_path)
    np.testing.assert_allclose(scores, machine.predict(records()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_matinee_reads_what_mxnet_saves(kind: PredictorType, mxnet: MxNet, tmp_path: Path) -> None:
    written = model(kind)
    artifact.write(written, tmp_path / "model_algo-1")

    mxnet("save", tmp_path / "model_algo-1", tmp_path / "copy")

    found = artifact.read(tmp_path / "copy")
    assert (found.bias, found.predictor_type) == (written.bias, written.predictor_type)
    np.testing.assert_array_equal(found.linear, written.linear)
    np.testing.assert_array_equal(found.factors, written.factors)
