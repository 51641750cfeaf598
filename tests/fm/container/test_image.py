"""The image of the Dockerfile, without Docker: built in a folder, and used as SageMaker does.

Building needs a package index and, the first time, a compiler's minute, so it happens where
MATINEE_IMAGE names a folder (`make image`). `image` says what of the image is not real.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy
import pytest

from matinee.fm import artifact
from matinee.recordio import encode
from tests.fm.container.image import DOCKERFILE, ROOT, Image, ImageJob, stages
from tests.fm.container.processes import (
    DEADLINE_SECONDS,
    answering,
    ratings,
    stars,
)

REQUIRED = {"feature_dim": "6", "predictor_type": "regressor", "epochs": "4", "seed": "3"}
STOPPED = 128 + signal.SIGTERM


@pytest.fixture(scope="module")
def image() -> Image:
    folder = os.environ.get("MATINEE_IMAGE")
    if not folder:
        pytest.skip("MATINEE_IMAGE names no folder; `make image` does")
    image = Image(Path(folder).resolve())
    image.build()
    return image


def job(image: Image, base: Path, **hyperparameters: str) -> ImageJob:
    made = ImageJob(base, {**REQUIRED, **hyperparameters})
    made.environment = {}
    made.image = image
    return made


@contextmanager
def serving(image: Image, base: Path, words: Sequence[str]) -> Iterator[httpx.Client]:
    with answering(lambda bound: image.start(words, base, bound)) as (client, logs):
        yield client
    assert "Compiling" not in logs[0]


def as_sagemaker_does(trained: Path, folder: Path) -> Path:
    """Pack what a job has left in its model folder; return an /opt/ml with it unpacked."""
    archive = folder / "model.tar.gz"
    folder.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(trained.iterdir()):
            tar.add(path, path.name)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "model", filter="data")
    return folder


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(  # noqa: S603 - our own program and words
        [hadolint, DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_stage_stands_on_one_image_named_by_its_digest() -> None:
    bases = [stage[0].rest.partition(" AS ")[0] for stage in stages(DOCKERFILE.read_text())]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases[0])


def test_what_is_compiled_is_what_is_loaded() -> None:
    first, last = (
        {
            name: value
            for instruction in stage
            if instruction.word == "ENV"
            for name, value in instruction.pairs().items()
            if name.startswith(("MATINEE_", "NUMBA_"))
        }
        for stage in stages(DOCKERFILE.read_text())
    )
    assert first == last


def test_uv_is_that_of_the_makefile() -> None:
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M)
    assert f"uv=={version} --hash=sha256:" in DOCKERFILE.read_text()


def test_the_build_is_sent_what_it_reads_and_no_more() -> None:
    read = {
        source
        for instruction in stages(DOCKERFILE.read_text())[0]
        if instruction.word == "COPY"
        for source in instruction.rest.split()[:-1]
    }
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in sent if line.startswith("!")} == read
    assert all((ROOT / source).exists() for source in read)


def test_the_last_stage_takes_nothing_from_the_repository() -> None:
    copies = [each.rest for each in stages(DOCKERFILE.read_text())[1] if each.word == "COPY"]
    assert copies == ["--from=build /opt/matinee /opt/matinee"]


def test_every_package_has_a_wheel_for_the_image(tmp_path: Path) -> None:
    text = DOCKERFILE.read_text()
    (python,) = set(re.findall(r"^FROM python:(3\.\d+)", text, re.M))
    (export,) = re.findall(r"uv (export .*) --output-file", text)
    uv, locked = ROOT / ".uv/bin/uv", tmp_path / "locked.txt"
    for words in (
        [*shlex.split(export), "--output-file", str(locked)],
        ["pip", "install", "--dry-run", "--require-hashes", "--only-binary", ":all:",
         "--target", str(tmp_path / "none"), "--python-version", python,
         "--python-platform", "x86_64-manylinux_2_28", "--requirement", str(locked)],
    ):  # fmt: skip
        done = subprocess.run(  # noqa: S603 - our own program and words
            [uv, *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "numba" in done.stderr


@pytest.mark.parametrize("solver", ["adam", "sgd", "mcmc"])
def test_a_job_s_model_is_served_as_the_library_scores_it(
    image: Image, tmp_path: Path, solver: str
) -> None:
    trained = job(image, tmp_path / "job", solver=solver, num_factors="2")
    trained.add("validation", {"part": encode(ratings(6), stars(6) % 2)})
    log = trained.train()
    assert "#quality_metric: host=algo-1, validation rmse <loss>=" in log
    assert "Compiling" not in log
    assert [path.name for path in trained.model.parent.iterdir()] == ["model_algo-1"]

    hosted = as_sagemaker_does(trained.model.parent, tmp_path / "hosted")
    with serving(image, hosted, ["serve"]) as client:
        answer = client.post(
            "/invocations",
            content=encode(ratings(5)),
            headers={"Content-Type": "application/x-recordio-protobuf"},
        ).raise_for_status()
    scores = [prediction["score"] for prediction in answer.json()["predictions"]]
    expected = artifact.read(trained.model).predict(ratings(5))
    # The image's kernels are another processor's than this one's.
    numpy.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert len(set(scores)) > 1


def test_the_same_seed_gives_the_same_bytes(image: Image, tmp_path: Path) -> None:
    first, second = (job(image, tmp_path / name, solver="mcmc") for name in "ab")
    first.train()
    second.train()
    assert first.model.read_bytes() == second.model.read_bytes()


def test_without_a_word_the_image_serves(image: Image, tmp_path: Path) -> None:
    trained = job(image, tmp_path / "job", solver="adam", num_factors="2")
    trained.train()
    with serving(image, trained.base, []) as client:
        assert client.get("/ping").status_code == 200


def test_a_failed_job_says_why_and_ends_with_1(image: Image, tmp_path: Path) -> None:
    failed = job(image, tmp_path, solver="als")
    status, _ = failed.run()
    assert status == 1
    assert failed.failure.read_text().startswith("ClientError: ")
    assert "'als' is not valid for 'solver'" in failed.failure.read_text()
    assert not failed.model.exists()


def test_a_job_that_is_stopped_stops_at_once_and_leaves_no_model(
    image: Image, tmp_path: Path
) -> None:
    endless = job(image, tmp_path, solver="adam", num_factors="2", epochs="1000000")
    with endless.start() as process:
        assert process.stdout is not None
        # Its lines arrive while it trains.
        assert any("#progress_metric" in line for line in process.stdout)
        process.terminate()
        process.communicate(timeout=DEADLINE_SECONDS)
    # Its own exit status: the signal has reached it, not a shell around it.
    assert process.returncode == STOPPED
    assert not endless.model.exists()


def test_other_words_are_refused(image: Image, tmp_path: Path) -> None:
    with image.start(["train", "more"], tmp_path, {}) as process:
        said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 2
    assert said.startswith("usage: ")


def test_every_step_of_the_workflow_is_in_the_image(image: Image, tmp_path: Path) -> None:
    program = """
import importlib, pkgutil, sys, matinee.workflow as workflow
for module in pkgutil.walk_packages(workflow.__path__, "matinee.workflow."):
    if "spark" not in module.name:
        importlib.import_module(module.name)
        print(module.name)
print(sys.prefix)
"""
    with image.start(["python", "-c", program], tmp_path, {}) as process:
        said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, said
    assert "matinee.workflow.preprocess" in said.split()
    assert said.split()[-1] == str(image.root / "matinee")
