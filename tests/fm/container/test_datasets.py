"""Decoded data sets: the records of the files, on disk, shared and bounded."""

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
import scipy.sparse

from matinee.fm.container.datasets import Dataset, open_dataset
from matinee.fm.data import SparseRows
from matinee.fm.errors import DataError
from matinee.recordio import encode
from tests.fm.container.processes import ratings, stars


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache"


def write(folder: Path, files: Mapping[str, bytes]) -> dict[str, Path]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


def sparse(dataset: Dataset) -> SparseRows:
    assert isinstance(dataset.features, SparseRows)
    return dataset.features


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_the_records_of_several_files_follow_each_other(tmp_path: Path, scratch: Path) -> None:
    files = write(
        tmp_path,
        {"b": encode(ratings(3), stars(3)), "a": encode(ratings(2, width=8), stars(5)[3:])},
    )

    dataset = open_dataset(files, 8, scratch=scratch)

    assert sparse(dataset).shape == (5, 8)
    assert sparse(dataset).indptr.tolist() == [0, 2, 4, 6, 8, 10]
    assert sparse(dataset).indices.tolist() == [0, 3, 1, 3, 2, 3, 0, 4, 1, 4]
    assert sparse(dataset).data.tolist() == [1.0] * 10
    assert dataset.labels.tolist() == [1, 2, 3, 4, 5]
    first, second = dataset.parts()
    assert isinstance(second.features, SparseRows)
    assert (first.name, second.name) == ("b", "a")
    assert (second.features.shape, second.features.indptr.tolist()) == ((2, 8), [6, 8, 10])
    assert second.labels.tolist() == [4, 5]


def test_arrays_have_the_types_of_the_kernels_and_are_not_in_memory(
    tmp_path: Path, scratch: Path
) -> None:
    files = write(tmp_path, {"a": encode(ratings(3), stars(3))})

    rows = sparse(open_dataset(files, 6, scratch=scratch))

    arrays = (rows.indptr, rows.indices, rows.data)
    assert [array.dtype.name for array in arrays] == ["int64", "int32", "float32"]
    for array in arrays:
        assert isinstance(array.base, numpy.memmap)
        assert array.flags.aligned
        assert not array.flags.writeable
    assert names(scratch) == []


def test_dense_records(tmp_path: Path, scratch: Path) -> None:
    features = numpy.arange(6, dtype=numpy.float32).reshape(3, 2)
    files = write(
        tmp_path, {"a": encode(features[:1], stars(1)), "b": encode(features[1:], stars(2))}
    )

    dataset = open_dataset(files, 2, scratch=scratch)

    assert isinstance(dataset.features, numpy.ndarray)
    numpy.testing.assert_array_equal(dataset.features, features)
    parts = [part.features for part in dataset.parts()]
    numpy.testing.assert_array_equal(numpy.vstack(parts), features)  # type: ignore[arg-type]


def test_keys_come_in_order_and_doubled_ones_are_added_up(tmp_path: Path, scratch: Path) -> None:
    stored = (numpy.array([0, 1, 2], dtype=numpy.float32), numpy.array([3, 1, 1]), [0, 3])
    matrix = scipy.sparse.csr_matrix(stored, shape=(1, 4))
    files = write(tmp_path, {"a": encode(ratings(1), stars(1)) + encode_wide(matrix)})

    rows = sparse(open_dataset(files, 6, scratch=scratch))

    assert rows.indptr.tolist() == [0, 2, 4]
    assert rows.indices.tolist() == [0, 3, 1, 3]
    assert rows.data.tolist() == [1, 1, 3, 0]


def encode_wide(matrix: Any) -> bytes:
    matrix.resize((1, 6))
    return encode(matrix, stars(1))


def test_records_of_nothing_but_zeros(tmp_path: Path, scratch: Path) -> None:
    empty = scipy.sparse.csr_matrix((2, 6), dtype=numpy.float32)
    files = write(tmp_path, {"a": encode(empty, stars(2))})

    rows = sparse(open_dataset(files, 6, scratch=scratch))

    assert rows.indptr.tolist() == [0, 0, 0]
    assert rows.indices.size == rows.data.size == 0


def test_equal_files_are_decoded_once(tmp_path: Path, scratch: Path, cache: Path) -> None:
    content = encode(ratings(3), stars(3))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        files = write(tmp_path / folder, {"a": content})
        rows = sparse(open_dataset(files, 6, scratch=scratch, cache=cache))
        assert rows.indices.tolist() == [0, 3, 1, 3, 2, 3]

    [entry] = names(cache)
    assert names(cache / entry) == [
        "data.npy",
        "dataset.json",
        "indices.npy",
        "indptr.npy",
        "labels.npy",
    ]
    assert cache.stat().st_mode & 0o777 == 0o700
    # What is in the cache is what is used.
    labels = numpy.load(cache / entry / "labels.npy")
    numpy.save(cache / entry / "labels.npy", labels + 1)
    found = open_dataset(files, 6, scratch=scratch, cache=cache)
    assert found.labels.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    "other",
    [
        {"a": encode(ratings(3), stars(3) + 1)},
        {"b": encode(ratings(3), stars(3))},
        {"a": encode(ratings(3), stars(3)), "b": encode(ratings(1), stars(1))},
    ],
    ids=["content", "name", "number"],
)
def test_other_files_are_another_data_set(
    tmp_path: Path, scratch: Path, cache: Path, other: Mapping[str, bytes]
) -> None:
    files = write(tmp_path, {"a": encode(ratings(3), stars(3))})
    open_dataset(files, 6, scratch=scratch, cache=cache)
    open_dataset(write(tmp_path, other), 6, scratch=scratch, cache=cache)

    assert len(names(cache)) == 2


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "there are no records"),
        (
            {"a": encode(ratings(1), stars(1)), "b": encode(ratings(1), stars(1))[:-4]},
            "file 'b': record 0 at byte 0: truncated payload",
        ),
        ({"a": encode(ratings(3))}, "file 'a': records have no label"),
        ({"a": encode(ratings(3, width=8), stars(3))}, "file 'a': sparse records are 8 wide"),
        ({"a": encode(numpy.ones((1, 5)), stars(1))}, "file 'a': dense records hold 5 values"),
        (
            {"a": encode(ratings(1), stars(1)), "b": encode(numpy.ones((1, 6)), stars(1))},
            "file 'b': dense records in a channel of sparse ones",
        ),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_bad_files_are_named_and_leave_nothing(
    tmp_path: Path,
    scratch: Path,
    cache: Path,
    cached: bool,
    files: Mapping[str, bytes],
    problem: str,
) -> None:
    with pytest.raises(DataError, match=problem):
        open_dataset(write(tmp_path, files), 6, scratch=scratch, cache=cache if cached else None)

    assert names(scratch) == []
    assert not cached or [path.name for path in cache.iterdir()] == [".lock"]


def test_a_damaged_data_set_is_decoded_again(
    tmp_path: Path, scratch: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write(tmp_path, {"a": encode(ratings(3), stars(3))})
    open_dataset(files, 6, scratch=scratch, cache=cache)
    [entry] = names(cache)
    os.truncate(cache / entry / "indices.npy", 130)

    found = open_dataset(files, 6, scratch=scratch, cache=cache)

    assert sparse(found).indices.tolist() == [0, 3, 1, 3, 2, 3]
    assert "is damaged" in caplog.text
    assert names(cache) == [entry]


def test_a_cache_that_cannot_be_used_is_done_without(
    tmp_path: Path, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write(tmp_path, {"a": encode(ratings(3), stars(3))})

    dataset = open_dataset(files, 6, scratch=scratch, cache=files["a"])

    assert dataset.labels.tolist() == [1, 2, 3]
    assert "cannot be used" in caplog.text


def test_the_data_sets_used_last_are_kept(tmp_path: Path, scratch: Path, cache: Path) -> None:
    def use(label: int) -> Dataset:
        files = write(tmp_path, {"a": encode(ratings(1), stars(1) + label)})
        return open_dataset(files, 6, scratch=scratch, cache=cache, limit_bytes=limit)

    limit = 1 << 20
    first = use(0)
    [entry] = cache.glob("[!.]*")
    size = sum(path.stat().st_size for path in entry.iterdir())
    limit = 2 * size
    use(1)
    for age, folder in enumerate([entry, *({*cache.glob("[!.]*")} - {entry})]):
        os.utime(folder, (age, age))
    # The older one is used again, so the other one has to go.
    use(0)
    use(2)

    assert len(names(cache)) == 2
    assert entry.exists()
    limit = size - 1
    last = use(3)
    assert names(cache) == []
    # What was mapped stays.
    assert (first.labels.tolist(), last.labels.tolist()) == ([1], [4])


def test_what_a_killed_process_left_is_removed(tmp_path: Path, scratch: Path, cache: Path) -> None:
    files = write(tmp_path, {"a": encode(ratings(3), stars(3))})
    leftover = cache / ".partial-killed"
    leftover.mkdir(parents=True)
    (leftover / "labels.npy").write_bytes(b"\x93NUMPY")

    open_dataset(files, 6, scratch=scratch, cache=cache)

    assert not leftover.exists()


def test_jobs_that_begin_together_share_one_data_set(
    tmp_path: Path, scratch: Path, cache: Path
) -> None:
    files = write(tmp_path, {"a": encode(ratings(30), stars(30))})
    barrier = threading.Barrier(4)

    def begin(_: int) -> Any:
        barrier.wait()
        return open_dataset(files, 6, scratch=scratch, cache=cache).labels.tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(begin, range(4))) == [stars(30).tolist()] * 4
    assert len(names(cache)) == 1
    assert list(cache.glob(".partial-*")) == []
