"""Channels: records checked against the hyperparameters, shared by jobs with the same files."""

from pathlib import Path

import numpy
import pytest

from matinee.fm.container.inputs import ChannelSource, InputError, read_channel
from matinee.fm.data import SparseRows
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.recordio import encode
from tests.fm.container.processes import CLASSIFIER, REGRESSOR, Job, ratings, stars

TRAIN = ChannelSource("train", is_pipe=False, is_sharded=False)


def hyperparameters(**changes: str) -> MatineeHyperparameters:
    return MatineeHyperparameters.parse({**REGRESSOR, **changes})


def test_a_channel_s_records(tmp_path: Path) -> None:
    Job(tmp_path).add(
        "train", {"b": encode(ratings(1), stars(1)), "a": encode(ratings(2), stars(2))}
    )

    channel = read_channel(tmp_path, TRAIN, hyperparameters())

    assert isinstance(channel.features, SparseRows)
    assert channel.features.indices.tolist() == [0, 3, 1, 3, 0, 3]
    assert channel.labels.tolist() == [1, 2, 1]


def test_jobs_with_the_same_files_share_their_records(tmp_path: Path) -> None:
    models = []
    for name in ("one", "two"):
        job = Job(tmp_path / name)
        job.environment["MATINEE_DATA_CACHE"] = str(tmp_path / "cache")
        job.train()
        models.append(job.model.read_bytes())
        assert {path.name for path in job.base.iterdir()} == {"input", "model"}

    assert models[0] == models[1]
    assert len(list((tmp_path / "cache").glob("[!.]*"))) == 1


def test_without_a_cache_nothing_is_left_in_the_job_s_folder(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.train()

    assert {path.name for path in tmp_path.iterdir()} == {"input", "model"}


def test_what_is_in_the_cache_is_checked_for_every_job(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Job(tmp_path).add("train", {"a": encode(ratings(3, width=8), stars(3))})
    read_channel(tmp_path, TRAIN, hyperparameters(feature_dim="8"), cache)

    with pytest.raises(InputError, match="channel 'train', file 'a': sparse records are 8 wide"):
        read_channel(tmp_path, TRAIN, hyperparameters(), cache)
    kind = CLASSIFIER["predictor_type"]
    classifier = hyperparameters(feature_dim="8", predictor_type=kind)
    with pytest.raises(InputError, match=r"channel 'train', file 'a': label of record 1 is 2\.0"):
        read_channel(tmp_path, TRAIN, classifier, cache)


def test_dense_records_of_another_width_are_refused_from_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    dense = numpy.ones((3, 5), dtype=numpy.float32)
    Job(tmp_path).add("train", {"a": encode(dense, stars(3))})
    read_channel(tmp_path, TRAIN, hyperparameters(feature_dim="5"), cache)

    with pytest.raises(InputError, match="file 'a': dense records hold 5 values but feature_dim"):
        read_channel(tmp_path, TRAIN, hyperparameters(), cache)


def test_a_record_at_fault_is_counted_in_its_file(tmp_path: Path) -> None:
    wrong = ratings(3)
    wrong.data[4] = numpy.nan
    Job(tmp_path).add("train", {"a": encode(ratings(5), stars(5)), "b": encode(wrong, stars(3))})

    with pytest.raises(InputError, match="'train', file 'b': feature 2 of record 2 is nan"):
        read_channel(tmp_path, TRAIN, hyperparameters())
