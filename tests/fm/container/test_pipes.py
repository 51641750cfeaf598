"""Pipe mode and compressed channels: the same records, hence the same model, by every road."""

import gzip
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from matinee.recordio import encode
from tests.fm.container.processes import FILE_MODE, REGRESSOR, Job, ratings, stars

PIPE = {"TrainingInputMode": "Pipe"}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@contextmanager
def fed(job: Job, channel: str, content: bytes, **configuration: str) -> Iterator[None]:
    """Feed a channel's first pipe as SageMaker does; the next one waits in vain."""
    job.add(channel, {}, **PIPE, **configuration)
    folder = job.base / "input/data"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{channel}_0"
    path.unlink(missing_ok=True)
    os.mkfifo(path)

    def feed() -> None:
        try:
            path.write_bytes(content)
        except BrokenPipeError:
            # The container has seen enough.
            return

    feeder = threading.Thread(target=feed)
    feeder.start()
    yield
    feeder.join()


@pytest.fixture
def expected(job: Job) -> bytes:
    """The model of 20,000 records in a file."""
    job.add("train", {"train.pbr": encode(ratings(20_000), stars(20_000))})
    job.train()
    return job.model.read_bytes()


def test_a_pipe_gives_the_same_model_as_a_file(job: Job, expected: bytes) -> None:
    features, labels = ratings(20_000), stars(20_000)
    # Objects follow each other without a seam.
    parts = (slice(0, 7_001), slice(7_001, None))
    content = b"".join(encode(features[part], labels[part]) for part in parts)
    with fed(job, "train", content):
        job.train()
    assert job.model.read_bytes() == expected
    assert {path.name for path in job.base.iterdir()} == {"input", "model"}


def test_several_channels_have_a_pipe_each(job: Job) -> None:
    content = encode(ratings(10), stars(10))
    with fed(job, "train", content), fed(job, "test", content, RecordWrapperType="RecordIO"):
        assert "test rmse <loss>=" in job.train()


def test_a_pipe_may_be_made_after_the_start(job: Job) -> None:
    job.add("train", {}, **PIPE)
    with job.start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Checkpoint loading" in line:
                break
        with fed(job, "train", encode(ratings(10), stars(10))):
            log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log


def test_objects_of_other_widths_in_a_pipe(job: Job) -> None:
    job.write_config("hyperparameters", {**REGRESSOR, "feature_dim": "9"})
    content = encode(ratings(5), stars(5)) + encode(ratings(5, width=8), stars(5))
    with fed(job, "train", content):
        job.train()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "ClientError: channel 'train' has no records"),
        (
            encode(ratings(3), stars(3)) + b"\0" * 8,
            "ClientError: channel 'train', file 'train_0': record 3 at byte "
            f"{len(encode(ratings(3), stars(3)))}: bad magic 0x00000000",
        ),
        (encode(ratings(3), stars(3))[:-4], "ClientError: channel 'train', file 'train_0': record"),
        (encode(ratings(3, width=8), stars(3)), "sparse records are 8 wide but feature_dim is 6"),
        (gzip.compress(encode(ratings(3), stars(3)), mtime=0), "bad magic 0x"),
        (
            encode(ratings(3), stars(3)) + encode(ratings(3).toarray(), stars(3)),
            "dense records in a channel of sparse ones",
        ),
    ],
)
def test_what_is_wrong_in_a_pipe_is_named(job: Job, content: bytes, problem: str) -> None:
    with fed(job, "train", content):
        status, log = job.run()
    assert status == 1, log
    assert problem in job.failure.read_text()


@pytest.mark.parametrize("configuration", [{}, {"CompressionType": "Gzip"}])
def test_compressed_files_give_the_same_model(
    job: Job, expected: bytes, configuration: dict[str, str]
) -> None:
    features, labels = ratings(20_000), stars(20_000)
    parts = {
        # gzip files may follow each other in one, too.
        "a.gz": b"".join(
            gzip.compress(encode(features[part], labels[part]), mtime=0)
            for part in (slice(0, 5_000), slice(5_000, 9_000))
        ),
        "b": encode(features[9_000:], labels[9_000:]),
    }
    job.add("train", parts, **configuration)
    job.train()
    assert job.model.read_bytes() == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(encode(ratings(9), stars(9)), mtime=0)[:-9], "its gzip data are damaged"),
        (gzip.compress(b"", mtime=0) + b"junk", "its gzip data are damaged"),
        (gzip.compress(b"neither", mtime=0), "record 0 at byte 0: truncated header"),
        (gzip.compress(b"", mtime=0), "channel 'train' has no records"),
    ],
)
def test_a_damaged_compressed_file_is_named(job: Job, content: bytes, problem: str) -> None:
    job.add("train", {"a.gz": content})
    status, log = job.run()
    assert status == 1, log
    reason = job.failure.read_text()
    assert reason.startswith("ClientError: channel 'train'")
    assert problem in reason


@pytest.mark.parametrize(
    ("channel", "configuration", "problem"),
    [
        ("train", {"RecordWrapperType": "RecordIO"}, "RecordWrapperType 'RecordIO' isn't supp"),
        ("model", PIPE, "TrainingInputMode 'Pipe' isn't supported, only File and FastFile"),
        ("model", {"CompressionType": "Gzip"}, "CompressionType 'Gzip' isn't supported, only None"),
    ],
)
def test_what_pipes_and_compression_are_not_for(
    tmp_path: Path, channel: str, configuration: dict[str, str], problem: str
) -> None:
    job = Job(tmp_path, algorithm="matinee-fm")
    job.channels[channel] = {**FILE_MODE, **configuration}
    job.write_config("inputdataconfig", job.channels)
    status, log = job.run()
    assert status == 1, log
    assert f"channel {channel!r}: {problem}" in job.failure.read_text()
