"""Simulated files: the same text for the same words, and the truth beside them is the truth."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from matinee.datasets.movielens import COLUMNS, DatasetError
from matinee.datasets.simulated.simulation import Simulation
from matinee.workflow.objects import Objects
from matinee.workflow.preprocess import preprocess
from matinee.workflow.settings import Settings
from tests.conftest import ObjectStore, find_by


def ignore(_: int) -> None:
    """Take no notice of progress."""


def text(simulation: Simulation, files: int = 1) -> list[bytes]:
    return [
        simulation.file(number, files, compressed=False, progress=ignore).read()
        for number in range(files)
    ]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(0.01, 1, threads=2)


@pytest.fixture(scope="module")
def lines(simulation: Simulation) -> list[str]:
    [whole] = text(simulation)
    return whole.decode().splitlines()


def test_a_file_is_amazons_tsv(lines: list[str]) -> None:
    header, *rows = lines
    assert header == "\t".join(COLUMNS)
    sound = [dict(zip(COLUMNS, row.split("\t"), strict=True)) for row in rows[:50]]
    for row in sound:
        assert row["marketplace"] == "simulated"
        assert row["product_title"].startswith("Simulated Video ")
        assert row["star_rating"] in "12345"
        assert "2005-01-01" <= row["review_date"] <= "2015-08-31"
        assert int(row["helpful_votes"]) <= int(row["total_votes"])
    reviews = [row.split("\t")[2] for row in rows]
    assert len(set(reviews)) == len(reviews)
    titles = {tuple(row.split("\t")[3:6]) for row in rows if row.count("\t") == 14}
    videos = {video for video, _, _ in titles if video}
    assert len(videos) == len({title for _, _, title in titles})


def test_quotes_are_left_open(lines: list[str]) -> None:
    headlines = [line.split("\t")[12] for line in lines]
    opened = sum(headline.startswith('"') for headline in headlines)
    assert 5 <= opened <= 60
    assert sum(line.count('"') for line in lines) == opened


def test_the_same_words_give_the_same_text_elsewhere(simulation: Simulation) -> None:
    program = (
        "import hashlib; from matinee.datasets.simulated.simulation import Simulation;"
        "made = Simulation(0.01, 1, threads=1);"
        "file = made.file(0, 1, compressed=True, progress=lambda _: None);"
        "print(hashlib.sha256(file.read()).hexdigest())"
    )
    done = subprocess.run(  # noqa: S603 -- our own interpreter and words
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = simulation.file(0, 1, compressed=True, progress=ignore).read()
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_other_words_give_another_text(simulation: Simulation) -> None:
    assert text(Simulation(0.01, 2, threads=1)) != text(simulation)


def test_several_files_are_the_one_cut(simulation: Simulation) -> None:
    [whole] = text(simulation)
    parts = text(simulation, files=3)
    header = whole.partition(b"\n")[0] + b"\n"
    assert all(part.startswith(header) for part in parts)
    assert header + b"".join(part.removeprefix(header) for part in parts) == whole
    assert max(map(len, parts)) < 1.1 * min(map(len, parts))


def test_a_compressed_file_is_one_gzip_member(simulation: Simulation) -> None:
    told: list[int] = []
    packed = simulation.file(0, 1, compressed=True, progress=told.append).read()
    unpacker = zlib.decompressobj(wbits=31)
    [whole] = text(simulation)
    assert unpacker.decompress(packed) == whole
    assert unpacker.eof
    assert not unpacker.unused_data
    assert sum(told) == simulation.rows
    assert packed[4:8] == bytes(4)  # no time


def test_it_is_made_as_it_is_read() -> None:
    told: list[int] = []
    file = Simulation(0.1, 1, threads=1).file(0, 1, compressed=False, progress=told.append)
    assert file.read(1000).startswith(b"marketplace\t")
    assert sum(told) < 100_000


@pytest.fixture
def steps(object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of steps that find the object store; ratings are to be put there."""
    find_by(object_store.environment, monkeypatch)
    return Settings.from_parameters(
        {"ratings": f"s3://{bucket}/ratings.tsv.gz", "output": f"s3://{bucket}/runs"}
    )


def counts(step: dict[str, Any]) -> tuple[int, int, int]:
    return step["ratings"], step["customers"], step["videos"]


def test_preprocessing_finds_the_truth(
    simulation: Simulation, steps: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "ratings.tsv.gz"
    path.write_bytes(simulation.file(0, 1, compressed=True, progress=ignore).read())
    objects = Objects()
    objects.upload(path, steps.ratings)

    report: dict[str, Any] = objects.read_json(preprocess(steps, {"run": "matinee-1"})["report"])

    truth = simulation.truth(ignore)
    assert report["rows"] == truth["rows"]
    assert report["malformed"]["total"] == truth["malformed"]["total"]
    assert report["malformed"]["causes"] == truth["malformed"]["causes"]
    assert [counts(step) for step in report["funnel"]] == [counts(step) for step in truth["funnel"]]


def test_duplicates_are_counted(simulation: Simulation, lines: list[str]) -> None:
    truth = simulation.truth(ignore)
    rows = [line.split("\t") for line in lines[1:]]
    pairs = [
        (row[1], row[3])
        for row in rows
        if len(row) == 15 and row[1] and row[3] and row[7] in ("1", "2", "3", "4", "5")
    ]
    assert len(pairs) - len(set(pairs)) == truth["duplicates"]["all"]
    assert truth["duplicates"]["all"] >= truth["duplicates"]["planted"] > 0
    assert len(pairs) == truth["funnel"][0]["ratings"]


def test_the_truth_does_not_depend_on_threads(simulation: Simulation) -> None:
    assert Simulation(0.01, 1, threads=1).truth(ignore) == simulation.truth(ignore)


@pytest.mark.parametrize(
    ("scale", "seed", "problem"),
    [
        (0.0, 1, "scale 0.0: the least is 0.0001"),
        (float("nan"), 1, "scale nan: the least is"),
        (1.0, -1, "seed -1: the least is 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(scale: float, seed: int, problem: str) -> None:
    with pytest.raises(DatasetError, match=problem):
        Simulation(scale, seed, threads=1)
